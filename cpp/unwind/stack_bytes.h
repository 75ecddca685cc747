#pragma once

#include <algorithm>
#include <cstring>
#include <span>

#include "memory/memory_reader.h"

namespace pystack::unwind {

/// A copied piece of a stack, and nothing else: what lies outside cannot be read.
class StackBytes final : public memory::MemoryReader {
  public:
    /// `bytes` are the caller's, and stay where they are.
    StackBytes(RemoteAddr begin, std::span<const std::byte> bytes) : begin_(begin), bytes_(bytes) {}

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        const std::uint64_t offset = address - begin_;  // Huge when the address is below.
        if (offset >= bytes_.size()) return 0;
        const std::size_t size = std::min<std::size_t>(destination.size(), bytes_.size() - offset);
        std::memcpy(destination.data(), bytes_.data() + offset, size);
        return size;
    }

  private:
    RemoteAddr begin_;
    std::span<const std::byte> bytes_;
};

}  // namespace pystack::unwind
