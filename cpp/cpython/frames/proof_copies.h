#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cpython/frames/stack_ranges.h"
#include "memory/read_batch.h"

namespace pystack::cpython {

/// The two copies of a stack's ranges that one batch reads: the first copy in reverse order, then
/// the second copy in the order of the ranges. The first range is read once, in the middle, and
/// belongs to both. Also compares the copies with each other and with the last proof.
class ProofCopies {
  public:
    /// Adds both copies to a batch. Returns the index of the first piece. `continues`: the bytes of
    /// the last proof serve as the first copy of the far ranges, which are read once.
    static std::size_t add_to(memory::ReadBatch& batch, const StackRanges& ranges, bool continues);

    /// Uses a batch that was read; `first` and `continues` as they were at add_to(). `proved`: the
    /// bytes of all ranges at the last proof, see StackRanges::offset; null if they are not known.
    /// Batch and bytes must outlive what is asked of the copies.
    void use(const StackRanges& ranges, const std::byte* proved, bool continues,
             const memory::ReadBatch& batch, std::size_t first);

    std::size_t count() const { return pieces_.size(); }
    const std::byte* first(std::size_t range) const { return pieces_[range].first; }
    const std::byte* second(std::size_t range) const { return pieces_[range].second; }
    /// How many bytes of the range both copies have.
    std::uint32_t size(std::size_t range) const { return pieces_[range].size; }
    /// How many bytes from the beginning of the first copy are as they were at the last proof.
    std::uint32_t unchanged(std::size_t range) const { return pieces_[range].unchanged; }

    // Inline, because each is asked for every frame of a deep stack.

    /// Whether both copies have these bytes of a range, and the same ones.
    bool agree(std::size_t range, std::uint64_t begin, std::uint64_t end) const {
        const Piece& piece = pieces_[range];
        if (end <= piece.agree) return true;
        return end <= piece.size &&
               std::memcmp(piece.first + begin, piece.second + begin, end - begin) == 0;
    }
    /// Whether both copies have these bytes of a range, and the first one those of the last proof,
    /// which must be known.
    bool is_unchanged(std::size_t range, std::uint64_t begin, std::uint64_t end) const {
        const Piece& piece = pieces_[range];
        if (end <= piece.unchanged) return true;
        return end <= piece.size &&
               std::memcmp(piece.first + begin, piece.proved + begin, end - begin) == 0;
    }

    /// Whether the second copy of the far ranges can be the first copy of the next proof, and these
    /// are so big that it is worth it.
    bool can_continue(const StackRanges& ranges) const;

  private:
    struct Piece {
        const std::byte* first = nullptr;
        const std::byte* second = nullptr;
        const std::byte* proved = nullptr;
        std::uint32_t size = 0;
        std::uint32_t agree = 0;      ///< Length of the beginning that is equal in both copies.
        std::uint32_t unchanged = 0;  ///< Length of the beginning that is as it was proved.
    };

    std::vector<Piece> pieces_;  ///< One per range.
};

}  // namespace pystack::cpython
