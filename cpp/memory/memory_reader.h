#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace pystack::memory {

/// One piece of a batched read: `destination` is filled from `address`; `done` says how much of it.
struct ReadRequest {
    RemoteAddr address;
    std::span<std::byte> destination;
    std::size_t done = 0;

    bool complete() const { return done == destination.size(); }
};

/// A source of the target's bytes: a live process, a core file, or a test's array. Subclasses
/// implement one function; everything else is written once on top of it. Reads never change the
/// target.
class MemoryReader {
  public:
    virtual ~MemoryReader() = default;
    MemoryReader() = default;
    MemoryReader(const MemoryReader&) = delete;
    MemoryReader& operator=(const MemoryReader&) = delete;

    /// Reads as many leading bytes as there are, and returns how many: 0 when the first is
    /// unreadable.
    virtual std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const = 0;

    /// Fills every request as far as it can be read. The requests are read in the order given,
    /// which the consistency proof of cpython/frames/stack_reader relies on.
    virtual void read_many(std::span<ReadRequest> requests) const;

    /// Reads all of `destination`; kReadFault carries the first address that could not be read.
    Result<void> read(RemoteAddr address, std::span<std::byte> destination) const;

    template <class T>
    Result<T> read_value(RemoteAddr address) const {
        static_assert(std::is_trivially_copyable_v<T>);
        T value;
        PYSTACK_CHECK(read(address, std::as_writable_bytes(std::span(&value, 1))));
        return value;
    }

    Result<RemoteAddr> read_pointer(RemoteAddr address) const {
        PYSTACK_TRY(value, read_value<std::uint64_t>(address));
        return RemoteAddr{value};
    }

    /// `size` is the caller's to bound: it comes from the target more often than not.
    Result<std::vector<std::byte>> read_bytes(RemoteAddr address, std::size_t size) const;

    /// A NUL-terminated string of at most `max_size` bytes; kCorruptData when no NUL is found in
    /// them.
    Result<std::string> read_c_string(RemoteAddr address, std::size_t max_size) const;
};

}  // namespace pystack::memory
