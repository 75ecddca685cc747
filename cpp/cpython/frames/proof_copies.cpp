#include "cpython/frames/proof_copies.h"

#include <algorithm>
#include <cstring>

namespace pystack::cpython {

namespace {

/// Reading less than this twice is cheaper than finding out that once is enough.
constexpr std::uint64_t kLeastToContinue = 16 * 1024;

std::uint32_t common_prefix(const std::byte* one, const std::byte* other, std::uint32_t size) {
    if (std::memcmp(one, other, size) == 0) return size;
    std::uint32_t equal = 0;
    std::uint64_t a;
    std::uint64_t b;
    for (; equal + sizeof(a) <= size; equal += sizeof(a)) {
        std::memcpy(&a, one + equal, sizeof(a));
        std::memcpy(&b, other + equal, sizeof(b));
        if (a != b) break;
    }
    while (equal < size && one[equal] == other[equal]) ++equal;
    return equal;
}

}  // namespace

std::size_t ProofCopies::add_to(memory::ReadBatch& batch, const StackRanges& ranges,
                                bool continues) {
    const std::size_t first = batch.size();
    for (std::size_t i = ranges.size(); i-- > 0;) {
        RemoteRange range = ranges[i];
        // An empty piece costs nothing, and keeps the indices of the others.
        if (continues && ranges.is_far(i)) range.end = range.begin;
        batch.add(range);
    }
    for (std::size_t i = 1; i < ranges.size(); ++i) batch.add(ranges[i]);
    return first;
}

void ProofCopies::use(const StackRanges& ranges, const std::byte* proved, bool continues,
                      const memory::ReadBatch& batch, std::size_t first) {
    pieces_.resize(ranges.size());
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
        const std::size_t one = ranges.reverse_piece(first, i);
        const std::size_t other = first + ranges.size() - 1 + i;
        Piece& piece = pieces_[i];
        const bool from_proof = continues && proved != nullptr && ranges.is_far(i);
        piece.proved = proved == nullptr ? nullptr : proved + ranges.offset(i);
        piece.first = from_proof ? piece.proved : batch.data(one);
        piece.second = batch.data(other);
        piece.size = static_cast<std::uint32_t>(
            from_proof ? batch.done(other) : std::min(batch.done(one), batch.done(other)));
        piece.agree = i == 0 ? piece.size : common_prefix(piece.first, piece.second, piece.size);
        if (from_proof) {
            piece.unchanged = piece.size;
        } else if (proved != nullptr) {
            piece.unchanged = common_prefix(piece.first, piece.proved, piece.size);
        } else {
            piece.unchanged = 0;
        }
    }
}

bool ProofCopies::can_continue(const StackRanges& ranges) const {
    std::uint64_t bytes = 0;
    for (std::size_t i = ranges.first_far(); i < ranges.first_recent(); ++i) {
        if (pieces_[i].agree < pieces_[i].size) return false;
        bytes += pieces_[i].size;
    }
    return bytes >= kLeastToContinue;
}

}  // namespace pystack::cpython
