#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "memory/memory_reader.h"
#include "support/fake_memory.h"

namespace pystack::testing {

/// The fake memory of a target that runs: `moves(piece, pieces)` is called before each piece of a
/// batched read, and with (0, 1) before a single one.
class MovingMemory final : public memory::MemoryReader {
  public:
    explicit MovingMemory(const FakeMemory& memory) : memory_(memory) {}

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        ++calls_;
        if (moves) moves(0, 1);
        return memory_.read_up_to(address, destination);
    }

    void read_many(std::span<memory::ReadRequest> requests) const override {
        ++calls_;
        for (std::size_t i = 0; i < requests.size(); ++i) {
            if (moves) moves(i, requests.size());
            requests[i].done = memory_.read_up_to(requests[i].address, requests[i].destination);
        }
    }

    /// Reads so far, a batch counted as one.
    std::size_t calls() const { return calls_; }

    std::function<void(std::size_t piece, std::size_t pieces)> moves;

  private:
    const FakeMemory& memory_;
    mutable std::size_t calls_ = 0;
};

}  // namespace pystack::testing
