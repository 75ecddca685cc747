#include "memory/segment_memory.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>

namespace pystack::memory {

namespace {

/// What lies in [key, end) of the map below; `source` is the region it was cut from.
struct Slice {
    RemoteAddr end;
    const Region* source;
};

using SliceMap = std::map<RemoteAddr, Slice>;

/// Each call removes what it covers and adds at most two slices, so any sequence of n costs O(n log
/// n).
void lay_over(SliceMap& slices, const Region& region) {
    const auto [begin, end] = region.range;
    auto next = slices.lower_bound(begin);
    if (next != slices.begin()) {
        Slice& before = std::prev(next)->second;
        if (before.end > end) next = slices.emplace_hint(next, end, before);
        before.end = std::min(before.end, begin);
    }
    while (next != slices.end() && next->first < end) {
        if (next->second.end > end) {
            slices.emplace_hint(std::next(next), end, next->second);
        }
        next = slices.erase(next);
    }
    slices.emplace_hint(next, begin, Slice{end, &region});
}

}  // namespace

Region Region::of_bytes(RemoteAddr begin, std::span<const std::byte> bytes,
                        std::shared_ptr<const void> owner) {
    const std::uint64_t room = std::numeric_limits<std::uint64_t>::max() - begin.value;
    return {.range = {begin, begin + std::min<std::uint64_t>(bytes.size(), room)},
            .bytes = bytes.data(),
            .owner = std::move(owner)};
}

Region Region::of_zeros(RemoteRange range) {
    return {.range = range, .zeros = true};
}

Region Region::of_reader(RemoteRange range, std::shared_ptr<const MemoryReader> reader) {
    const MemoryReader* const raw = reader.get();
    return {.range = range, .reader = raw, .owner = std::move(reader)};
}

Region Region::hole(RemoteRange range) {
    return {.range = range};
}

SegmentMemory::SegmentMemory(const std::vector<Region>& regions) {
    SliceMap slices;
    for (const Region& region : regions) {
        if (region.range.size() > 0) lay_over(slices, region);
    }
    pieces_.reserve(slices.size());
    for (const auto& [begin, slice] : slices) {
        const Region& source = *slice.source;
        if (source.bytes == nullptr && source.reader == nullptr && !source.zeros) continue;
        pieces_.push_back(
            {.begin = begin,
             .end = slice.end,
             .bytes = source.bytes ? source.bytes + (begin - source.range.begin) : nullptr,
             .reader = source.reader});
        if (source.owner && (owners_.empty() || owners_.back() != source.owner)) {
            owners_.push_back(source.owner);
        }
    }
}

std::size_t SegmentMemory::read_up_to(RemoteAddr address, std::span<std::byte> destination) const {
    auto piece = std::upper_bound(
        pieces_.begin(), pieces_.end(), address,
        [](RemoteAddr wanted, const Piece& candidate) { return wanted < candidate.end; });
    std::size_t done = 0;
    for (; done < destination.size() && piece != pieces_.end(); ++piece) {
        const RemoteAddr at = address + done;
        // The second test is for reads that wrap around the end of the address space.
        if (piece->begin > at || at < address) break;
        const std::size_t size = static_cast<std::size_t>(
            std::min<std::uint64_t>(destination.size() - done, piece->end - at));
        const std::span<std::byte> target = destination.subspan(done, size);
        if (piece->reader != nullptr) {
            const std::size_t read = piece->reader->read_up_to(at, target);
            done += read;
            if (read < size) break;
            continue;
        }
        if (piece->bytes != nullptr) {
            std::memcpy(target.data(), piece->bytes + (at - piece->begin), size);
        } else {
            std::memset(target.data(), 0, size);
        }
        done += size;
    }
    return done;
}

}  // namespace pystack::memory
