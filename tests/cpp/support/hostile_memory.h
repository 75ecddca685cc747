#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"
#include "memory/memory_reader.h"
#include "support/fake_memory.h"

namespace pystack::testing {

/// Answers every read with bytes made of the address. Some words look like pointers, so that
/// readers go on.
class HostileMemory final : public memory::MemoryReader {
  public:
    explicit HostileMemory(std::uint64_t seed) : seed_(seed) {}

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        for (std::size_t i = 0; i < destination.size(); ++i) {
            const std::uint64_t at = address.value + i;
            if (at / 4096 % 13 == seed_ % 13) return i;
            destination[i] = static_cast<std::byte>(word(at / 8) >> (at % 8 * 8));
        }
        return destination.size();
    }

  private:
    std::uint64_t word(std::uint64_t index) const {
        std::uint64_t x = (index + seed_) * 0x9e3779b97f4a7c15u;
        x ^= x >> 29;
        switch (x % 8) {
            case 0:
                return x;
            case 1:
                return 0;
            case 2:
                return x >> 60;  // A small size.
            case 3:
                return index * 8;  // A pointer at itself.
            case 4:
                return ~std::uint64_t{0};
            case 5:
                return 0x0000000202020303 | (x & 0xff00000000);  // Possible dict keys.
            default:
                return 0x100000 + (x >> 48) * 8;
        }
    }

    std::uint64_t seed_;
};

/// Memory of which every word is the address of its beginning: an object that is its own type, keys
/// and value.
inline RemoteAddr add_cycle(FakeMemory& memory) {
    constexpr std::uint64_t kBytes = 8192;
    const RemoteAddr start = memory.allocate(kBytes);
    for (std::uint64_t offset = 0; offset < kBytes; offset += 8) memory.put(start + offset, start);
    return start;
}

}  // namespace pystack::testing
