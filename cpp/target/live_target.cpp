#include "target/live_target.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <thread>

#include "elf/maps_parser.h"
#include "files/regular_file.h"
#include "process/proc_files.h"

namespace pystack::target {

namespace {

/// PF_KTHREAD of the kernel's sched.h, in the flags field of /proc/PID/stat.
constexpr std::uint32_t kKernelThreadFlag = 0x00200000;

/// As much of maps as has a few mappings.
constexpr std::size_t kFirstMaps = 4096;
/// The kernel allows 65,530 mappings by default, and prints some 100 bytes of each; a path that is
/// longer than one can be opened is printed whole, and nobody has many of those.
constexpr std::uint64_t kMostMapsText = std::uint64_t{128} << 20;
/// This part of the memory limit may go to one list of mappings.
constexpr std::uint64_t kMappingsShare = 8;

/// How long stop_patiently() goes on.
constexpr auto kTracerPatience = std::chrono::milliseconds(500);
constexpr auto kRefusalPatience = std::chrono::milliseconds(50);
constexpr int kLeastStopAttempts = 3;
constexpr auto kFirstStopPause = std::chrono::microseconds(500);
constexpr auto kLongestStopPause = std::chrono::microseconds(8000);

Error unsupported(std::string detail) {
    return Error{
        .code = ErrorCode::kUnsupportedTarget, .what = "target", .detail = std::move(detail)};
}

Error permission(std::string detail) {
    return Error{
        .code = ErrorCode::kPermissionDenied, .what = "permission", .detail = std::move(detail)};
}

Error no_such_process(pid_t pid) {
    return Error{.code = ErrorCode::kNoSuchProcess,
                 .what = "no such process",
                 .detail = "there is no process with pid " + std::to_string(pid)};
}

bool denied(const Error& error) {
    return error.code == ErrorCode::kSystem && (error.number == EACCES || error.number == EPERM);
}

pid_t to_pid(std::string_view text) {
    pid_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

bool is_same_file(const files::FileDescriptor& file, const elf::Module& module) {
    struct stat status;
    // The device is not compared: overlay file systems show another one in maps than stat does.
    return ::fstat(file.get(), &status) == 0 && status.st_ino == module.mappings.front().inode;
}

/// The ELF class byte of the program file: 1 for 32-bit.
bool is_32_bit(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    std::array<unsigned char, 5> head{};
    const ssize_t size = ::pread(fd, head.data(), head.size(), 0);
    ::close(fd);
    return size == 5 && head[0] == 0x7f && head[1] == 'E' && head[2] == 'L' && head[3] == 'F' &&
           head[4] == 1;
}

}  // namespace

Result<std::unique_ptr<LiveTarget>> LiveTarget::open(pid_t pid,
                                                     std::shared_ptr<WorkLimits> limits) {
    if (pid <= 0) return fail(no_such_process(pid));
    const std::string folder = "/proc/" + std::to_string(pid) + "/";
    const auto status = process::read_proc_file(folder + "status");
    if (!status) return fail(no_such_process(pid));
    if (const auto group = process::status_field(*status, "Tgid")) {
        if (const pid_t process = to_pid(*group); process != pid && process > 0)
            return open(process, std::move(limits));
    }
    const auto stat = process::read_stat(pid, pid);
    if (!stat) return fail(no_such_process(pid));
    if (stat->flags & kKernelThreadFlag) {
        return fail(Error{.code = ErrorCode::kNotPython,
                          .what = "target",
                          .detail = "process " + std::to_string(pid) + " (" + stat->name +
                                    ") is a kernel thread, which does not run a program"});
    }
    const auto living = process::living_thread(pid);
    if (!living) {
        const pid_t parent = to_pid(process::status_field(*status, "PPid").value_or("0"));
        return fail(unsupported("process " + std::to_string(pid) + " (" + stat->name +
                                ") is a zombie: it has exited, and its parent (pid " +
                                std::to_string(parent) + ") has not reaped it"));
    }
    if (is_32_bit("/proc/" + std::to_string(*living) + "/exe")) {
        return fail(unsupported("process " + std::to_string(pid) + " (" + stat->name +
                                ") is a 32-bit process; only 64-bit processes can be read"));
    }
    std::unique_ptr<LiveTarget> target(
        new LiveTarget(pid, *living, process::namespace_id(*status), stat->start_ticks, limits));
    PYSTACK_CHECK(target->check_memory());
    if (auto files = ProcessFiles::of(*living)) target->files_ = *std::move(files);
    return target;
}

/// Whether maps and memory may be read: a list of mappings is shown to more than the memory is.
Result<void> LiveTarget::check_memory() const {
    const auto maps = process::read_proc_file(proc_path("maps"), kFirstMaps);
    if (!maps) {
        if (denied(maps.error())) {
            return fail(permission("no permission to read process " + std::to_string(pid_)));
        }
        return fail(no_such_process(pid_));
    }
    const std::string_view whole_lines(maps->data(), maps->rfind('\n') + 1);
    const auto mappings = elf::parse_maps(whole_lines);
    const auto readable = std::find_if(mappings.begin(), mappings.end(),
                                       [](const elf::Mapping& one) { return one.readable; });
    if (readable == mappings.end()) return {};
    auto access = memory_.check_access(readable->range.begin);
    if (access || access.error().code == ErrorCode::kReadFault) return {};
    return access;
}

std::string LiveTarget::proc_path(const char* name) const {
    return "/proc/" + std::to_string(living_) + "/" + name;
}

bool LiveTarget::alive() const {
    const auto stat = process::read_stat(pid_, pid_);
    if (!stat || stat->start_ticks != start_ticks_) return false;
    return process::living_thread(pid_).has_value();
}

Result<std::vector<elf::Mapping>> LiveTarget::mappings() const {
    elf::MapsParser parser(limits().max_bytes() / kMappingsShare);
    std::uint64_t size = 0;
    bool is_whole = true;
    const auto done =
        process::read_proc_file_in_pieces(proc_path("maps"), [&](std::string_view piece) {
            size += piece.size();
            is_whole = size <= kMostMapsText && parser.add(piece);
            return is_whole && !limits().cancelled();
        });
    if (limits().cancelled()) return fail(cancelled());
    if (!done) {
        if (denied(done.error())) {
            return fail(permission("no permission to read process " + std::to_string(pid_)));
        }
        return fail(no_such_process(pid_));
    }
    if (size == 0) {
        return fail(Error{.code = ErrorCode::kTargetExited,
                          .what = "target exited",
                          .detail = "process " + std::to_string(pid_) + " exited"});
    }
    if (!is_whole) mappings_cut_ = true;
    return parser.finish();
}

Result<std::vector<elf::Module>> LiveTarget::modules() const {
    PYSTACK_TRY(maps, mappings());
    return elf::group_modules(maps);
}

Result<Target::MemoryMap> LiveTarget::memory_map() const {
    PYSTACK_TRY(maps, mappings());
    auto modules = elf::group_modules(maps);
    return MemoryMap{.mappings = std::move(maps), .modules = std::move(modules)};
}

std::vector<std::string> LiveTarget::left_out_parts() const {
    std::vector<std::string> parts;
    if (mappings_cut_) {
        parts.emplace_back(
            "the process has too many mappings, or too long names of mapped files: the mappings "
            "with the highest addresses were left out, and with them libraries and native frames");
    }
    if (images_refused_) {
        parts.emplace_back(
            "the process has too many mapped files: some were left out because of the memory "
            "limit, and with them names and native frames");
    }
    return parts;
}

std::optional<files::FileDescriptor> LiveTarget::open_file_of(const elf::Module& module) const {
    // In this order: the program's own link works for deleted files without privileges; map_files
    // for any deleted file, with privileges; the path below the target's root, or below ours (which
    // is what the kernel names for a target that only changed its root), if it is still the same
    // file.
    if (const auto exe = executable(); exe && *exe == module.path) {
        auto file = files::open_mapped(proc_path("exe"));
        if (file && is_same_file(*file, module)) return *std::move(file);
    }
    std::array<char, 64> range;
    std::snprintf(range.data(), range.size(), "map_files/%llx-%llx",
                  static_cast<unsigned long long>(module.mappings.front().range.begin.value),
                  static_cast<unsigned long long>(module.mappings.front().range.end.value));
    auto mapped = files::open_mapped(proc_path(range.data()));
    if (mapped && is_same_file(*mapped, module)) return *std::move(mapped);
    if (module.deleted || module.path.is_cut() || !files_) return std::nullopt;
    auto file = files_->open(module.path);
    if (file && is_same_file(*file, module)) return *std::move(file);
    if (!process::shares_namespace(living_, "mnt")) return std::nullopt;
    if (const auto here = files_->below_our_root()) {
        file = (*here)->open(module.path);
        if (file && is_same_file(*file, module)) return *std::move(file);
    }
    return std::nullopt;
}

Result<std::shared_ptr<const elf::ElfImage>> LiveTarget::open_image(
    const elf::Module& module) const {
    const std::pair key{module.mappings.front().device, module.mappings.front().inode};
    if (const auto known = images_.find(key); known != images_.end()) return known->second;

    if (limits().cancelled()) return fail(cancelled());
    const auto file = open_file_of(module);
    if (file) {
        PYSTACK_TRY(image, elf::ElfImage::read(*file, module.path));
        if (!image_share_.charge(elf::ElfImage::kBytes)) {
            images_refused_ = true;
            return fail(left_out());
        }
        images_.emplace(key, image);
        return image;
    }
    return fail(
        Error{.code = ErrorCode::kMissingBinary,
              .what = "binary",
              .detail = "cannot open " + module.path.str() + (module.deleted ? " (deleted)" : "")});
}

Result<void> LiveTarget::open_module(elf::Module& module) const {
    if (module.image) return {};
    PYSTACK_TRY(image, open_image(module));
    const auto bias = elf::compute_bias(*image, module.mappings);
    if (!bias) return fail(corrupt("load segments of the module", module.range().begin));
    module.image = image;
    module.bias = *bias;
    return {};
}

Result<std::vector<ThreadInfo>> LiveTarget::threads() const {
    std::vector<ThreadInfo> infos;
    for (const pid_t tid : process::list_tasks(pid_)) {
        ThreadInfo info{.tid = tid, .namespace_tid = {}, .name = {}, .run_state = {}};
        if (const auto stat = process::read_stat(pid_, tid)) {
            info.name = stat->name;
            info.run_state = stat->state;
        }
        if (namespace_pid_) {
            const auto status =
                process::read_proc_file(proc_path("task/") + std::to_string(tid) + "/status");
            if (status) info.namespace_tid = process::namespace_id(*status);
        }
        infos.push_back(std::move(info));
    }
    if (infos.empty()) return fail(no_such_process(pid_));
    return infos;
}

std::size_t LiveTarget::thread_count() const {
    // The folder's links: itself, its parent's entry, and one from each task.
    struct stat status;
    if (::stat(proc_path("task").c_str(), &status) != 0 || status.st_nlink < 2) return 0;
    return status.st_nlink - 2;
}

Result<arch::Registers> LiveTarget::registers(std::int32_t tid) const {
    if (guard_ == nullptr) {
        return fail(
            Error{.code = ErrorCode::kInvalidArgument, .what = "the target is not stopped"});
    }
    return guard_->registers(tid);
}

std::optional<arch::Syscall> LiveTarget::blocked_syscall(std::int32_t tid) const {
    const auto text =
        process::read_proc_file(proc_path("task/") + std::to_string(tid) + "/syscall", 512);
    return text ? process::parse_syscall(*text) : std::nullopt;
}

Result<files::FileDescriptor> LiveTarget::open_perf_map() const {
    if (!files_) return fail(files::refusal(ENOENT));
    return files_->open_own("/tmp/perf-" + std::to_string(namespace_pid_.value_or(pid_)) + ".map");
}

std::optional<std::uint64_t> LiveTarget::run_time_ns(std::int32_t tid) const {
    return process::read_run_time_ns(pid_, tid);
}

std::optional<std::string> LiveTarget::executable() const {
    auto path = process::read_link(proc_path("exe"));
    constexpr std::string_view kDeleted = " (deleted)";
    if (path && path->ends_with(kDeleted)) path->resize(path->size() - kDeleted.size());
    return path;
}

std::optional<std::vector<std::string>> LiveTarget::command() const {
    const auto text = process::read_proc_file(proc_path("cmdline"));
    if (!text) return std::nullopt;
    std::vector<std::string> arguments;
    std::size_t begin = 0;
    while (begin < text->size()) {
        const std::size_t end = std::min(text->find('\0', begin), text->size());
        arguments.push_back(text->substr(begin, end - begin));
        begin = end + 1;
    }
    // A title that the process wrote over its arguments (setproctitle) is followed by zeros.
    const auto is_empty = [](const std::string& argument) { return argument.empty(); };
    const auto padding = std::find_if_not(arguments.rbegin(), arguments.rend(), is_empty);
    if (padding - arguments.rbegin() > 1) arguments.erase(padding.base(), arguments.end());
    return arguments;
}

Result<process::StopGuard> LiveTarget::stop(const process::StopGuard::Limits& limits) {
    if (!stop_clock_) {
        stop_clock_ = std::make_unique<process::StopClock>(stop_rules_.clock);
        memory_.set_gate(stop_clock_.get());
    }
    return process::StopGuard::stop(pid_, limits, stop_clock_.get());
}

Result<process::StopGuard> LiveTarget::stop_thread(pid_t tid, std::chrono::milliseconds patience) {
    process::StopGuard::Limits limits = stop_rules_.limits;
    limits.only = tid;
    limits.first_patience = patience;
    return stop(limits);
}

Result<void> LiveTarget::check_stops() {
    process::StopGuard::Limits limits = stop_rules_.limits;
    limits.only = living_;
    auto guard = stop_patiently(limits);
    // What takes too long is allowed.
    if (!guard && !stop_was_too_long()) return fail(std::move(guard).error());
    return {};
}

Result<process::StopGuard> LiveTarget::stop_patiently(const process::StopGuard::Limits& limits) {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    auto pause = kFirstStopPause;
    for (int attempts = 1;; ++attempts) {
        auto guard = stop(limits);
        if (guard || stop_was_too_long()) return guard;
        const auto patience = is_traced_by_others() ? kTracerPatience : kRefusalPatience;
        const ErrorCode code = guard.error().code;
        const bool may_pass = code == ErrorCode::kPermissionDenied || code == ErrorCode::kSystem;
        const bool is_enough = attempts >= kLeastStopAttempts && Clock::now() - begin > patience;
        if (!may_pass || is_enough) return guard;
        std::this_thread::sleep_for(pause);
        pause = std::min(2 * pause, kLongestStopPause);
    }
}

bool LiveTarget::release_late_threads() {
    return stop_clock_ && process::StopGuard::release_late(*stop_clock_);
}

void LiveTarget::forget_late_threads() {
    if (stop_clock_) stop_clock_->drop_late_threads([](pid_t) { return true; });
}

bool LiveTarget::is_traced_by_others() const {
    const auto status = process::read_proc_file(proc_path("status"));
    return status && process::status_field(*status, "TracerPid").value_or("0") != "0";
}

}  // namespace pystack::target
