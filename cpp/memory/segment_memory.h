#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "memory/memory_reader.h"

namespace pystack::memory {

/// One range of addresses and where its bytes are. Made by the functions below, which clip what
/// would reach past the end of the address space.
struct Region {
    RemoteRange range;
    const std::byte* bytes = nullptr;        ///< The byte at range.begin; null for the other kinds.
    const MemoryReader* reader = nullptr;    ///< Asked with the same addresses.
    bool zeros = false;                      ///< With neither of them and not zeros: a hole.
    std::shared_ptr<const void> owner = {};  ///< Keeps `bytes` or `reader` alive.

    /// Memory that holds `bytes`, such as a part of a mapped file.
    static Region of_bytes(RemoteAddr begin, std::span<const std::byte> bytes,
                           std::shared_ptr<const void> owner);
    static Region of_zeros(RemoteRange range);
    static Region of_reader(RemoteRange range, std::shared_ptr<const MemoryReader> reader);
    /// Unreadable, whatever earlier regions say.
    static Region hole(RemoteRange range);
};

/// Memory put together from regions; a read may run across neighbours and stops at the first gap.
/// Immutable and thread-safe; a read is one binary search and copies, without an allocation.
class SegmentMemory final : public MemoryReader {
  public:
    /// Where regions overlap, the later one wins. O(n log n) for any regions, however they overlap.
    explicit SegmentMemory(const std::vector<Region>& regions);

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override;

  private:
    struct Piece {
        RemoteAddr begin;
        RemoteAddr end;
        const std::byte* bytes;  // The byte at `begin`.
        const MemoryReader* reader;
    };

    std::vector<Piece> pieces_;  // Sorted, disjoint, without holes.
    std::vector<std::shared_ptr<const void>> owners_;
};

}  // namespace pystack::memory
