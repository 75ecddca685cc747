#include "sampling/idle_threads.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "process/proc_files.h"
#include "process/process_clock.h"
#include "support/eventually.h"

using namespace pystack;
using namespace pystack::sampling;
using pystack::testing::eventually;

namespace {

constexpr std::size_t kSleepers = 12;
constexpr std::uint64_t kTickNs = 30'000'000;

/// A process of threads that read a byte from a pipe, each from its own, again and again. One that
/// reads 'q' ends, one that reads 'n' starts another thread.
class Sleepers {
  public:
    explicit Sleepers(bool one_runs) {
        for (auto& pipe : pipes_) REQUIRE(::pipe(pipe.data()) == 0);
        pid = ::fork();
        if (pid == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (const auto& pipe : pipes_) std::thread([&pipe] { sleep(pipe[0]); }).detach();
            for (volatile std::uint64_t steps = 0; one_runs;) steps = steps + 1;
            for (;;) ::pause();
        }
        REQUIRE(eventually([this] { return asleep().size() == kSleepers; }));
    }
    ~Sleepers() {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        for (const auto& pipe : pipes_) {
            for (const int end : pipe) ::close(end);
        }
    }
    Sleepers(const Sleepers&) = delete;
    Sleepers& operator=(const Sleepers&) = delete;

    void tell(std::size_t sleeper, char what) const {
        REQUIRE(::write(pipes_[sleeper][1], &what, 1) == 1);
    }

    /// All but the first thread, in the order of their tids.
    std::vector<pid_t> asleep() const {
        std::vector<pid_t> tids;
        for (const pid_t tid : process::list_tasks(pid)) {
            const auto stat = process::read_stat(pid, tid);
            if (tid != pid && stat && stat->state == 'S') tids.push_back(tid);
        }
        return tids;
    }

    pid_t pid = 0;

  private:
    static void sleep(int end) {
        for (char byte = 0; ::read(end, &byte, 1) == 1 && byte != 'q';) {
            if (byte == 'n') {
                std::thread([] {
                    for (;;) ::pause();
                }).detach();
            }
        }
    }

    std::array<std::array<int, 2>, kSleepers> pipes_{};
};

struct Watching {
    explicit Watching(bool one_runs = true) : sleepers(one_runs), tids(sleepers.asleep()) {}

    bool tick() {
        now_ns += kTickNs;
        return idle.find_woken(now_ns);
    }
    std::size_t resting() const {
        return static_cast<std::size_t>(std::count_if(
            tids.begin(), tids.end(), [this](pid_t tid) { return idle.is_idle(tid); }));
    }
    /// As many ticks as it takes until so many rest.
    bool settles(std::size_t count) {
        return eventually([&] {
            tick();
            idle.mark_idle(tids, now_ns);
            return resting() == count;
        });
    }

    Sleepers sleepers;
    std::vector<pid_t> tids;
    IdleThreadFilter idle{sleepers.pid};
    std::uint64_t now_ns = kTickNs;
};

}  // namespace

TEST_CASE("the run time of a process is the sum of its threads'") {
    const Sleepers sleepers(false);
    std::uint64_t sum = 0;
    REQUIRE(eventually([&] { return sleepers.asleep().size() == kSleepers; }));
    for (const pid_t tid : process::list_tasks(sleepers.pid))
        sum += process::read_run_time_ns(sleepers.pid, tid).value_or(0);
    CHECK(sum > 0);
    CHECK(process::process_run_time_ns(sleepers.pid) == sum);
    CHECK_FALSE(process::process_run_time_ns(1 << 23));
}

TEST_CASE("threads that do not run rest, beside one that runs or without") {
    for (const bool one_runs : {true, false}) {
        Watching watching(one_runs);
        CHECK(watching.resting() == 0);
        REQUIRE(watching.settles(kSleepers));
        CHECK_FALSE(watching.idle.is_idle(watching.sleepers.pid));
        // The one that runs disturbs seldom: it is charged at the scheduler's ticks.
        const auto is_quiet = [&] { return !watching.tick(); };
        CHECK(eventually(is_quiet));
        CHECK(watching.resting() == kSleepers);
    }
}

