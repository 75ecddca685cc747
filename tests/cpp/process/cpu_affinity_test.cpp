#include "process/cpu_affinity.h"

#include <doctest/doctest.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <thread>

using namespace pystack::process;

namespace {

cpu_set_t cpus_of_caller() {
    cpu_set_t cpus;
    REQUIRE(::sched_getaffinity(0, sizeof cpus, &cpus) == 0);
    return cpus;
}

/// A thread that sits on one CPU until it is told to end.
class Sitting {
  public:
    Sitting(unsigned cpu, int policy) {
        thread_ = std::thread([this, cpu, policy] {
            cpu_set_t cpus;
            CPU_ZERO(&cpus);
            CPU_SET(cpu, &cpus);
            ::sched_setaffinity(0, sizeof cpus, &cpus);
            sched_param parameters{};
            if (policy == SCHED_FIFO) parameters.sched_priority = 1;
            has_policy = ::pthread_setschedparam(::pthread_self(), policy, &parameters) == 0;
            tid = ::gettid();
            tid.notify_all();
            ends.wait(false);
        });
        tid.wait(0);
    }
    ~Sitting() {
        ends = true;
        ends.notify_all();
        thread_.join();
    }

    std::atomic<pid_t> tid = 0;
    std::atomic<bool> ends = false;
    bool has_policy = false;

  private:
    std::thread thread_;
};

}  // namespace

TEST_CASE("a thread is followed to its CPU, and left again") {
    const cpu_set_t before = cpus_of_caller();
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &before)) continue;
        const Sitting other(cpu, SCHED_OTHER);
        {
            CpuAffinity affinity;
            CHECK(affinity.pin_to(::getpid(), other.tid));
            CHECK(affinity.is_pinned());
            CHECK(affinity.shares_cpu_with(::getpid(), other.tid));
            CHECK(::sched_getcpu() == static_cast<int>(cpu));
            CHECK(affinity.pin_to(::getpid(), other.tid));
            affinity.unpin();
            CHECK_FALSE(affinity.is_pinned());
            CHECK_FALSE(affinity.shares_cpu_with(::getpid(), other.tid));
            const cpu_set_t after = cpus_of_caller();
            CHECK(CPU_EQUAL(&after, &before));
            CHECK(affinity.pin_to(::getpid(), other.tid));
        }
        const cpu_set_t after = cpus_of_caller();
        CHECK(CPU_EQUAL(&after, &before));
    }
}

TEST_CASE("nobody is followed to a CPU that he would not share") {
    const cpu_set_t before = cpus_of_caller();
    const Sitting other(static_cast<unsigned>(::sched_getcpu()), SCHED_FIFO);
    CpuAffinity affinity;
    if (other.has_policy) CHECK_FALSE(affinity.pin_to(::getpid(), other.tid));
    CHECK_FALSE(affinity.pin_to(::getpid(), 0x3fffff));
    const cpu_set_t after = cpus_of_caller();
    CHECK(CPU_EQUAL(&after, &before));
}
