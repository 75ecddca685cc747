#include "memory/page_cache.h"

#include <algorithm>
#include <cstring>

namespace pystack::memory {

namespace {

constexpr std::size_t kPagesPerBlock = 64;
constexpr std::size_t kFirstPlaces = 1024;
/// 128 MiB; above it the copy starts anew. Budgets of readers keep it far below.
constexpr std::size_t kMaxPages = 1 << 15;
/// What is wanted of an object whose size is not known yet.
constexpr std::uint64_t kObjectBytes = 64;

}  // namespace

PageCache::PageCache(const MemoryReader& source) : source_(source), places_(kFirstPlaces) {}

void PageCache::clear() const {
    places_.assign(places_.size(), Place{});
    known_ = 0;
    used_ = 0;
    last_number_ = kNoPage;
    last_page_ = nullptr;
}

void PageCache::copy_again(std::size_t most) {
    std::vector<std::uint64_t> numbers;
    for (const Place& place : places_) {
        // Those that could not be read as well: then it is known that they cannot be read now.
        if (place.number != kNoPage && numbers.size() < most) numbers.push_back(place.number);
    }
    clear();
    misses_ = 0;
    if (!numbers.empty()) fetch_pages(numbers);
}

PageCache::Place& PageCache::place_of(std::uint64_t number) const {
    // Fibonacci hashing: neighbours are spread.
    constexpr std::uint64_t kMultiplier = 0x9e3779b97f4a7c15;
    const std::size_t mask = places_.size() - 1;
    std::size_t at = (number * kMultiplier >> 32) & mask;
    while (places_[at].number != number && places_[at].number != kNoPage) at = (at + 1) & mask;
    return places_[at];
}

void PageCache::grow() const {
    std::vector<Place> old(places_.size() * 2);
    old.swap(places_);
    for (const Place& place : old) {
        if (place.number != kNoPage) place_of(place.number) = place;
    }
}

std::byte* PageCache::new_page() const {
    if (used_ == blocks_.size() * kPagesPerBlock) {
        blocks_.push_back(std::make_unique_for_overwrite<Page[]>(kPagesPerBlock));
    }
    std::byte* page = blocks_[used_ / kPagesPerBlock][used_ % kPagesPerBlock];
    ++used_;
    return page;
}

const std::byte* PageCache::page(std::uint64_t number) const {
    if (number == last_number_) return last_page_;
    if (place_of(number).number == kNoPage) {
        if (frozen_) {
            ++misses_;
            return nullptr;
        }
        std::vector<std::uint64_t> wanted{number};
        fetch_pages(wanted);
    }
    last_number_ = number;
    last_page_ = place_of(number).bytes;
    return last_page_;
}

void PageCache::fetch_pages(std::vector<std::uint64_t>& numbers) const {
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    if (used_ + numbers.size() > kMaxPages) clear();
    std::erase_if(numbers,
                  [this](std::uint64_t number) { return place_of(number).number != kNoPage; });
    std::vector<ReadRequest> requests;
    requests.reserve(numbers.size());
    for (const std::uint64_t number : numbers) {
        requests.push_back({RemoteAddr{number * kPageBytes}, std::span(new_page(), kPageBytes)});
    }
    source_.read_many(requests);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        if ((known_ + 1) * 2 > places_.size()) grow();
        ++known_;
        place_of(numbers[i]) = {numbers[i],
                                requests[i].complete() ? requests[i].destination.data() : nullptr};
    }
}

void PageCache::fetch(std::span<const RemoteAddr> objects) const {
    if (frozen_) return;
    std::vector<std::uint64_t> numbers;
    const auto want = [&](std::uint64_t number) {
        if (place_of(number).number == kNoPage && numbers.size() < kMaxPages / 2)
            numbers.push_back(number);
    };
    for (const RemoteAddr object : objects) {
        if (!object) continue;
        want(object.value / kPageBytes);
        want((object.value + kObjectBytes - 1) / kPageBytes);
    }
    if (!numbers.empty()) fetch_pages(numbers);
}

std::size_t PageCache::read_up_to(RemoteAddr address, std::span<std::byte> destination) const {
    std::size_t done = 0;
    while (done < destination.size()) {
        const std::uint64_t at = address.value + done;
        const std::uint64_t offset = at % kPageBytes;
        const std::size_t size =
            std::min<std::size_t>(destination.size() - done, kPageBytes - offset);
        const auto part = destination.subspan(done, size);
        if (const std::byte* bytes = page(at / kPageBytes)) {
            std::memcpy(part.data(), bytes + offset, size);
            done += size;
            continue;
        }
        if (frozen_) break;
        const std::size_t direct = source_.read_up_to(RemoteAddr{at}, part);
        done += direct;
        if (direct < size) break;
    }
    bytes_read_ += done;
    return done;
}

void PageCache::read_many(std::span<ReadRequest> requests) const {
    // Large pieces would fill the copy with what nobody reads twice.
    constexpr std::size_t kSmall = 64 * kPageBytes;
    std::vector<std::uint64_t> numbers;
    for (const ReadRequest& request : requests) {
        if (request.destination.empty() || request.destination.size() > kSmall) continue;
        const std::uint64_t last = request.address.value + request.destination.size() - 1;
        if (last < request.address.value) continue;
        for (std::uint64_t n = request.address.value / kPageBytes; n <= last / kPageBytes; ++n) {
            if (place_of(n).number == kNoPage) numbers.push_back(n);
        }
        if (numbers.size() > kMaxPages / 2) break;
    }
    if (numbers.size() > 1 && !frozen_) fetch_pages(numbers);
    for (ReadRequest& request : requests) {
        request.done = read_up_to(request.address, request.destination);
    }
}

}  // namespace pystack::memory
