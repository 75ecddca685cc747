#include "waits/blocked_call.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <array>
#include <cstring>
#include <span>
#include <utility>

namespace pystack::waits {

namespace {

using arch::Syscall;
using memory::MemoryReader;

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kUsPerSecond = 1'000'000;
constexpr std::int64_t kMostSeconds = INT64_MAX / kNsPerSecond - 1;

/// A struct timespec, or a timeval if `per_second` is a million; nullopt if it is neither.
std::optional<std::int64_t> time_at(const MemoryReader& memory, RemoteAddr address,
                                    std::int64_t per_second = kNsPerSecond) {
    if (!address) return std::nullopt;
    std::array<std::int64_t, 2> parts{};
    if (!memory.read(address, std::as_writable_bytes(std::span(parts)))) return std::nullopt;
    if (parts[0] < 0 || parts[0] > kMostSeconds || parts[1] < 0 || parts[1] >= per_second)
        return std::nullopt;
    return parts[0] * kNsPerSecond + parts[1] * (kNsPerSecond / per_second);
}

/// An argument that is an int, whatever is in the upper half of its register.
std::int32_t as_int(std::uint64_t argument) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(argument));
}

BlockedCall of_descriptor(const char* name, const Syscall& call,
                          CallKind kind = CallKind::kDescriptor) {
    return {.kind = kind, .name = name, .address = {}, .fd = as_int(call.argument0)};
}

BlockedCall futex(const Syscall& call, const MemoryReader& memory) {
    BlockedCall blocked{
        .kind = CallKind::kFutex, .name = "futex", .address = {call.argument0}, .fd = {}};
    const std::uint64_t operation = call.argument1 & FUTEX_CMD_MASK;
    const RemoteAddr timeout{call.argument3};
    blocked.is_timed = static_cast<bool>(timeout);
    // FUTEX_WAIT alone has a duration.
    if (operation == FUTEX_WAIT) {
        blocked.timeout_ns = time_at(memory, timeout);
    } else {
        blocked.deadline_ns = time_at(memory, timeout);
        const bool realtime =
            (call.argument1 & FUTEX_CLOCK_REALTIME) != 0 || operation == FUTEX_LOCK_PI;
        blocked.clock = realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    }
    return blocked;
}

BlockedCall poll(const char* name, std::uint64_t count) {
    return {.kind = CallKind::kPoll, .name = name, .address = {}, .count = count};
}

void set_ms(BlockedCall& blocked, std::uint64_t argument) {
    const std::int32_t ms = as_int(argument);
    blocked.is_timed = ms >= 0;
    if (ms >= 0) blocked.timeout_ns = ms * kNsPerMs;
}

void set_time(BlockedCall& blocked, const MemoryReader& memory, std::uint64_t argument,
              std::int64_t per_second = kNsPerSecond) {
    blocked.is_timed = argument != 0;
    blocked.timeout_ns = time_at(memory, {argument}, per_second);
}

/// How many bits of the three sets of select() are set.
std::uint64_t selected(const Syscall& call, const MemoryReader& memory) {
    constexpr std::uint64_t kMostBits = 1 << 16;
    const std::int32_t most = as_int(call.argument0);
    if (most <= 0 || static_cast<std::uint64_t>(most) > kMostBits) return 0;
    std::uint64_t count = 0;
    for (const std::uint64_t set : {call.argument1, call.argument2, call.argument3}) {
        if (set == 0) continue;
        const auto bytes = memory.read_bytes({set}, (static_cast<std::size_t>(most) + 63) / 64 * 8);
        if (!bytes) continue;
        for (std::int32_t i = 0; i < most; ++i) {
            const auto byte = std::to_integer<unsigned>((*bytes)[static_cast<std::size_t>(i) / 8]);
            count += (byte >> (i % 8)) & 1;
        }
    }
    return count;
}

/// select() without any files is how Python slept below 3.11.
BlockedCall select(const char* name, const Syscall& call, const MemoryReader& memory,
                   std::int64_t per_second) {
    BlockedCall blocked = poll(name, selected(call, memory));
    set_time(blocked, memory, call.argument4, per_second);
    const bool no_files = call.argument1 == 0 && call.argument2 == 0 && call.argument3 == 0;
    // The kernel may have emptied the sets, as when the call is to be continued.
    if (blocked.count == 0) blocked.count.reset();
    if (no_files && blocked.is_timed) {
        blocked.kind = CallKind::kSleep;
        blocked.count.reset();
        // The kernel puts what is left there when the call ends: it is the whole time until then.
    }
    return blocked;
}

BlockedCall sleep(const char* name) {
    return {.kind = CallKind::kSleep, .name = name, .address = {}, .is_timed = true};
}

BlockedCall clock_sleep(const Syscall& call, const MemoryReader& memory) {
    BlockedCall blocked = sleep("clock_nanosleep");
    const auto time = time_at(memory, {call.argument2});
    if ((call.argument1 & TIMER_ABSTIME) != 0) {
        blocked.deadline_ns = time;
        blocked.clock = as_int(call.argument0);
    } else {
        blocked.timeout_ns = time;
    }
    return blocked;
}

BlockedCall child(const char* name, std::int32_t pid) {
    BlockedCall blocked{.kind = CallKind::kChild, .name = name, .address = {}};
    if (pid > 0) blocked.pid = pid;
    return blocked;
}

std::optional<BlockedCall> control(const Syscall& call) {
    const std::int32_t command = as_int(call.argument1);
    if (command != F_SETLKW && command != F_OFD_SETLKW) return std::nullopt;
    return of_descriptor("fcntl", call, CallKind::kFileLock);
}

}  // namespace

