#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/work_limits.h"
#include "cpython/frames/stack_reader.h"
#include "cpython/layout/layout.h"
#include "memory/memory_copy.h"
#include "model/snapshot.h"
#include "model/tables.h"
#include "model/text.h"

namespace pystack::cpython {

/// A code object of the target, copied. Never changes once read: an address that was reused for
/// another code object gets another Code.
struct Code {
    /// What tells one code object from another that later lives at the same address.
    struct Identity {
        RemoteAddr filename;
        RemoteAddr name;
        RemoteAddr qualname;
        RemoteAddr linetable;
        std::int32_t first_line = 0;

        bool operator==(const Identity&) const = default;
    };

    RemoteAddr address;
    std::uint32_t index = 0;  ///< A small number of its own; never used again.
    Identity identity;
    // Names that are longer than any real one are cut, and say so at their end.
    model::Text function;                 ///< co_name, in UTF-8.
    std::optional<model::Text> qualname;  ///< co_qualname; 3.11+.
    model::Text file;                     ///< co_filename.
    /// Null where the limits left it out: there are no lines then.
    std::shared_ptr<const std::vector<std::byte>> line_table;
    std::uint32_t flags = 0;  ///< co_flags.
    std::int64_t first_traceable =
        0;  ///< Bytes of start-up instructions that CPython hides; 0 below 3.11.
    std::int64_t size_bytes = 0;  ///< Of the instructions; 0 below 3.11, where it is not known.
    RemoteAddr tlbc;              ///< Free-threaded 3.14+: the array of per-thread copies, or null.
    /// Set when the code object could not be read; the names are then empty.
    std::optional<Error> problem;

    /// Of a generator, a coroutine or both.
    bool is_generator() const;
    /// Of a coroutine: what asyncio runs as a task.
    bool is_coroutine() const;
};

/// Reads and keeps code objects, by address. Strings and tables are copied in batches, few system
/// calls for many new code objects. Not thread-safe.
class CodeReader {
  public:
    /// What is kept is taken from `limits`, and given back at the end. A code object that does not
    /// fit has the problem kOutOfMemory.
    CodeReader(const memory::MemoryReader& memory, const Layout& layout,
               std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>());
    ~CodeReader() { limits_->return_bytes(bytes_); }
    CodeReader(const CodeReader&) = delete;
    CodeReader& operator=(const CodeReader&) = delete;

    /// Reads those code objects of `frames` that are not known yet.
    void load(std::span<const RawFrame> frames);
    /// Reads the identity of the code objects of `frames` again and forgets those that have
    /// changed. True when none had: a stack whose codes were loaded before it was proved and verify
    /// after it was proved has the right names.
    bool verify(std::span<const RawFrame> frames);

    /// Null when the address was never loaded. Valid as long as the reader.
    const Code* find(RemoteAddr code) const;
    /// All ever read, by index.
    std::size_t count() const { return codes_.size(); }
    /// What all of them take.
    std::uint64_t bytes() const { return bytes_; }

    // For a caller that verifies in batches of its own:
    /// What to read of a code object to see whether it is still the same.
    RemoteRange identity_range(RemoteAddr address) const {
        return {address + identity_.begin.value, address + identity_.end.value};
    }
    /// `bytes` are those of identity_range.
    bool is_same(const Code& code, std::span<const std::byte> bytes) const;
    /// Another code object may be at its address now.
    void forget(const Code& code);

    /// What the frame executes: the byte offset of its instruction, -1 for a frame that has not
    /// started; of a compiled frame kLinePlaces plus its line. At most 32 bits. nullopt when the
    /// instruction does not lie in the code object.
    std::optional<std::int64_t> place(const Code& code, const RawFrame& frame);
    /// Places from here on are lines: no code object is that large.
    static constexpr std::int64_t kLinePlaces = std::int64_t{1} << 31;
    /// Whether every frame executes an instruction of its own code object. A frame that does not
    /// was read while it was being replaced. All code objects must be known.
    bool instructions_fit(std::span<const RawFrame> frames);
    /// The first code object that was not read, or could not be; null if all frames' are known.
    RemoteAddr first_unknown(std::span<const RawFrame> frames) const;
    /// Whether the outermost frame is a generator's or coroutine's. Something runs those, so the
    /// chain is most likely cut: a thread can be met between the instruction that unlinks a
    /// generator from its caller and the one that makes the caller current again.
    bool is_truncated(std::span<const RawFrame> frames) const;
    /// The frame is still being set up: sys._getframe() does not show it, and neither do we.
    bool is_incomplete(const Code& code, const RawFrame& frame);

    /// Where a place is in the source.
    model::SourcePosition position(const Code& code, std::int64_t place) const;

  private:
    /// What the code objects of one load share, by address: each is read, kept and charged once.
    struct Shared {
        std::unordered_map<RemoteAddr, model::Text> texts;
        std::unordered_map<RemoteAddr, std::shared_ptr<const std::vector<std::byte>>> tables;
    };
    std::unique_ptr<Code> read(RemoteAddr address, memory::MemoryCopy& copy, Shared& shared);
    Result<model::Text> read_text(RemoteAddr str, const memory::MemoryCopy& copy, Shared& shared);
    Result<void> read_line_table(Code& code, const memory::MemoryCopy& copy, Shared& shared);
    bool charge(std::uint64_t bytes);
    Result<void> check_type(RemoteAddr address, RemoteAddr type);
    std::optional<RemoteAddr> bytecode(const Code& code, const RawFrame& frame);
    std::optional<Code::Identity> read_identity(RemoteAddr address,
                                                std::span<const std::byte> bytes) const;
    std::vector<RemoteAddr> distinct(std::span<const RawFrame> frames) const;

    const memory::MemoryReader& memory_;
    const Layout layout_;
    RemoteRange identity_;                      ///< Offsets of what identity_range covers.
    mutable model::IdMap known_;                ///< Index by address.
    std::vector<std::unique_ptr<Code>> codes_;  ///< All ever read: pointers to them stay valid.
    std::shared_ptr<WorkLimits> limits_;
    std::uint64_t bytes_ = 0;             ///< Taken from the limits.
    std::vector<RemoteAddr> code_types_;  ///< Addresses of what was found to be the type `code`.
};

}  // namespace pystack::cpython
