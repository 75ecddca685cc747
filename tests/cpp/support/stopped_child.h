#pragma once

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <vector>

#include "process/proc_files.h"
#include "support/eventually.h"
#include "target/live_target.h"
#include "unwind/native_unwinder.h"
#include "unwind/stack_bytes.h"

/// Keeps a call from being the last thing that a function does.
#define AFTER_CALL asm volatile("" ::: "memory")

namespace pystack::testing {

inline int ready_pipe[2];

__attribute__((noinline)) inline void tell_ready() {
    const char byte = 0;
    [[maybe_unused]] const ssize_t written = ::write(ready_pipe[1], &byte, 1);
}

/// For the program of a StoppedChild: says that it is ready, and stays here.
__attribute__((noinline)) inline void wait_forever() {
    tell_ready();
    // Volatile, or what follows a call of this would be optimised away.
    static volatile bool stays = true;
    while (stays) ::pause();
}

/// A process that runs `program` to wait_forever(), where it was stopped and copied. It goes on,
/// and its memory stays as it was then.
class StoppedChild {
  public:
    explicit StoppedChild(const std::function<void()>& program) {
        REQUIRE(::pipe(ready_pipe) == 0);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::alarm(60);  // Never outlives the tests for long.
            program();
            ::_exit(0);
        }
        char byte;
        const bool is_ready = ::read(ready_pipe[0], &byte, 1) == 1;
        ::close(ready_pipe[0]);
        ::close(ready_pipe[1]);
        REQUIRE(is_ready);
        // It may still be in the call that said so, and go on from there when it has been copied.
        REQUIRE(eventually([this] {
            const auto stat = process::read_stat(pid_, pid_);
            return stat && stat->state == 'S';
        }));
        auto opened = target::LiveTarget::open(pid_);
        REQUIRE(opened);
        target = std::move(*opened);
        copy();
    }
    ~StoppedChild() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    StoppedChild(const StoppedChild&) = delete;
    StoppedChild& operator=(const StoppedChild&) = delete;

    void copy() { copy(pid_); }
    /// Another thread of a program that has several.
    void copy(pid_t tid) {
        const auto mappings = *target->mappings();
        auto guard = target->stop();
        REQUIRE(guard);
        const auto copied = guard->registers(tid);
        REQUIRE(copied);
        registers = *copied;
        const elf::Mapping* stack = elf::find_mapping(mappings, registers.sp());
        REQUIRE(stack != nullptr);
        begin = registers.sp();
        bytes = *target->memory().read_bytes(begin, stack->range.end - begin);
    }

    modules::UnwindResult unwind(unwind::NativeUnwinder& unwinder,
                                 std::vector<modules::NativeFrame>& frames,
                                 const modules::UnwindLimits& limits = {}) {
        return unwinder.unwind(registers, unwind::StackBytes(begin, bytes), limits, frames);
    }

    std::unique_ptr<target::LiveTarget> target;
    arch::Registers registers;
    RemoteAddr begin;
    std::vector<std::byte> bytes;

  private:
    pid_t pid_ = -1;
};

}  // namespace pystack::testing