std::optional<RemoteAddr> waited_futex(const Syscall& call) {
    if (call.number != arch::kFutexSyscall && call.number != arch::kRestartSyscall)
        return std::nullopt;
    switch (call.argument1 & FUTEX_CMD_MASK) {
        case FUTEX_WAIT:
        case FUTEX_WAIT_BITSET:
        case FUTEX_LOCK_PI:
        case FUTEX_WAIT_REQUEUE_PI:
            return RemoteAddr{call.argument0};
        default:
            return std::nullopt;
    }
}

std::optional<std::int64_t> call_before(const MemoryReader& memory, RemoteAddr pc) {
    // mov $number, %eax; syscall
    constexpr std::uint8_t kMove = 0xB8;
    constexpr std::uint8_t kSyscall[] = {0x0F, 0x05};
    std::array<std::uint8_t, 7> code{};
    if (pc.value < code.size() ||
        !memory.read({pc.value - code.size()}, std::as_writable_bytes(std::span(code)))) {
        return std::nullopt;
    }
    if (code[0] != kMove || code[5] != kSyscall[0] || code[6] != kSyscall[1]) return std::nullopt;
    std::int32_t number;
    std::memcpy(&number, &code[1], sizeof number);
    return number;
}

std::optional<std::int64_t> restarted_call(std::string_view kernel_function) {
    // Of the calls that are restarted so [kernel: ERESTART_RESTARTBLOCK].
    constexpr std::pair<std::string_view, std::int64_t> kFunctions[] = {
        {"poll", SYS_poll}, {"futex", SYS_futex}, {"nanosleep", SYS_nanosleep}};
    for (const auto& [part, number] : kFunctions) {
        if (kernel_function.find(part) != std::string_view::npos) return number;
    }
    return std::nullopt;
}

bool waits_for_end(const Syscall& call) {
    constexpr std::uint64_t kOthers = WUNTRACED | WCONTINUED;  // WSTOPPED is WUNTRACED.
    if (call.number == SYS_wait4) return (call.argument2 & kOthers) == 0;
    return call.number == SYS_waitid && (call.argument3 & kOthers) == 0;
}

bool is_write(std::string_view name) {
    return name.starts_with("write") || name == "sendfile";
}

std::optional<BlockedCall> describe_call(const Syscall& call, const MemoryReader& memory) {
    switch (call.number) {
        case SYS_futex:
            if (!waited_futex(call)) return std::nullopt;
            return futex(call, memory);
        case SYS_nanosleep: {
            BlockedCall blocked = sleep("nanosleep");
            blocked.timeout_ns = time_at(memory, {call.argument0});
            return blocked;
        }
        case SYS_clock_nanosleep:
            return clock_sleep(call, memory);
        case SYS_select:
            return select("select", call, memory, kUsPerSecond);
        case SYS_pselect6:
            return select("pselect6", call, memory, kNsPerSecond);
        case SYS_poll: {
            BlockedCall blocked = poll("poll", call.argument1);
            set_ms(blocked, call.argument2);
            return blocked;
        }
        case SYS_ppoll: {
            BlockedCall blocked = poll("ppoll", call.argument1);
            set_time(blocked, memory, call.argument2);
            return blocked;
        }
        case SYS_epoll_wait:
        case SYS_epoll_pwait: {
            BlockedCall blocked =
                of_descriptor(call.number == SYS_epoll_wait ? "epoll_wait" : "epoll_pwait", call,
                              CallKind::kPoll);
            set_ms(blocked, call.argument3);
            return blocked;
        }
        case SYS_epoll_pwait2: {
            BlockedCall blocked = of_descriptor("epoll_pwait2", call, CallKind::kPoll);
            set_time(blocked, memory, call.argument3);
            return blocked;
        }
        case SYS_read:
            return of_descriptor("read", call);
        case SYS_readv:
            return of_descriptor("readv", call);
        case SYS_pread64:
            return of_descriptor("pread64", call);
        case SYS_write:
            return of_descriptor("write", call);
        case SYS_writev:
            return of_descriptor("writev", call);
        case SYS_pwrite64:
            return of_descriptor("pwrite64", call);
        case SYS_sendfile:
            return of_descriptor("sendfile", call);
        case SYS_recvfrom:
            return of_descriptor("recvfrom", call);
        case SYS_recvmsg:
            return of_descriptor("recvmsg", call);
        case SYS_sendto:
            return of_descriptor("sendto", call);
        case SYS_sendmsg:
            return of_descriptor("sendmsg", call);
        case SYS_accept:
            return of_descriptor("accept", call);
        case SYS_accept4:
            return of_descriptor("accept4", call);
        case SYS_connect:
            return of_descriptor("connect", call);
        case SYS_fsync:
            return of_descriptor("fsync", call);
        case SYS_fdatasync:
            return of_descriptor("fdatasync", call);
        case SYS_flock:
            return of_descriptor("flock", call, CallKind::kFileLock);
        case SYS_fcntl:
            return control(call);
        case SYS_wait4:
            return child("wait4", as_int(call.argument0));
        case SYS_waitid:
            return child("waitid", as_int(call.argument0) == 1 ? as_int(call.argument1) : 0);
        case SYS_pause:
            return BlockedCall{.kind = CallKind::kSignal, .name = "pause", .address = {}};
        case SYS_rt_sigtimedwait:
            return BlockedCall{.kind = CallKind::kSignal,
                               .name = "rt_sigtimedwait",
                               .address = {},
                               .is_timed = call.argument2 != 0,
                               .timeout_ns = time_at(memory, {call.argument2})};
        case SYS_rt_sigsuspend:
            return BlockedCall{.kind = CallKind::kSignal, .name = "rt_sigsuspend", .address = {}};
        default:
            return std::nullopt;
    }
}

}  // namespace pystack::waits
