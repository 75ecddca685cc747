#include "memory/memory_copy.h"

#include <algorithm>
#include <cstring>

namespace pystack::memory {

namespace {

constexpr std::size_t kFew = 8;

}  // namespace

void MemoryCopy::clear() {
    pieces_.clear();
    bytes_.clear();
}

void MemoryCopy::fetch(std::span<const RemoteRange> ranges) {
    const std::size_t first = bytes_.size();
    std::size_t total = first;
    for (const RemoteRange& range : ranges) total += range.size();
    bytes_.resize(total);
    requests_.clear();
    std::size_t begin = first;
    for (const RemoteRange& range : ranges) {
        requests_.push_back({range.begin, std::span(bytes_).subspan(begin, range.size())});
        begin += range.size();
    }
    source_.read_many(requests_);
    const auto begins_before = [](const Piece& a, const Piece& b) {
        return a.range.begin < b.range.begin;
    };
    // Few are put where they belong; many would move all that is behind them, each time.
    const bool few = requests_.size() <= kFew;
    const auto known = static_cast<std::ptrdiff_t>(pieces_.size());
    begin = first;
    for (const ReadRequest& request : requests_) {
        if (request.done > 0) {
            const Piece piece{{request.address, request.address + request.done}, begin};
            const auto place =
                few ? std::upper_bound(pieces_.begin(), pieces_.end(), piece, begins_before)
                    : pieces_.end();
            pieces_.insert(place, piece);
        }
        begin += request.destination.size();
    }
    if (few) return;
    std::stable_sort(pieces_.begin() + known, pieces_.end(), begins_before);
    std::inplace_merge(pieces_.begin(), pieces_.begin() + known, pieces_.end(), begins_before);
}

std::optional<std::span<const std::byte>> MemoryCopy::view(RemoteAddr address,
                                                           std::size_t size) const {
    auto piece = std::upper_bound(
        pieces_.begin(), pieces_.end(), address,
        [](RemoteAddr wanted, const Piece& candidate) { return wanted < candidate.range.begin; });
    // Pieces may overlap, so the nearest one below is not always the one that reaches far enough.
    for (int tries = 0; piece != pieces_.begin() && tries < 4; ++tries) {
        --piece;
        if (piece->range.contains(address) && piece->range.end - address >= size) {
            return std::span(bytes_).subspan(piece->begin + (address - piece->range.begin), size);
        }
    }
    return std::nullopt;
}

std::size_t MemoryCopy::read_up_to(RemoteAddr address, std::span<std::byte> destination) const {
    if (destination.empty()) return 0;
    if (const auto held = view(address, destination.size())) {
        std::memcpy(destination.data(), held->data(), held->size());
        return held->size();
    }
    return source_.read_up_to(address, destination);
}

}  // namespace pystack::memory
