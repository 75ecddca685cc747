#include "sampling/thread_activity.h"

#include <doctest/doctest.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "model/sample.h"
#include "process/proc_files.h"
#include "support/eventually.h"

using namespace pystack;
using namespace pystack::sampling;
using model::kCpuKnown;
using model::kOnCpu;
using model::kWaitsForGil;
using pystack::testing::eventually;

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr RemoteAddr kThreadState{0x7000};

/// A process that computes, or waits in a futex, as it is told.
class Worker {
  public:
    Worker() {
        void* const memory = ::mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        REQUIRE(memory != MAP_FAILED);
        computes_ = new (memory) std::atomic<int>(0);
        pid = ::fork();
        if (pid == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;) {
                while (*computes_ != 0) continue;
                ::syscall(SYS_futex, computes_, FUTEX_WAIT, 0, nullptr, nullptr, 0);
            }
        }
        REQUIRE(eventually([this] { return state() == 'S'; }));
    }
    ~Worker() {
        end();
        ::munmap(computes_, sizeof(std::atomic<int>));
    }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    void compute() {
        *computes_ = 1;
        ::syscall(SYS_futex, computes_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
        // Both files, because on a busy machine one may tell of it later than the other.
        REQUIRE(eventually([this] { return state() == 'R' && runs(); }));
    }
    void wait() {
        *computes_ = 0;
        REQUIRE(eventually([this] { return state() == 'S'; }));
    }
    void end() {
        if (pid == 0) return;
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        pid = 0;
    }

    /// The memory is at the same address in the child.
    RemoteAddr futex() const { return {reinterpret_cast<std::uint64_t>(computes_)}; }

    pid_t pid = 0;

  private:
    char state() const {
        const auto stat = process::read_stat(pid, pid);
        return stat ? stat->state : '-';
    }
    bool runs() const {
        process::OpenProcFile file("syscall");
        file.set_thread(pid, pid);
        std::array<char, 64> text;
        return file.read(text).value_or("").starts_with("running");
    }

    std::atomic<int>* computes_;
};

ThreadActivity::Sample still_at(std::uint64_t now_ns) {
    return {.now_ns = now_ns, .moved = false, .thread_state = kThreadState};
}
ThreadActivity::Sample moved_at(std::uint64_t now_ns) {
    return {.now_ns = now_ns, .moved = true, .thread_state = kThreadState};
}

}  // namespace

TEST_CASE("what the interpreter says needs no look at the kernel") {
    ThreadActivity activity;  // Of no thread.
    auto sample = moved_at(1);
    sample.runs_python = true;
    CHECK(activity.bits(sample) == (kOnCpu | kCpuKnown));
    sample = still_at(2);
    sample.asks_for_gil = true;
    CHECK(activity.bits(sample) == (kWaitsForGil | kCpuKnown));
    CHECK(activity.last_bits() == (kWaitsForGil | kCpuKnown));
    // It holds the GIL, but has not moved: it may be in C code that waits.
    sample = still_at(3);
    sample.runs_python = true;
    CHECK(activity.bits(sample) == 0);
}

TEST_CASE("the kernel says whether a thread computes") {
    Worker worker;
    ThreadActivity activity;
    activity.set_thread(worker.pid, worker.pid);
    CHECK(activity.bits(moved_at(1)) == kCpuKnown);
    worker.compute();
    CHECK(activity.bits(moved_at(2)) == (kOnCpu | kCpuKnown));
    worker.wait();
    CHECK(activity.bits(moved_at(3)) == kCpuKnown);
}

