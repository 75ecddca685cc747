#include "process/proc_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace pystack::process {

namespace {

std::string task_path(pid_t pid, pid_t tid, const char* name) {
    return "/proc/" + std::to_string(pid) + "/task/" + std::to_string(tid) + "/" + name;
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{}) return std::nullopt;
    return value;
}

/// The `index`-th blank-separated word, from 0.
std::string_view word(std::string_view text, std::size_t index) {
    for (;;) {
        const std::size_t begin = text.find_first_not_of(" \t\n");
        if (begin == std::string_view::npos) return {};
        text.remove_prefix(begin);
        const std::size_t end = std::min(text.find_first_of(" \t\n"), text.size());
        if (index-- == 0) return text.substr(0, end);
        text.remove_prefix(end);
    }
}

}  // namespace

Result<std::string> read_proc_file(const std::string& path, std::size_t max_size) {
    std::string text;
    PYSTACK_CHECK(read_proc_file_in_pieces(path, [&](std::string_view piece) {
        text += piece.substr(0, max_size - text.size());
        return text.size() < max_size;
    }));
    return text;
}

Result<std::string> read_task_file(pid_t pid, pid_t tid, const char* name, std::size_t max_size) {
    return read_proc_file(task_path(pid, tid, name), max_size);
}

std::optional<std::string> read_link(const std::string& path) {
    std::array<char, PATH_MAX> text;
    const ssize_t size = ::readlink(path.c_str(), text.data(), text.size());
    if (size < 0) return std::nullopt;
    return std::string(text.data(), static_cast<std::size_t>(size));
}

Result<void> read_proc_file_in_pieces(const std::string& path,
                                      const std::function<bool(std::string_view)>& take) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fail(system_error("open", path));
    std::array<char, 16384> block;
    while (true) {
        const ssize_t count = ::read(fd, block.data(), block.size());
        if (count < 0) {
            Error error = system_error("read", path);
            ::close(fd);
            return fail(std::move(error));
        }
        if (count == 0) break;
        if (!take({block.data(), static_cast<std::size_t>(count)})) break;
    }
    ::close(fd);
    return {};
}

std::vector<pid_t> list_tasks(pid_t pid) {
    std::vector<pid_t> tids;
    DIR* directory = ::opendir(("/proc/" + std::to_string(pid) + "/task").c_str());
    if (directory == nullptr) return tids;
    while (const dirent* entry = ::readdir(directory)) {
        if (const auto tid = parse_number<pid_t>(entry->d_name)) tids.push_back(*tid);
    }
    ::closedir(directory);
    return tids;
}

std::optional<std::chrono::seconds> start_time(std::uint64_t start_ticks) {
    struct timespec now;
    struct timespec since_boot;
    const long ticks_per_second = ::sysconf(_SC_CLK_TCK);
    if (ticks_per_second <= 0 || ::clock_gettime(CLOCK_REALTIME, &now) != 0 ||
        ::clock_gettime(CLOCK_BOOTTIME, &since_boot) != 0) {
        return std::nullopt;
    }
    // The boot was between two whole seconds of the clock.
    const std::int64_t boot = now.tv_sec - since_boot.tv_sec - 1;
    return std::chrono::seconds(
        boot +
        static_cast<std::int64_t>(start_ticks / static_cast<std::uint64_t>(ticks_per_second)));
}

std::optional<ProcStat> read_stat(pid_t pid, pid_t tid) {
    const auto text = read_task_file(pid, tid, "stat", 4096);
    return text ? parse_stat(*text) : std::nullopt;
}

std::optional<ProcStat> parse_stat(std::string_view text) {
    // The name is in parentheses and may hold any byte but NUL, parentheses too: the last one
    // counts.
    const std::size_t open = text.find('(');
    const std::size_t close = text.rfind(')');
    if (open == std::string_view::npos || close == std::string_view::npos || close < open)
        return std::nullopt;
    const std::string_view rest = text.substr(close + 1);
    ProcStat stat;
    stat.name = text.substr(open + 1, close - open - 1);
    // proc(5): after the name come state (field 3), ..., flags (9), ..., starttime (22), ...,
    // startstack (28), ..., processor (39), rt_priority, policy (41).
    const std::string_view state = word(rest, 0);
    if (state.empty()) return std::nullopt;
    stat.state = state.front();
    stat.flags = parse_number<std::uint32_t>(word(rest, 6)).value_or(0);
    stat.start_ticks = parse_number<std::uint64_t>(word(rest, 19)).value_or(0);
    stat.stack_begin = parse_number<std::uint64_t>(word(rest, 25)).value_or(0);
    stat.cpu = parse_number<int>(word(rest, 36)).value_or(-1);
    stat.policy = parse_number<int>(word(rest, 38)).value_or(-1);
    return stat;
}

