#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "arch/x86_64/dwarf_registers.h"
#include "memory/memory_reader.h"

namespace pystack::unwind {

/// The registers of one frame as far as they are known. A register that the frame saved on the
/// stack is read only when somebody asks for it: most never are.
class RegisterState {
  public:
    RegisterState() = default;
    explicit RegisterState(const std::array<std::uint64_t, arch::kRegisterCount>& values)
        : values_(values) {
        known_ = (1U << arch::kRegisterCount) - 1;
    }

    /// nullopt: unknown, or saved in memory that cannot be read (`fault` is its address then).
    std::optional<std::uint64_t> get(unsigned number, const memory::MemoryReader& memory,
                                     std::optional<RemoteAddr>& fault) {
        if (number >= arch::kRegisterCount || !(known_ >> number & 1)) return std::nullopt;
        if (saved_ >> number & 1) {
            std::uint64_t value;
            if (memory.read_up_to({values_[number]},
                                  std::as_writable_bytes(std::span(&value, 1))) != sizeof value) {
                fault = RemoteAddr{values_[number]};
                return std::nullopt;
            }
            set(number, value);
        }
        return values_[number];
    }

    void set(unsigned number, std::uint64_t value) {
        values_[number] = value;
        known_ |= 1U << number;
        saved_ &= ~(1U << number);
    }
    void set_saved_at(unsigned number, std::uint64_t address) {
        values_[number] = address;
        known_ |= 1U << number;
        saved_ |= 1U << number;
    }
    void forget(unsigned number) {
        known_ &= ~(1U << number);
        saved_ &= ~(1U << number);
    }
    /// Keeps what a called function preserves.
    void forget_scratch() {
        std::uint32_t kept = 0;
        for (const std::uint8_t number : arch::kPreserved) kept |= 1U << number;
        known_ &= kept;
        saved_ &= kept;
    }

  private:
    std::array<std::uint64_t, arch::kRegisterCount>
        values_{};  // An address where saved_ has the bit.
    std::uint32_t known_ = 0;
    std::uint32_t saved_ = 0;
};

}  // namespace pystack::unwind
