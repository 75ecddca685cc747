#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Whole pages of a target, each copied when something in it is wanted first. Objects lie close
/// together, so following pointers through a copy costs a fraction of the system calls. For a target
/// that stands still, or one reading that may be torn: a page never is read again until `clear`.
class PageCopy final : public memory::MemoryReader {
  public:
    explicit PageCopy(const memory::MemoryReader& source) : source_(source) {}

    void clear();

    /// Copies the pages of all these objects, as far as they are not here yet, in one batch.
    void fetch(std::span<const RemoteAddr> objects) const;

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override;
    void read_many(std::span<memory::ReadRequest> requests) const override;

    std::size_t pages() const { return used_; }

  private:
    static constexpr std::uint64_t kPageBytes = 4096;

    using Page = std::byte[kPageBytes];

    /// Null when the page cannot be read as a whole: what is wanted of it then comes from the source.
    const std::byte* page(std::uint64_t number) const;
    void fetch_pages(std::vector<std::uint64_t>& numbers) const;
    std::byte* new_page() const;

    const memory::MemoryReader& source_;
    // A cache: filled by reads, which do not change what they return.
    mutable std::unordered_map<std::uint64_t, const std::byte*> pages_;
    mutable std::vector<std::unique_ptr<Page[]>> blocks_;
    mutable std::size_t used_ = 0;
    mutable std::uint64_t last_number_ = UINT64_MAX;  ///< The page asked for last is asked for next.
    mutable const std::byte* last_page_ = nullptr;
};

}  // namespace pystack::cpython
