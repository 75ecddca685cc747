#pragma once

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <new>

#include "process/proc_files.h"
#include "support/eventually.h"

namespace pystack::testing {

constexpr std::size_t kThreads = 8;

/// What the child writes and we read, in memory that both have.
struct Shared {
    std::atomic<std::uint64_t> steps[kThreads];
    std::atomic<int> signals;
    std::atomic<bool> ready;
};

inline Shared* shared = nullptr;

inline char state_of(pid_t pid, pid_t tid) {
    const auto stat = process::read_stat(pid, tid);
    return stat ? stat->state : '-';
}

/// A process of our own that is killed at the end.
class Child {
  public:
    explicit Child(void (*body)()) {
        void* const memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        REQUIRE(memory != MAP_FAILED);
        shared = new (memory) Shared();
        pid = ::fork();
        if (pid == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            body();
            ::_exit(0);
        }
        REQUIRE(pid > 0);
        REQUIRE(eventually([] { return shared->ready.load(); }));
    }
    ~Child() {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        ::munmap(shared, sizeof(Shared));
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    bool runs() const {
        const std::uint64_t before = shared->steps[0];
        return eventually([&] { return shared->steps[0] > before + 100; });
    }

    bool stands() const {
        const std::uint64_t before = shared->steps[0];
        ::usleep(20'000);
        return shared->steps[0] == before;
    }

    pid_t pid;
};

inline void run_forever(std::size_t index) {
    for (;;) ++shared->steps[index];
}

inline void one_thread() {
    shared->ready = true;
    run_forever(0);
}

}  // namespace pystack::testing