std::optional<pid_t> living_thread(pid_t pid) {
    const auto lives = [pid](pid_t tid) {
        const auto stat = read_stat(pid, tid);
        return stat && !stat->has_ended();
    };
    if (lives(pid)) return pid;
    for (const pid_t tid : list_tasks(pid)) {
        if (lives(tid)) return tid;
    }
    return std::nullopt;
}

std::optional<RunTimes> read_run_times(pid_t pid, pid_t tid) {
    // Documentation/scheduler/sched-stats.rst: run time, time on the run queue, time slices.
    const auto text = read_task_file(pid, tid, "schedstat", 128);
    if (!text) return std::nullopt;
    const auto run_ns = parse_number<std::uint64_t>(word(*text, 0));
    const auto wait_ns = parse_number<std::uint64_t>(word(*text, 1));
    if (!run_ns || !wait_ns) return std::nullopt;
    return RunTimes{.run_ns = *run_ns, .wait_ns = *wait_ns};
}

std::optional<std::uint64_t> read_run_time_ns(pid_t pid, pid_t tid) {
    const auto times = read_run_times(pid, tid);
    return times ? std::optional(times->run_ns) : std::nullopt;
}

std::optional<std::uint64_t> parse_run_time_ns(std::string_view text) {
    return parse_number<std::uint64_t>(word(text, 0));
}

std::optional<arch::Syscall> parse_syscall(std::string_view text) {
    // proc(5): "running", or the call's number in decimal and its arguments in hexadecimal; -1 when
    // blocked outside a system call.
    arch::Syscall call;
    const char* const end = text.data() + text.size();
    const auto number = std::from_chars(text.data(), end, call.number);
    if (number.ec != std::errc{} || call.number < 0) return std::nullopt;
    constexpr std::string_view kPrefix = " 0x";
    const char* at = number.ptr;
    for (std::uint64_t* argument :
         {&call.argument0, &call.argument1, &call.argument2, &call.argument3, &call.argument4}) {
        const std::string_view rest(at, static_cast<std::size_t>(end - at));
        if (!rest.starts_with(kPrefix)) return std::nullopt;
        at = std::from_chars(at + kPrefix.size(), end, *argument, 16).ptr;
    }
    return call;
}

std::optional<BlockedAt> parse_blocked_at(std::string_view text) {
    // proc(5): behind the number and the six arguments come stack pointer and program counter.
    constexpr std::size_t kStackPointer = 7;
    constexpr std::string_view kPrefix = "0x";
    if (!parse_syscall(text)) return std::nullopt;
    std::array<std::uint64_t, 2> values{};
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::string_view printed = word(text, kStackPointer + i);
        if (!printed.starts_with(kPrefix)) return std::nullopt;
        const char* const begin = printed.data() + kPrefix.size();
        const char* const end = printed.data() + printed.size();
        if (std::from_chars(begin, end, values[i], 16).ec != std::errc{}) return std::nullopt;
    }
    return BlockedAt{.sp = {values[0]}, .pc = {values[1]}};
}

std::optional<std::string_view> status_field(std::string_view status, std::string_view key) {
    while (!status.empty()) {
        const std::size_t end = std::min(status.find('\n'), status.size());
        std::string_view line = status.substr(0, end);
        status.remove_prefix(std::min(end + 1, status.size()));
        if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':')
            continue;
        line.remove_prefix(key.size() + 1);
        const std::size_t begin = std::min(line.find_first_not_of(" \t"), line.size());
        return line.substr(begin);
    }
    return std::nullopt;
}

std::optional<pid_t> namespace_id(std::string_view status) {
    const auto field = status_field(status, "NSpid");
    if (!field) return std::nullopt;
    std::size_t count = 0;
    std::optional<pid_t> innermost;
    for (std::string_view item = word(*field, 0); !item.empty(); item = word(*field, ++count)) {
        innermost = parse_number<pid_t>(item);
    }
    return count > 1 ? innermost : std::nullopt;
}

bool shares_namespace(pid_t pid, const char* kind) {
    const std::string name = std::string("/ns/") + kind;
    struct stat ours;
    struct stat its;
    return ::stat(("/proc/self" + name).c_str(), &ours) == 0 &&
           ::stat(("/proc/" + std::to_string(pid) + name).c_str(), &its) == 0 &&
           ours.st_ino == its.st_ino && ours.st_dev == its.st_dev;
}

}  // namespace pystack::process
