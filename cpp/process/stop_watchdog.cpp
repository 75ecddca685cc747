#include "process/stop_watchdog.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>

#include "process/raw_syscall.h"
#include "process/realtime_priority.h"

// The watchdog runs on a stack and on thread-local storage that no sanitizer knows.
#define ON_FOREIGN_STACK __attribute__((no_sanitize("address", "undefined")))

namespace pystack::process {

namespace {

constexpr std::size_t kStackBytes = 64 << 10;
/// The compiler reads the stack protector's canary there, nothing else is used.
constexpr std::size_t kTlsBytes = 4 << 10;

constexpr std::int64_t kMs = 1'000'000;
/// Between two looks at the slots.
constexpr std::int64_t kTickNs = 10 * kMs;
constexpr std::int64_t kFastTickNs = kMs;
/// A stop that is younger is not worth a look at our thread.
constexpr std::int64_t kYoungNs = 4 * kMs;
/// A tracer that did not run for so long, held by a debugger, is killed. One that is stepped or
/// traced by strace runs in between.
constexpr std::int64_t kHeldNs = 30 * kMs;
/// So often in a row SIGCONT may fail to help, in fast ticks. Not a time: we may be late ourselves,
/// and the user may have stopped and continued the tool again meanwhile.
constexpr int kHelplessLooks = 60;
/// A tool that was continued and still has not let go, but runs, is not stopped again.
constexpr std::int64_t kReleaseNs = 2'000 * kMs;
constexpr std::int64_t kStoppedAgainNs = 20 * kMs;

}  // namespace

std::mutex StopWatchdog::mutex_;
std::weak_ptr<StopWatchdog> StopWatchdog::current_;

/// What runs in the watchdog's process: system calls and atomics only. Our threads may hold any
/// lock of the C library at the moment when they are stopped.
class StopWatchdog::Loop {
  public:
    explicit Loop(Shared& shared) : shared_(shared) {}

    ON_FOREIGN_STACK static int enter(void* shared) {
        Loop loop(*static_cast<Shared*>(shared));
        loop.prepare();
        while (loop.sleep(kTickNs)) loop.look();
        return 0;
    }

  private:
    struct Look {
        char state = '?';
        std::uint64_t run_hash = 0;  ///< Of the thread's run time: it has run if this changes.
    };

    ON_FOREIGN_STACK void prepare() {
        raw_syscall(SYS_prctl, PR_SET_NAME, raw_pointer("pystack-watch"));
        raw_syscall(SYS_setsid);
        const int keep = shared_.wake_fd;
        if (keep > 0) close_between(0, static_cast<unsigned>(keep) - 1);
        close_between(static_cast<unsigned>(keep) + 1, ~0U);
    }

    ON_FOREIGN_STACK static void close_between(unsigned first, unsigned last) {
        if (raw_syscall(SYS_close_range, first, last, 0) != -ENOSYS) return;
        constexpr unsigned kMost = 4096;  // An old kernel; those that stay open end with us.
        for (unsigned fd = first; fd <= last && fd < kMost; ++fd) raw_syscall(SYS_close, fd);
    }

    ON_FOREIGN_STACK static std::int64_t now_ns() {
        timespec time{};
        raw_syscall(SYS_clock_gettime, CLOCK_MONOTONIC, raw_pointer(&time));
        return time.tv_sec * 1'000'000'000 + time.tv_nsec;
    }

    /// False: it is time to end.
    ON_FOREIGN_STACK bool sleep(std::int64_t ns) {
        pollfd end{.fd = shared_.wake_fd, .events = POLLIN, .revents = 0};
        const timespec timeout{.tv_sec = 0, .tv_nsec = static_cast<long>(ns)};
        const long ready =
            raw_syscall(SYS_ppoll, raw_pointer(&end), 1, raw_pointer(&timeout), 0, 0);
        return ready <= 0 && raw_syscall(SYS_getppid) == shared_.tool;
    }

    ON_FOREIGN_STACK void look() {
        const std::int64_t now = now_ns();
        for (std::size_t i = 0; i < kSlots; ++i) {
            StopSlot& slot = shared_.slots[i];
            const std::int64_t since = slot.since_ns;
            if (since == 0 || now - since < kYoungNs) continue;
            interrupt_seizing(slot);
            const Look seen = look_at(slot.tracer);
            if (seen.state == 'T') {
                slot.overdue_ns = since;
                return continue_and_stop_again();
            }
            if (seen.state != 't') {
                held_since_[i] = 0;
            } else if (held_since_[i] == 0 || held_stop_[i] != since ||
                       held_run_hash_[i] != seen.run_hash) {
                held_since_[i] = now;
                held_stop_[i] = since;
                held_run_hash_[i] = seen.run_hash;
            } else if (now - held_since_[i] > kHeldNs && slot.since_ns == since) {
                signal(SIGKILL);
            }
        }
    }

    ON_FOREIGN_STACK void continue_and_stop_again() {
        shared_.closed = true;
        for (StopSlot& slot : shared_.slots) slot.overdue_ns = slot.since_ns.load();
        signal(SIGCONT);
        const std::int64_t begin = now_ns();
        int helpless = 0;
        for (bool stands = true; stands;) {
            if (!sleep(kFastTickNs)) return;
            stands = false;
            bool is_stopped = false;
            for (StopSlot& slot : shared_.slots) {
                const std::int64_t since = slot.since_ns;
                if (since == 0) continue;
                stands = true;
                interrupt_seizing(slot);
                slot.overdue_ns = since;
                const char state = look_at(slot.tracer).state;
                is_stopped |= state == 'T' || state == 't';
            }
            helpless = is_stopped ? helpless + 1 : 0;
            if (is_stopped) signal(helpless > kHelplessLooks ? SIGKILL : SIGCONT);
            if (now_ns() - begin > kReleaseNs) {
                shared_.closed = false;
                return;
            }
        }
        signal(SIGSTOP);
        const std::int64_t stopped = now_ns();
        while (!all_are_stopped() && now_ns() - stopped < kStoppedAgainNs) {
            if (!sleep(kFastTickNs)) return;
        }
        shared_.closed = false;
    }

