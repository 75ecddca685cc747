#pragma once

#include <cstdint>
#include <vector>

#include "cpython/frames/code_reader.h"
#include "cpython/runtime/cached_interpreters.h"
#include "memory/read_batch.h"
#include "sampling/frame_interner.h"

namespace pystack::sampling {

/// Whether the code objects of a stack were, at the moment it was proved, those whose names we
/// know: each was read before, and is the same after. Where the interpreter counts the code objects
/// that die (3.14+), an unchanged count says so of all at once; else what tells one from another is
/// read again, in the batch of the tick for those in use.
class CodeValidator {
  public:
    CodeValidator(const memory::MemoryReader& memory, cpython::CodeReader& codes,
                  FrameInterner& interner)
        : memory_(memory), codes_(codes), interner_(interner) {}

    /// Behind the stacks' pieces.
    void add_to(memory::ReadBatch& batch, bool has_generations);
    void accept(const memory::ReadBatch& batch, const cpython::CachedInterpreters& interpreters);

    /// `proved_in_batch`: by the batch that accept() had last, not later. False when a code object
    /// of the stack has changed; it is forgotten then.
    bool holds(const InternedStack& stack, bool proved_in_batch, std::size_t interpreter,
               const cpython::CachedInterpreters& interpreters);

    // The codes in use are those of the stacks given since.
    void begin_use();
    void use(const InternedStack& stack);

    /// Nothing is known of any code object any more.
    void doubt_all() { ++epoch_; }

  private:
    bool verify(const InternedStack& stack, bool all);
    bool check(const cpython::Code& code, const memory::ReadBatch& batch, std::size_t piece);
    std::uint64_t& stamp(std::vector<std::uint64_t>& stamps, const cpython::Code& code);

    const memory::MemoryReader& memory_;
    cpython::CodeReader& codes_;
    FrameInterner& interner_;
    std::vector<const cpython::Code*> in_use_;
    std::vector<std::uint64_t>
        verified_;  ///< By code index: the epoch in which it was found unchanged.
    std::vector<std::uint64_t> listed_;  ///< By code index: the list that it was put on last.
    std::vector<const cpython::Code*> to_verify_;
    memory::ReadBatch batch_;
    std::vector<std::optional<std::uint64_t>> generations_;
    std::uint64_t epoch_ = 1;
    std::uint64_t list_ = 0;
    std::size_t first_piece_ = 0;
    std::size_t piece_count_ = 0;
};

}  // namespace pystack::sampling
