#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "memory/memory_reader.h"

namespace pystack::memory {

/// Whole pages of a target, each copied when something in it is wanted first. Objects lie close
/// together, so following pointers through a copy costs a fraction of the system calls. For a
/// target that stands still, or one reading that may be torn: a page never is read again until
/// `clear`.
class PageCache final : public MemoryReader {
  public:
    explicit PageCache(const MemoryReader& source);

    /// Keeps the storage, so that a copy that was filled once is filled again without asking the
    /// system for memory.
    void clear() const;
    /// Clears it and copies the pages that were wanted so far, up to `most` of them, in one batch:
    /// for a second reading that will want the same.
    void copy_again(std::size_t most = kMostCopiedPages);
    /// From now on (or until freeze(false)) nothing is read from the source: it may have moved on.
    /// Reads of what is not here fail, and are counted.
    void freeze(bool frozen) { frozen_ = frozen; }
    std::size_t misses() const { return misses_; }

    /// Copies the pages of all these objects, as far as they are not here yet, in one batch.
    void fetch(std::span<const RemoteAddr> objects) const;

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override;
    void read_many(std::span<ReadRequest> requests) const override;

    std::size_t pages() const { return used_; }
    /// By those who read from here, whether copied for it or not.
    std::uint64_t bytes_read() const { return bytes_read_; }

  private:
    static constexpr std::uint64_t kPageBytes = 4096;
    static constexpr std::size_t kMostCopiedPages = 2048;  // 8 MiB

    using Page = std::byte[kPageBytes];

    /// Null when the page cannot be read as a whole: what is wanted of it then comes from the
    /// source.
    const std::byte* page(std::uint64_t number) const;
    void fetch_pages(std::vector<std::uint64_t>& numbers) const;
    std::byte* new_page() const;

    const MemoryReader& source_;
    /// Where a page is, by number: an open hash table, because it is asked for every field that is
    /// read.
    struct Place {
        std::uint64_t number = kNoPage;
        const std::byte* bytes = nullptr;
    };
    static constexpr std::uint64_t kNoPage = UINT64_MAX;

    /// The entry of the page, or the free one where it belongs.
    Place& place_of(std::uint64_t number) const;
    void grow() const;

    // A cache: filled by reads, which do not change what they return.
    mutable std::vector<Place> places_;  ///< A power of two; never more than half full.
    mutable std::size_t known_ = 0;      ///< Pages with a place, the unreadable ones too.
    mutable std::vector<std::unique_ptr<Page[]>> blocks_;
    mutable std::size_t used_ = 0;
    mutable std::uint64_t bytes_read_ = 0;
    bool frozen_ = false;
    mutable std::size_t misses_ = 0;
    mutable std::uint64_t last_number_ =
        UINT64_MAX;  ///< The page asked for last is asked for next.
    mutable const std::byte* last_page_ = nullptr;
};

}  // namespace pystack::memory
