#include "sampling/blocked_threads.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "memory/process_memory.h"
#include "process/proc_files.h"
#include "process/stop_guard.h"
#include "support/eventually.h"
#include "support/fake_heap.h"

using namespace pystack;
using namespace pystack::sampling;
using pystack::testing::eventually;

namespace {

constexpr std::size_t kStackBytes = 4096;

/// A process that reads a byte, and then another from deeper in its stack.
class Reader {
  public:
    Reader() {
        REQUIRE(::pipe(pipe_.data()) == 0);
        pid = ::fork();
        if (pid == 0) {
            read_one(pipe_[0], 0);
            read_one(pipe_[0], 20);
            for (;;) ::pause();
        }
        REQUIRE(eventually([this] { return is_blocked(); }));
    }
    ~Reader() {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        for (const int end : pipe_) ::close(end);
    }

    void give_byte() { REQUIRE(::write(pipe_[1], "x", 1) == 1); }

    bool is_blocked() const {
        const auto stat = process::read_stat(pid, pid);
        return stat && stat->state == 'S';
    }

    pid_t pid = 0;

  private:
    __attribute__((noinline)) static int read_one(int end, int depth) {
        char byte = 0;
        if (depth > 0) return read_one(end, depth - 1) + 1;
        return static_cast<int>(::read(end, &byte, 1));
    }

    std::array<int, 2> pipe_{};
};

struct Watching {
    Watching()
        : memory(reader.pid),
          stacks(memory, pystack::testing::layout_of(13), 100),
          blocked(reader.pid, memory, stacks) {}

    /// As a recording does it: what is copied while it stands still is remembered after.
    void stop_and_remember(std::vector<BlockedThreadCache::State> states = {}) {
        auto guard = process::StopGuard::stop(reader.pid);
        REQUIRE(guard);
        const auto registers = guard->registers(reader.pid);
        REQUIRE(registers);
        std::vector<std::byte> stack(kStackBytes);
        stack.resize(memory.read_up_to(registers->sp(), stack));
        guard->release();
        REQUIRE(eventually([this] { return reader.is_blocked(); }));
        blocked.remember(reader.pid, *registers, stack, std::move(states));
    }

    Reader reader;
    memory::ProcessMemory memory;
    cpython::StackReader stacks;
    BlockedThreadCache blocked;
};

}  // namespace

TEST_CASE("a thread that sleeps where it was copied need not be stopped again") {
    Watching watching;
    CHECK(watching.blocked.find().empty());
    watching.stop_and_remember();
    for (int i = 0; i < 3; ++i) {
        REQUIRE(watching.blocked.find().size() == 1);
        CHECK(watching.blocked.is_asleep(watching.reader.pid));
        CHECK_FALSE(watching.blocked.is_asleep(watching.reader.pid + 1));
    }
}

TEST_CASE("a thread that woke is noticed, also when it sleeps again") {
    Watching watching;
    watching.stop_and_remember();
    REQUIRE(watching.blocked.find().size() == 1);
    watching.reader.give_byte();
    const auto is_deeper = [&] { return watching.blocked.find().empty(); };
    CHECK(eventually(is_deeper));
    REQUIRE(eventually([&] { return watching.reader.is_blocked(); }));
    CHECK(watching.blocked.find().empty());
    watching.stop_and_remember();
    CHECK(watching.blocked.find().size() == 1);
}

TEST_CASE("a thread that moved before it was first looked at is not taken for what was copied") {
    Watching watching;
    watching.stop_and_remember();
    watching.reader.give_byte();
    const auto has_left = [&] { return watching.blocked.find().empty(); };
    REQUIRE(eventually(has_left));
    REQUIRE(eventually([&] { return watching.reader.is_blocked(); }));
    for (int i = 0; i < 3; ++i) CHECK(watching.blocked.find().empty());
}

TEST_CASE("a thread that runs, or is gone, does not sleep") {
    Watching watching;
    watching.stop_and_remember();
    REQUIRE(watching.blocked.find().size() == 1);
    ::kill(watching.reader.pid, SIGKILL);
    CHECK(eventually([&] { return watching.blocked.find().empty(); }));
}

TEST_CASE("a thread whose Python frames are others than those that were copied does not sleep") {
    constexpr RemoteAddr kNowhere{0x10};  // A state with no frames that could be read.
    for (const bool same : {true, false}) {
        Watching watching;
        BlockedThreadCache::State state{.address = kNowhere, .frames = {}};
        if (!same) state.frames.push_back({.address = {0x1000}});
        watching.stop_and_remember({state});
        CHECK(watching.blocked.find().size() == (same ? 1 : 0));
    }
}

TEST_CASE("a thread that ran when it was copied is forgotten") {
    Watching watching;
    watching.stop_and_remember();
    REQUIRE(watching.blocked.find().size() == 1);
    arch::Registers registers;
    registers.raw.orig_rax = ~0ull;  // In no system call.
    watching.blocked.remember(watching.reader.pid, registers, {}, {});
    CHECK(watching.blocked.find().empty());
    CHECK_FALSE(watching.blocked.is_asleep(watching.reader.pid));
}
