#pragma once

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

#include "process/proc_files.h"
#include "support/eventually.h"

namespace pystack::testing {

/// A real Python, the first in PATH, which runs `program` until that has called ready(), or
/// arrive(COUNT) from so many threads. It is killed at the end.
class PythonChild {
  public:
    explicit PythonChild(const std::string& program) {
        const std::string text =
            "import os, threading, time\n"
            "def ready(): os.write(" +
            std::to_string(kReadyFd) +
            ", b'x')\n"
            "arrived = []\n"
            "def arrive(count):\n"
            "    arrived.append(1)\n"
            "    if len(arrived) == count: ready()\n" +
            program;
        std::array<int, 2> pipe{};
        REQUIRE(::pipe(pipe.data()) == 0);
        pid = ::fork();
        if (pid == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::dup2(pipe[1], kReadyFd);
            ::close(pipe[0]);
            // May be a script that executes the real one.
            ::execlp("python3", "python3", "-I", "-S", "-c", text.c_str(), nullptr);
            ::_exit(127);
        }
        ::close(pipe[1]);
        char byte = 0;
        const ssize_t size = ::read(pipe[0], &byte, 1);
        ::close(pipe[0]);
        REQUIRE_MESSAGE(size == 1, "python3 did not run the program");
    }
    ~PythonChild() { end(); }
    PythonChild(const PythonChild&) = delete;
    PythonChild& operator=(const PythonChild&) = delete;

    void end() {
        if (pid <= 0) return;
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        pid = 0;
    }

    /// Until none of its threads does anything any more: all sleep, and still do a little later.
    bool falls_asleep() const {
        int looks = 0;
        return eventually([&] {
            const auto tasks = process::list_tasks(pid);
            const bool all = std::all_of(tasks.begin(), tasks.end(), [this](pid_t tid) {
                const auto stat = process::read_stat(pid, tid);
                return stat && stat->state == 'S';
            });
            looks = all ? looks + 1 : 0;
            return looks == 20;
        });
    }

    pid_t pid = 0;

  private:
    static constexpr int kReadyFd = 9;
};

}  // namespace pystack::testing
