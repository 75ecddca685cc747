#include "cpython/page_copy.h"

#include <algorithm>
#include <cstring>

namespace pystack::cpython {

namespace {

constexpr std::size_t kPagesPerBlock = 64;
/// 128 MiB; above it the copy starts anew. Budgets of readers keep it far below.
constexpr std::size_t kMaxPages = 1 << 15;
/// What is wanted of an object whose size is not known yet.
constexpr std::uint64_t kObjectBytes = 64;

}  // namespace

void PageCopy::clear() {
    pages_.clear();
    used_ = 0;
    last_number_ = UINT64_MAX;
    last_page_ = nullptr;
}

std::byte* PageCopy::new_page() const {
    if (used_ == blocks_.size() * kPagesPerBlock) {
        blocks_.push_back(std::make_unique_for_overwrite<Page[]>(kPagesPerBlock));
    }
    std::byte* page = blocks_[used_ / kPagesPerBlock][used_ % kPagesPerBlock];
    ++used_;
    return page;
}

const std::byte* PageCopy::page(std::uint64_t number) const {
    if (number == last_number_) return last_page_;
    auto known = pages_.find(number);
    if (known == pages_.end()) {
        std::vector<std::uint64_t> wanted{number};
        fetch_pages(wanted);
        known = pages_.find(number);
    }
    last_number_ = number;
    last_page_ = known->second;
    return last_page_;
}

void PageCopy::fetch_pages(std::vector<std::uint64_t>& numbers) const {
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    std::erase_if(numbers, [this](std::uint64_t number) { return pages_.contains(number); });
    if (numbers.empty()) return;
    if (used_ + numbers.size() > kMaxPages) {
        pages_.clear();
        used_ = 0;
        last_number_ = UINT64_MAX;
    }
    std::vector<memory::ReadRequest> requests;
    requests.reserve(numbers.size());
    for (const std::uint64_t number : numbers) {
        requests.push_back({RemoteAddr{number * kPageBytes}, std::span(new_page(), kPageBytes)});
    }
    source_.read_many(requests);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        pages_[numbers[i]] = requests[i].complete() ? requests[i].destination.data() : nullptr;
    }
}

void PageCopy::fetch(std::span<const RemoteAddr> objects) const {
    std::vector<std::uint64_t> numbers;
    for (const RemoteAddr object : objects) {
        if (!object) continue;
        numbers.push_back(object.value / kPageBytes);
        numbers.push_back((object.value + kObjectBytes - 1) / kPageBytes);
    }
    if (numbers.size() > kMaxPages) numbers.resize(kMaxPages);
    fetch_pages(numbers);
}

std::size_t PageCopy::read_up_to(RemoteAddr address, std::span<std::byte> destination) const {
    std::size_t done = 0;
    while (done < destination.size()) {
        const std::uint64_t at = address.value + done;
        const std::uint64_t offset = at % kPageBytes;
        const std::size_t size = std::min<std::size_t>(destination.size() - done, kPageBytes - offset);
        const auto part = destination.subspan(done, size);
        if (const std::byte* bytes = page(at / kPageBytes)) {
            std::memcpy(part.data(), bytes + offset, size);
            done += size;
            continue;
        }
        const std::size_t direct = source_.read_up_to(RemoteAddr{at}, part);
        done += direct;
        if (direct < size) break;
    }
    return done;
}

void PageCopy::read_many(std::span<memory::ReadRequest> requests) const {
    // Large pieces would fill the copy with what nobody reads twice.
    constexpr std::size_t kSmall = 64 * kPageBytes;
    std::vector<std::uint64_t> numbers;
    for (const memory::ReadRequest& request : requests) {
        if (request.destination.empty() || request.destination.size() > kSmall) continue;
        const std::uint64_t last = request.address.value + request.destination.size() - 1;
        if (last < request.address.value) continue;
        for (std::uint64_t n = request.address.value / kPageBytes; n <= last / kPageBytes; ++n) {
            numbers.push_back(n);
        }
        if (numbers.size() > kMaxPages / 2) break;
    }
    if (numbers.size() > 1) fetch_pages(numbers);
    for (memory::ReadRequest& request : requests) {
        request.done = read_up_to(request.address, request.destination);
    }
}

}  // namespace pystack::cpython
