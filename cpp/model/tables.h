#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/snapshot.h"

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

struct FrameRow {
    FrameKind kind = FrameKind::kPython;
    StringId function = 0;
    StringId file = 0;
    std::int32_t line = -1;        ///< -1: none.
    std::int32_t first_line = -1;  ///< -1: none.
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
    const std::vector<Row>& rows() const { return rows_; }

  private:
    struct Hash {
        std::size_t operator()(const Row& row) const {
            // Fibonacci hashing of the pair: both halves are dense small numbers.
            return ((std::uint64_t{row.parent} << 32) | row.frame) * 0x9E3779B97F4A7C15u;
        }
    };
    std::vector<Row> rows_;
    std::unordered_map<Row, StackId, Hash> ids_;
};

}  // namespace pystack::model