TEST_CASE("a thread that is blocked in the GIL waits for it") {
    const Worker worker;
    ThreadActivity activity;
    activity.set_thread(worker.pid, worker.pid);
    const RemoteRange here{worker.futex(), worker.futex() + 8};
    const RemoteRange elsewhere{{0x10}, {0x20}};
    auto sample = moved_at(1);
    const cpython::Gil waits{.locked = true, .wait = here, .forced = elsewhere};
    sample.gil = &waits;
    CHECK(activity.bits(sample) == (kWaitsForGil | kCpuKnown));
    const cpython::Gil drops{.locked = true, .wait = elsewhere, .forced = here};
    sample.gil = &drops;
    CHECK(activity.bits(sample) == (kWaitsForGil | kCpuKnown));
    const cpython::Gil other{.locked = true, .wait = elsewhere, .forced = elsewhere};
    sample.gil = &other;
    CHECK(activity.bits(sample) == kCpuKnown);
    const cpython::Gil off{.enabled = false, .wait = here, .forced = here};
    sample.gil = &off;
    CHECK(activity.bits(sample) == kCpuKnown);
}

TEST_CASE("a thread that stands still is looked at less and less often") {
    Worker worker;
    ThreadActivity activity;
    activity.set_thread(worker.pid, worker.pid);
    CHECK(activity.bits(moved_at(1000 * kMs)) == kCpuKnown);
    // It has stood still for 80 ms: not looked at for 10.
    CHECK(activity.bits(still_at(1080 * kMs)) == kCpuKnown);
    worker.compute();
    CHECK(activity.bits(still_at(1089 * kMs)) == kCpuKnown);
    CHECK(activity.bits(still_at(1090 * kMs)) == (kOnCpu | kCpuKnown));
    worker.wait();
    // After very long, for 100 ms.
    CHECK(activity.bits(still_at(100'000 * kMs)) == kCpuKnown);
    worker.compute();
    CHECK(activity.bits(still_at(100'099 * kMs)) == kCpuKnown);
    CHECK(activity.bits(still_at(100'100 * kMs)) == (kOnCpu | kCpuKnown));
    // One that moves is looked at each time.
    worker.wait();
    CHECK(activity.bits(moved_at(100'101 * kMs)) == kCpuKnown);
}

TEST_CASE("of very many threads each is looked at still less often") {
    Worker worker;
    ThreadActivity activity;
    activity.set_thread(worker.pid, worker.pid);
    CHECK(activity.bits(moved_at(1000 * kMs)) == kCpuKnown);
    auto sample = still_at(100'000 * kMs);
    sample.thread_count = 500;
    CHECK(activity.bits(sample) == kCpuKnown);
    worker.compute();
    sample.now_ns += 499 * kMs;
    CHECK(activity.bits(sample) == kCpuKnown);
    sample.now_ns += kMs;
    CHECK(activity.bits(sample) == (kOnCpu | kCpuKnown));
}

TEST_CASE("what the interpreter says ends the wait for the next look") {
    Worker worker;
    ThreadActivity activity;
    activity.set_thread(worker.pid, worker.pid);
    activity.bits(moved_at(1000 * kMs));
    activity.bits(still_at(9000 * kMs));  // Not again for 100 ms.
    auto sample = still_at(9001 * kMs);
    sample.asks_for_gil = true;
    activity.bits(sample);
    worker.compute();
    CHECK(activity.bits(still_at(9002 * kMs)) == (kOnCpu | kCpuKnown));
}

TEST_CASE("a thread sleeps when it was seen blocked and has not moved for so long") {
    Worker worker;
    ThreadActivity activity;
    activity.set_thread(worker.pid, worker.pid);
    activity.bits(moved_at(1000 * kMs));
    CHECK(activity.sleeps_for(500 * kMs, 1500 * kMs));
    CHECK_FALSE(activity.sleeps_for(500 * kMs, 1499 * kMs));
    worker.compute();
    activity.bits(moved_at(2000 * kMs));
    CHECK_FALSE(activity.sleeps_for(500 * kMs, 9000 * kMs));
}

TEST_CASE("of a thread that is gone nothing is known") {
    Worker worker;
    ThreadActivity activity;
    activity.set_thread(worker.pid, worker.pid);
    CHECK(activity.bits(moved_at(1)) == kCpuKnown);
    worker.end();
    CHECK(activity.bits(moved_at(2)) == 0);
    CHECK_FALSE(activity.sleeps_for(0, 1000 * kMs));
}
