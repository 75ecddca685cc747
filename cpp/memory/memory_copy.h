#pragma once

#include <optional>
#include <span>
#include <vector>

#include "memory/memory_reader.h"

namespace pystack::memory {

/// A local copy of pieces of a target, filled in batches. Reads of what it holds cost no system
/// call; other reads go to the source. Clearing keeps the storage, so a copy in steady use
/// allocates nothing.
class MemoryCopy final : public MemoryReader {
  public:
    explicit MemoryCopy(const MemoryReader& source) : source_(source) {}

    void clear();

    /// Copies all ranges in one batch. What cannot be read is left out: a range keeps its readable
    /// beginning. Ranges may overlap what is there already.
    void fetch(std::span<const RemoteRange> ranges);
    void fetch(RemoteRange range) { fetch(std::span(&range, 1)); }

    std::size_t size_bytes() const { return bytes_.size(); }

    /// The bytes at an address if all of them are held. Valid until the next fetch or clear.
    std::optional<std::span<const std::byte>> view(RemoteAddr address, std::size_t size) const;

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override;

  private:
    struct Piece {
        RemoteRange range;
        std::size_t begin;  ///< Position of its bytes in bytes_.
    };

    const MemoryReader& source_;
    std::vector<Piece> pieces_;  ///< Sorted by range.begin.
    std::vector<std::byte> bytes_;
    std::vector<ReadRequest> requests_;
};

}  // namespace pystack::memory
