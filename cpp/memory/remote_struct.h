#pragma once

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

#include "base/address.h"

namespace pystack::memory {

/// The local bytes of one structure of the target, with the address they came from. A field outside
/// the bytes is absent, so an offset from an untrusted table cannot reach past the buffer.
class RemoteStruct {
  public:
    RemoteStruct(RemoteAddr address, std::span<const std::byte> bytes)
        : address_(address), bytes_(bytes) {}

    RemoteAddr address() const { return address_; }
    std::span<const std::byte> bytes() const { return bytes_; }

    template <class T>
    std::optional<T> get(std::size_t offset) const {
        static_assert(std::is_trivially_copyable_v<T>);
        if (offset > bytes_.size() || bytes_.size() - offset < sizeof(T)) return std::nullopt;
        T value;
        std::memcpy(&value, bytes_.data() + offset, sizeof(T));
        return value;
    }

    std::optional<RemoteAddr> pointer(std::size_t offset) const {
        const auto value = get<std::uint64_t>(offset);
        if (!value) return std::nullopt;
        return RemoteAddr{*value};
    }

  private:
    RemoteAddr address_;
    std::span<const std::byte> bytes_;
};

}  // namespace pystack::memory
