#include "process/seize.h"

#include <signal.h>
#include <sys/ptrace.h>

#include <atomic>
#include <cerrno>

#include "process/thread_wait.h"

namespace pystack::process {

namespace {

struct Waiting {
    std::span<const StoppedThread> seized;
    std::span<const pid_t> late;
};

// A signal handler may not allocate: glibc does at a thread's first access, except in this model.
// musl never does, and loads no extension that uses it.
#ifdef __GLIBC__
#define PYSTACK_SIGNAL_SAFE_TLS [[gnu::tls_model("initial-exec")]]
#else
#define PYSTACK_SIGNAL_SAFE_TLS
#endif

/// Of this thread, while it seizes.
PYSTACK_SIGNAL_SAFE_TLS constinit thread_local std::atomic<const Waiting*> waiting = nullptr;

/// Who was collected here is gone for the guard when it asks.
void collect_ended(int /*signal*/) {
    const Waiting* const mine = waiting.load(std::memory_order_relaxed);
    if (mine == nullptr) return;
    const int before = errno;
    for (const StoppedThread& thread : mine->seized) {
        if (thread.tid != 0) take_end(thread.tid);
    }
    for (const pid_t tid : mine->late) take_end(tid);
    errno = before;
}

bool install_handler() {
    struct sigaction current;
    if (::sigaction(SIGURG, nullptr, &current) != 0) return false;
    const bool is_free = (current.sa_flags & SA_SIGINFO) == 0 &&
                         (current.sa_handler == SIG_DFL || current.sa_handler == SIG_IGN);
    if (!is_free) return false;
    struct sigaction action{};
    action.sa_handler = &collect_ended;
    action.sa_flags = SA_RESTART;
    return ::sigaction(SIGURG, &action, nullptr) == 0;
}

bool take_signal_in_this_thread() {
    sigset_t urgent;
    ::sigemptyset(&urgent);
    ::sigaddset(&urgent, SIGURG);
    return ::pthread_sigmask(SIG_UNBLOCK, &urgent, nullptr) == 0;
}

}  // namespace

int seize(pid_t tid, std::span<const StoppedThread> seized, StopClock* clock) {
    static const bool is_installed = install_handler();
    thread_local const bool can_be_interrupted = is_installed && take_signal_in_this_thread();
    if (clock == nullptr || !can_be_interrupted)
        return ::ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) == 0 ? 0 : errno;
    const Waiting mine{.seized = seized, .late = clock->late_threads()};
    waiting.store(&mine, std::memory_order_relaxed);
    clock->set_seizing(true);
    const int error = ::ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) == 0 ? 0 : errno;
    clock->set_seizing(false);
    waiting.store(nullptr, std::memory_order_relaxed);
    return error;
}

}  // namespace pystack::process