    ON_FOREIGN_STACK void interrupt_seizing(const StopSlot& slot) const {
        if (slot.seizing) raw_syscall(SYS_tgkill, shared_.tool, slot.tracer.load(), SIGURG);
    }

    ON_FOREIGN_STACK bool all_are_stopped() const {
        for (const StopSlot& slot : shared_.slots) {
            const pid_t tracer = slot.tracer;
            if (tracer != 0 && look_at(tracer).state != 'T') return false;
        }
        return true;
    }

    ON_FOREIGN_STACK void signal(int number) const { raw_syscall(SYS_kill, shared_.tool, number); }

    ON_FOREIGN_STACK Look look_at(pid_t tid) const {
        Look look;
        char text[512];
        long size = read_task_file(tid, "/stat", text, sizeof text);
        // "TID (any name, also with brackets) STATE ..."
        for (long i = size - 1; i >= 0; --i) {
            if (text[i] != ')') continue;
            if (i + 2 < size) look.state = text[i + 2];
            break;
        }
        size = read_task_file(tid, "/schedstat", text, sizeof text);
        for (long i = 0; i < size && text[i] != ' '; ++i) {
            look.run_hash = look.run_hash * 31 + static_cast<unsigned char>(text[i]);
        }
        return look;
    }

    ON_FOREIGN_STACK long read_task_file(pid_t tid, const char* name, char* text,
                                         std::size_t size) const {
        char path[64];
        char* end = append(path, "/proc/");
        end = append(append_number(end, shared_.tool), "/task/");
        end = append(append_number(end, tid), name);
        *end = '\0';
        const long fd = raw_syscall(SYS_openat, AT_FDCWD, raw_pointer(path), O_RDONLY | O_CLOEXEC);
        if (fd < 0) return 0;
        const long count = raw_syscall(SYS_read, fd, raw_pointer(text), static_cast<long>(size));
        raw_syscall(SYS_close, fd);
        return count > 0 ? count : 0;
    }

    ON_FOREIGN_STACK static char* append(char* to, const char* text) {
        while (*text != '\0') *to++ = *text++;
        return to;
    }

    ON_FOREIGN_STACK static char* append_number(char* to, pid_t number) {
        char digits[16];
        int count = 0;
        do digits[count++] = static_cast<char>('0' + number % 10);
        while ((number /= 10) > 0);
        while (count > 0) *to++ = digits[--count];
        return to;
    }

    Shared& shared_;
    // Of each slot: since when its tracer was seen held by a debugger, in which stop, and how long
    // it had run.
    std::int64_t held_since_[kSlots] = {};
    std::int64_t held_stop_[kSlots] = {};
    std::uint64_t held_run_hash_[kSlots] = {};
};

std::shared_ptr<StopWatchdog> StopWatchdog::share(bool raise_priority) {
    if (::getenv("PYSTACK_NO_WATCHDOG") != nullptr) return nullptr;
    const std::lock_guard lock(mutex_);
    // After a fork, what the parent had is not ours.
    if (auto known = current_.lock(); known && known->shared_.tool == ::getpid()) return known;
    std::shared_ptr<StopWatchdog> made(new StopWatchdog());
    if (!made->start(raise_priority)) return nullptr;
    current_ = made;
    return made;
}

bool StopWatchdog::start(bool raise_priority) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    shared_.tool = ::getpid();
    shared_.wake_fd = ends[0];
    wake_fd_ = ends[1];
    void* const memory = ::mmap(nullptr, kStackBytes + kTlsBytes, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory != MAP_FAILED) {
        memory_ = memory;
        char* const stack_end = static_cast<char*>(memory) + kStackBytes;
        // Signals are for us: the watchdog has our handlers, and would run them on our memory.
        sigset_t all;
        sigset_t before;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        pid_ = ::clone(&Loop::enter, stack_end, CLONE_VM | CLONE_SETTLS, &shared_, nullptr,
                       stack_end + kTlsBytes / 2, nullptr);
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    // It has to look in time, also where our own threads are run first. Refused without privileges.
    if (pid_ > 0 && raise_priority) raise_niceness(pid_);
    ::close(ends[0]);
    return pid_ > 0;
}

StopWatchdog::~StopWatchdog() {
    if (wake_fd_ >= 0) ::close(wake_fd_);
    if (shared_.tool != ::getpid()) return;  // A copy, after a fork.
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        while (::waitpid(pid_, nullptr, __WALL) < 0 && errno == EINTR) continue;
    }
    if (memory_ != nullptr) ::munmap(memory_, kStackBytes + kTlsBytes);
}

StopSlot* StopWatchdog::take_slot() {
    for (StopSlot& slot : shared_.slots) {
        bool expected = false;
        if (slot.used.compare_exchange_strong(expected, true)) return &slot;
    }
    return nullptr;
}

void StopWatchdog::return_slot(StopSlot& slot) {
    slot.since_ns = 0;
    slot.seizing = false;
    slot.tracer = 0;
    slot.used = false;
}

bool StopWatchdog::begin_stop(StopSlot& slot, std::int64_t now_ns) const {
    const std::int64_t before_ns = slot.since_ns.exchange(now_ns);
    // The watchdog closes first and looks at the slots then.
    if (!shared_.closed) return true;
    slot.since_ns = before_ns;
    return false;
}

}  // namespace pystack::process
