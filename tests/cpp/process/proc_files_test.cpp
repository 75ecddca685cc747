#include "process/proc_files.h"

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <string>

using namespace pystack;
using namespace pystack::process;

TEST_CASE("a stat line is read whatever the thread calls itself") {
    char before[16];
    ::prctl(PR_GET_NAME, before);
    for (const char* name : {"plain", ") Z 1 2 (", "a b\nc", "(((", ""}) {
        ::prctl(PR_SET_NAME, name);
        const auto stat = read_stat(::getpid(), ::gettid());
        REQUIRE(stat);
        CHECK(stat->name == name);
        CHECK(stat->state == 'R');
        CHECK(stat->start_ticks > 0);
        CHECK(stat->cpu >= 0);
        CHECK(stat->policy == ::sched_getscheduler(0));
    }
    ::prctl(PR_SET_NAME, before);
}

TEST_CASE("what is no stat line is none") {
    for (const char* text : {"", "1 ", "1 (a", "1 a) S", "1 )a( S 1", "1 (a)", "1 (a) "}) {
        CHECK_FALSE(parse_stat(text));
    }
    const auto cut = parse_stat("1 (a) S 2");
    REQUIRE(cut);
    CHECK(cut->state == 'S');
    CHECK(cut->cpu == -1);
}

TEST_CASE("a thread's run time grows while it runs") {
    const auto cpu_time_ns = [] {
        timespec time{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
               static_cast<std::uint64_t>(time.tv_nsec);
    };
    const auto before = read_run_time_ns(::getpid(), ::gettid());
    REQUIRE(before);
    // The kernel brings the figure up to date at its ticks, at most 10 ms apart.
    const std::uint64_t begin = cpu_time_ns();
    while (cpu_time_ns() - begin < 40'000'000) {
    }
    const auto after = read_run_time_ns(::getpid(), ::gettid());
    REQUIRE(after);
    CHECK(*after - *before >= 20'000'000);
    CHECK(*after - *before <= 60'000'000);
}

TEST_CASE("what a thread is blocked in") {
    const auto call = parse_syscall("202 0x7f1200 0x189 0x0 0x0 0x0 0x0 0x7ffc10 0x7f1234\n");
    REQUIRE(call);
    CHECK(call->number == 202);
    CHECK(call->argument0 == 0x7f1200);
    CHECK(call->argument1 == 0x189);
    for (const char* text :
         {"running\n", "-1 0x7ffc10 0x7f1234\n", "202\n", "202 7f1200\n", "202 0x7f1200\n", ""}) {
        CHECK_FALSE(parse_syscall(text));
        CHECK_FALSE(parse_blocked_at(text));
    }
    const auto place = parse_blocked_at("0 0x3 0x1 0x1 0x0 0x0 0x0 0x7ffc10 0x7f1234\n");
    REQUIRE(place);
    CHECK(place->sp == RemoteAddr{0x7ffc10});
    CHECK(place->pc == RemoteAddr{0x7f1234});
    CHECK_FALSE(parse_blocked_at("0 0x3 0x1 0x1 0x0 0x0 0x0 0x7ffc10\n"));
    CHECK(parse_run_time_ns("123456 789 12\n") == 123456);
    CHECK_FALSE(parse_run_time_ns("\n"));
}

TEST_CASE("what is not there") {
    constexpr pid_t kNobody = 0x3fffff;
    CHECK_FALSE(read_stat(kNobody, kNobody));
    CHECK_FALSE(read_run_time_ns(kNobody, kNobody));
    CHECK(list_tasks(kNobody).empty());
    const auto file = read_proc_file("/proc/4194303/status");
    REQUIRE_FALSE(file);
    CHECK(file.error().code == ErrorCode::kSystem);
    CHECK(file.error().number == ENOENT);
}

TEST_CASE("files are cut at the size that is asked for") {
    CHECK(read_proc_file("/proc/self/status", 10).value().size() == 10);
    CHECK(read_proc_file("/proc/self/status").value().size() > 10);
}

TEST_CASE("our own threads are listed") {
    const auto tasks = list_tasks(::getpid());
    CHECK(std::find(tasks.begin(), tasks.end(), ::gettid()) != tasks.end());
}

TEST_CASE("fields of a status file") {
    const std::string status =
        "Name:\tpython\nNSpid:\t4711\t12\t1\nNSpidX:\t9\nTgid:\t\nVmRSS:\t  12 kB";
    CHECK(status_field(status, "Name") == "python");
    CHECK(status_field(status, "NSpid") == "4711\t12\t1");
    CHECK(status_field(status, "Tgid") == "");
    CHECK(status_field(status, "VmRSS") == "12 kB");
    CHECK_FALSE(status_field(status, "NSpi"));
    CHECK_FALSE(status_field("", "Name"));
    CHECK(namespace_id(status) == 1);
    CHECK_FALSE(namespace_id("NSpid:\t4711\n"));
    CHECK_FALSE(namespace_id("Name:\tx\n"));
}
