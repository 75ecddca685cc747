#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "memory/memory_reader.h"

namespace pystack::testing {

/// A target made of bytes: whatever is added is readable, everything else is not.
class FakeMemory final : public memory::MemoryReader {
  public:
    /// Puts the bytes there; pieces must not overlap. Adjacent ones read as one.
    void add(RemoteAddr address, std::vector<std::byte> bytes) {
        segments_[address.value] = std::move(bytes);
    }

    /// A new zeroed piece, 16-byte aligned, with unreadable memory on both sides.
    RemoteAddr allocate(std::size_t size) {
        const RemoteAddr address{next_};
        next_ += (size + kGap + 15) / 16 * 16;
        add(address, std::vector<std::byte>(size));
        return address;
    }

    /// Overwrites bytes of a piece that is there; the test is wrong if they do not fit.
    void write(RemoteAddr address, std::span<const std::byte> bytes) {
        auto segment = std::prev(segments_.upper_bound(address.value));
        const std::uint64_t offset = address.value - segment->first;
        std::memcpy(std::span(segment->second).subspan(offset, bytes.size()).data(), bytes.data(),
                    bytes.size());
    }

    template <class T>
    void put(RemoteAddr address, const T& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        write(address, std::as_bytes(std::span(&value, 1)));
    }

    void put_text(RemoteAddr address, std::string_view text) {
        write(address, std::as_bytes(std::span(text)));
    }

    void remove(RemoteAddr address) { segments_.erase(address.value); }

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        ++calls_;
        return copy(address, destination);
    }

    void read_many(std::span<memory::ReadRequest> requests) const override {
        ++calls_;
        for (memory::ReadRequest& request : requests) {
            request.done = copy(request.address, request.destination);
        }
    }

    /// Calls `visit(address, bytes)` for each piece, by rising address.
    template <class Visit>
    void for_each(Visit visit) const {
        for (const auto& [address, bytes] : segments_) visit(RemoteAddr{address}, std::span(bytes));
    }

    /// Reads so far, a batch counted as one.
    std::size_t calls() const { return calls_; }

  private:
    static constexpr std::size_t kGap = 4096;

    std::size_t copy(RemoteAddr address, std::span<std::byte> destination) const {
        std::size_t done = 0;
        while (done < destination.size()) {
            const std::uint64_t at = address.value + done;
            auto segment = segments_.upper_bound(at);
            if (segment == segments_.begin()) break;
            --segment;
            const std::uint64_t offset = at - segment->first;
            if (offset >= segment->second.size()) break;
            const auto rest = std::span(segment->second).subspan(offset);
            const std::size_t size = std::min(rest.size(), destination.size() - done);
            std::memcpy(destination.data() + done, rest.data(), size);
            done += size;
        }
        return done;
    }

    std::map<std::uint64_t, std::vector<std::byte>> segments_;
    std::uint64_t next_ = 0x10000;
    mutable std::size_t calls_ = 0;
};

}  // namespace pystack::testing
