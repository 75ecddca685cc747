#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "model/snapshot.h"
#include "model/wait.h"

namespace pystack::model {

// Append-only tables: an id is a row's position, equal rows have equal ids, and rows never change.
// What was added since a known size is the tail of the table.

using StringId = std::uint32_t;
using FrameId = std::uint32_t;
using StackId = std::uint32_t;

/// String 0 is "".
class StringTable {
  public:
    StringTable() { intern(""); }
    StringId intern(std::string_view text);
    std::optional<StringId> find(std::string_view text) const;
    const std::vector<std::string>& rows() const { return rows_; }

  private:
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const {
            return std::hash<std::string_view>{}(text);
        }
    };
    std::vector<std::string> rows_;
    std::unordered_map<std::string, StringId, Hash, std::equal_to<>> ids_;
};

/// Small numbers by 64-bit keys, in one array (open addressing): a lookup touches one cache line,
/// mostly, and allocates nothing. Standard maps take a node for each key, which is most of the cost
/// of a deep stack.
class IdMap {
  public:
    /// Null when there is none. Valid until the next insertion.
    std::uint32_t* find(std::uint64_t key);
    /// The value of the key, which is `fresh` if it had none.
    std::uint32_t& find_or_insert(std::uint64_t key, std::uint32_t fresh);
    std::size_t size() const { return size_; }
    void clear() { *this = {}; }

  private:
    struct Slot {
        std::uint64_t key = 0;
        std::uint32_t value = 0;
        bool used = false;
    };
    std::size_t place_of(std::uint64_t key) const;
    void grow();

    std::vector<Slot> slots_;  ///< A power of two of them, or none.
    std::size_t size_ = 0;
};

/// The names of the kinds for Python, which has no other list of them.
inline constexpr std::array kFrameKindNames{
    std::pair{"PYTHON", FrameKind::kPython},
    std::pair{"NATIVE", FrameKind::kNative},
    std::pair{"MARKER", FrameKind::kMarker},
    std::pair{"GAP", FrameKind::kGap},
};

inline constexpr std::array kNameSourceNames{
    std::pair{"NONE", NameSource::kNone},
    std::pair{"DEBUG_INFO", NameSource::kDebugInfo},
    std::pair{"SYMBOLS", NameSource::kSymbols},
    std::pair{"METHOD_TABLE", NameSource::kMethodTable},
    std::pair{"PERF_MAP", NameSource::kPerfMap},
};

struct FrameRow {
    FrameKind kind = FrameKind::kPython;
    StringId function = 0;
    StringId file = 0;
    std::int32_t line = -1;        ///< -1: none.
    std::int32_t first_line = -1;  ///< -1: none.
    // Of native frames:
    StringId module = 0;            ///< The path of its file; "": none, or not known.
    StringId build_id = 0;          ///< Of that file, in hexadecimal digits; "": none.
    std::uint64_t address = 0;      ///< As that file counts; without a file, in memory.
    std::uint8_t inline_depth = 0;  ///< 0: the function itself; n: inlined, n calls deep.
    NameSource name_source = NameSource::kNone;

    bool operator==(const FrameRow&) const = default;
};

/// Stack 0 is the empty stack. Any other is its parent (the callers, always an earlier row) and one
/// frame.
class StackTable {
  public:
    struct Row {
        StackId parent = 0;
        FrameId frame = 0;

        bool operator==(const Row&) const = default;
    };

    StackTable() { rows_.push_back({}); }
    /// The stack that `parent` becomes when it calls `frame`.
    StackId push(StackId parent, FrameId frame);
    std::optional<StackId> find(StackId parent, FrameId frame);
    const std::vector<Row>& rows() const { return rows_; }

  private:
    std::vector<Row> rows_;
    IdMap ids_;
};

using WaitId = std::uint32_t;

/// What samples found their threads to wait for. Wait 0: none, or it is not known.
struct WaitRow {
    WaitKind kind = WaitKind::kFutex;
    StringId type = 0;  ///< Wait::type
    /// Wait::name; or what a descriptor is (the peer of a socket, a path), or the command of the
    /// child.
    StringId name = 0;
    std::uint32_t holder = 0;  ///< Whom it waits for: the number of the thread plus 1; 0: unknown.

    bool operator==(const WaitRow&) const = default;
};

class WaitTable {
  public:
    WaitTable() { rows_.push_back({}); }
    std::optional<WaitId> find(const WaitRow& row) const;
    /// The ID of a row that find() does not know.
    WaitId add(const WaitRow& row);
    const std::vector<WaitRow>& rows() const { return rows_; }

  private:
    struct Hash {
        std::size_t operator()(const WaitRow& row) const noexcept;
    };
    std::vector<WaitRow> rows_;
    std::unordered_map<WaitRow, WaitId, Hash> ids_;
};

}  // namespace pystack::model
