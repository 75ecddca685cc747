#pragma once

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

#include "support/stopped_child.h"

namespace pystack::testing {

/// Addresses that the child leaves, in memory that both have.
using Places = std::array<std::atomic<std::uint64_t>, 4>;
inline Places* places = nullptr;

}  // namespace pystack::testing

// In a child, what an interpreter's native stack is made of: who calls the loop, the loop, and what
// it calls.
extern "C" inline __attribute__((noinline, used)) void chain_inner() {
    pystack::testing::wait_forever();
    AFTER_CALL;
}
extern "C" inline __attribute__((noinline, used)) void chain_loop() {
    volatile std::uint64_t in_its_frame = 0;
    (*pystack::testing::places)[0] = reinterpret_cast<std::uint64_t>(&in_its_frame);
    chain_inner();
    AFTER_CALL;
    in_its_frame = 1;
}
extern "C" inline __attribute__((noinline, used)) void chain_outer() {
    chain_loop();
    AFTER_CALL;
}

namespace pystack::testing {

/// A stopped child that stands in wait_forever(), mostly called by chain_inner().
class NativeChain {
  public:
    explicit NativeChain(void (*program)() = &chain_outer) : memory_(share()), child(program) {}
    ~NativeChain() { ::munmap(memory_, sizeof(Places)); }
    NativeChain(const NativeChain&) = delete;
    NativeChain& operator=(const NativeChain&) = delete;

    /// An address in the stack frame of chain_loop(): where a shim frame would lie.
    RemoteAddr in_loop(std::size_t loop = 0) const { return {(*places)[loop].load()}; }

  private:
    static void* share() {
        void* const memory = ::mmap(nullptr, sizeof(Places), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        REQUIRE(memory != MAP_FAILED);
        places = new (memory) Places();
        return memory;
    }

    void* memory_;  // Before the child.

  public:
    StoppedChild child;
};

}  // namespace pystack::testing