TEST_CASE("a thread that has run rests no longer, until it sleeps again") {
    Watching watching;
    REQUIRE(watching.settles(kSleepers));
    watching.sleepers.tell(3, 'x');
    REQUIRE(eventually([&] { return watching.tick() && watching.resting() < kSleepers; }));
    CHECK(watching.resting() == kSleepers - 1);
    CHECK(watching.settles(kSleepers));
}

TEST_CASE("a thread that was woken by others rests no longer") {
    Watching watching;
    REQUIRE(watching.settles(kSleepers));
    watching.idle.wake(watching.tids[5], watching.now_ns);
    watching.idle.wake(watching.sleepers.pid, watching.now_ns);
    CHECK_FALSE(watching.idle.is_idle(watching.tids[5]));
    CHECK(watching.resting() == kSleepers - 1);
    CHECK(eventually([&] { return !watching.tick(); }));
    CHECK(watching.resting() == kSleepers - 1);
    CHECK(watching.settles(kSleepers));
}

TEST_CASE("threads that end or begin leave the others at rest") {
    Watching watching;
    REQUIRE(watching.settles(kSleepers));
    watching.sleepers.tell(0, 'q');
    REQUIRE(eventually([&] { return watching.sleepers.asleep().size() == kSleepers - 1; }));
    CHECK(eventually([&] { return watching.tick() && watching.resting() == kSleepers - 1; }));
    watching.sleepers.tell(1, 'n');
    CHECK(eventually([&] { return watching.tick() && watching.resting() == kSleepers - 2; }));
    CHECK(watching.settles(kSleepers - 1));
    CHECK(eventually([&] { return !watching.tick(); }));
}

TEST_CASE("few threads, and threads that run, do not rest") {
    Watching watching;
    const std::vector<pid_t> few(watching.tids.begin(), watching.tids.begin() + 3);
    for (int i = 0; i < 5; ++i) {
        watching.now_ns += kTickNs;
        watching.idle.mark_idle(few, watching.now_ns);
    }
    CHECK(watching.resting() == 0);
    watching.tids.push_back(watching.sleepers.pid);
    CHECK(watching.settles(kSleepers));
    CHECK_FALSE(watching.idle.is_idle(watching.sleepers.pid));
}

TEST_CASE("where somebody runs at every tick nobody rests, for a while") {
    Watching watching(false);
    REQUIRE(watching.settles(kSleepers));
    std::size_t next = 0;
    const auto is_disturbed = [&] {
        const auto before = process::process_run_time_ns(watching.sleepers.pid);
        watching.sleepers.tell(next++ % kSleepers, 'x');
        REQUIRE(eventually([&] {
            return watching.sleepers.asleep().size() == kSleepers &&
                   process::process_run_time_ns(watching.sleepers.pid) != before;
        }));
        watching.tick();
        watching.idle.mark_idle(watching.tids, watching.now_ns);
        return watching.resting() == 0;
    };
    CHECK(eventually(is_disturbed));
    for (int i = 0; i < 5; ++i) {
        watching.now_ns += kTickNs;
        watching.idle.mark_idle(watching.tids, watching.now_ns);
    }
    CHECK(watching.resting() == 0);
    CHECK(watching.settles(kSleepers));
}

TEST_CASE("of a process that has ended nobody rests") {
    Watching watching;
    REQUIRE(watching.settles(kSleepers));
    ::kill(watching.sleepers.pid, SIGKILL);
    CHECK(eventually([&] { return watching.tick() && watching.resting() == 0; }));
    watching.idle.mark_idle(watching.tids, watching.now_ns += 10 * kTickNs);
    CHECK(watching.resting() == 0);
}
