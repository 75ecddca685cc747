#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace pystack::modules {

/// Reads values of untrusted bytes one after another. Failure is sticky: after the first value that
/// is not there, every value is 0 or empty, failed() is true and the position is the end.
class ByteCursor {
  public:
    explicit ByteCursor(std::span<const std::byte> bytes, std::uint64_t position = 0)
        : bytes_(bytes) {
        skip(position);
    }

    bool failed() const { return failed_; }
    std::uint64_t position() const { return position_; }
    std::uint64_t left() const { return bytes_.size() - position_; }

    template <class T>
    T take() {
        T value{};
        if (left() < sizeof value) {
            fail();
        } else {
            std::memcpy(&value, bytes_.data() + position_, sizeof value);
            position_ += sizeof value;
        }
        return value;
    }

    /// Little-endian, of at most 8 bytes.
    std::uint64_t take_number(std::size_t size) {
        std::uint64_t value = 0;
        if (left() < size || size > sizeof value) {
            fail();
        } else {
            std::memcpy(&value, bytes_.data() + position_, size);
            position_ += size;
        }
        return value;
    }

    std::uint64_t take_uleb128() { return take_leb128().value; }

    std::int64_t take_sleb128() {
        auto [value, bits] = take_leb128();
        const bool is_short = bits > 0 && bits < 64;
        if (is_short && (value >> (bits - 1) & 1) != 0) value |= ~std::uint64_t{0} << bits;
        return static_cast<std::int64_t>(value);
    }

    /// Up to a NUL, which is skipped.
    std::string_view take_text() {
        const auto* const text = reinterpret_cast<const char*>(bytes_.data() + position_);
        const void* const end = left() == 0 ? nullptr : std::memchr(text, 0, left());
        if (end == nullptr) {
            fail();
            return {};
        }
        const auto size = static_cast<std::size_t>(static_cast<const char*>(end) - text);
        position_ += size + 1;
        return {text, size};
    }

    std::span<const std::byte> take_bytes(std::uint64_t size) {
        if (left() < size) {
            fail();
            return {};
        }
        const auto taken = bytes_.subspan(position_, size);
        position_ += size;
        return taken;
    }

    void skip(std::uint64_t size) { take_bytes(size); }

  private:
    struct Leb128 {
        std::uint64_t value;
        unsigned bits;  ///< That were there: 7 for each byte.
    };

    /// Bits behind the 64th are dropped.
    Leb128 take_leb128() {
        Leb128 number{0, 0};
        while (position_ < bytes_.size()) {
            const auto byte = std::to_integer<std::uint64_t>(bytes_[position_++]);
            if (number.bits < 64) number.value |= (byte & 0x7f) << number.bits;
            number.bits = std::min(number.bits + 7, 70U);
            if ((byte & 0x80) == 0) return number;
        }
        fail();
        return {0, 0};
    }

    void fail() {
        failed_ = true;
        position_ = bytes_.size();
    }

    std::span<const std::byte> bytes_;
    std::uint64_t position_ = 0;
    bool failed_ = false;
};

}  // namespace pystack::modules
