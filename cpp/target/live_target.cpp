#include "target/live_target.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <climits>

#include "threads/proc_files.h"

namespace pystack::target {

namespace {

/// PF_KTHREAD of the kernel's sched.h, in the flags field of /proc/PID/stat.
constexpr std::uint32_t kKernelThreadFlag = 0x00200000;

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
    return error.code == ErrorCode::kSystem && (error.size == EACCES || error.size == EPERM);
}

pid_t to_pid(std::string_view text) {
    pid_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

std::optional<std::string> read_link(const std::string& path) {
    std::array<char, PATH_MAX> text;
    const ssize_t size = ::readlink(path.c_str(), text.data(), text.size());
    if (size < 0) return std::nullopt;
    return std::string(text.data(), static_cast<std::size_t>(size));
}

bool is_same_file(const std::string& path, const elf::Module& module) {
    struct stat status;
    // The device is not compared: overlay file systems show another one in maps than stat does.
    return ::stat(path.c_str(), &status) == 0 && status.st_ino == module.mappings.front().inode;
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

Result<std::unique_ptr<LiveTarget>> LiveTarget::open(pid_t pid) {
    if (pid <= 0) return fail(no_such_process(pid));
    const std::string folder = "/proc/" + std::to_string(pid) + "/";
    const auto status = threads::read_proc_file(folder + "status");
    if (!status) return fail(no_such_process(pid));
    if (const auto group = threads::status_field(*status, "Tgid")) {
        if (const pid_t process = to_pid(*group); process != pid && process > 0)
            return open(process);
    }
    const auto stat = threads::read_stat(pid, pid);
    if (!stat) return fail(no_such_process(pid));
    if (stat->flags & kKernelThreadFlag) {
        return fail(unsupported("process " + std::to_string(pid) + " (" + stat->name +
                                ") is a kernel thread: it has no program of its own"));
    }
    if (stat->state == 'Z' || stat->state == 'X') {
        const bool threads_live_on = threads::list_tasks(pid).size() > 1;
        if (!threads_live_on) {
            const pid_t parent = to_pid(threads::status_field(*status, "PPid").value_or("0"));
            return fail(unsupported(
                "process " + std::to_string(pid) + " (" + stat->name +
                ") is a zombie: it has ended and its memory is gone, and its parent (pid " +
                std::to_string(parent) + ") has not collected it"));
        }
    }
    if (is_32_bit(folder + "exe")) {
        return fail(unsupported("process " + std::to_string(pid) + " (" + stat->name +
                                ") is a 32-bit program: only 64-bit ones can be read"));
    }
    if (const auto maps = threads::read_proc_file(folder + "maps", 64); !maps) {
        if (denied(maps.error())) {
            return fail(permission("not allowed to read process " + std::to_string(pid)));
        }
        return fail(no_such_process(pid));
    }
    return std::unique_ptr<LiveTarget>(
        new LiveTarget(pid, threads::namespace_id(*status), stat->start_ticks));
}

std::string LiveTarget::proc_path(const char* name) const {
    return "/proc/" + std::to_string(pid_) + "/" + name;
}

bool LiveTarget::alive() const {
    const auto stat = threads::read_stat(pid_, pid_);
    if (!stat || stat->start_ticks != start_ticks_) return false;
    return (stat->state != 'Z' && stat->state != 'X') || threads::list_tasks(pid_).size() > 1;
}

Result<std::vector<elf::Mapping>> LiveTarget::mappings() const {
    // Grows with the number of mappings, about 100 bytes each; the kernel allows 65,530 by default.
    const auto text = threads::read_proc_file(proc_path("maps"), std::size_t{256} << 20);
    if (!text) {
        if (denied(text.error())) {
            return fail(permission("not allowed to read process " + std::to_string(pid_)));
        }
        return fail(no_such_process(pid_));
    }
    if (text->empty()) {
        return fail(Error{.code = ErrorCode::kTargetExited,
                          .what = "target exited",
                          .detail = "process " + std::to_string(pid_) + " went away"});
    }
    return elf::parse_maps(*text);
}

Result<std::vector<elf::Module>> LiveTarget::modules() const {
    PYSTACK_TRY(maps, mappings());
    return elf::group_modules(maps);
}

Result<std::shared_ptr<const elf::ElfImage>> LiveTarget::open_image(
    const elf::Module& module) const {
    const std::pair key{module.mappings.front().device, module.mappings.front().inode};
    if (const auto known = images_.find(key); known != images_.end()) return known->second;

    // In this order: the program's own link works for deleted files without privileges; map_files
    // for any deleted file, with privileges; the path as the target sees it (other mount namespace)
    // or as we see it (a target that only changed its root), if it is still the same file.
    std::vector<std::string> candidates;
    if (const auto exe = executable(); exe && *exe == module.path)
        candidates.push_back(proc_path("exe"));
    std::array<char, 64> range;
    std::snprintf(range.data(), range.size(), "map_files/%llx-%llx",
                  static_cast<unsigned long long>(module.mappings.front().range.begin.value),
                  static_cast<unsigned long long>(module.mappings.front().range.end.value));
    candidates.push_back(proc_path(range.data()));
    if (!module.deleted) {
        candidates.push_back(proc_path("root") + module.path);
        candidates.push_back(module.path);
    }

    for (const std::string& path : candidates) {
        if (!is_same_file(path, module)) continue;
        auto image = elf::ElfImage::open(path);
        if (!image) return fail(std::move(image).error());
        images_.emplace(key, *image);
        return *image;
    }
    return fail(
        Error{.code = ErrorCode::kMissingBinary,
              .what = "binary",
              .detail = "cannot open " + module.path + (module.deleted ? " (deleted)" : "")});
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
    for (const pid_t tid : threads::list_tasks(pid_)) {
        ThreadInfo info{.tid = tid, .namespace_tid = {}, .name = {}, .run_state = {}};
        if (const auto stat = threads::read_stat(pid_, tid)) {
            info.name = stat->name;
            info.run_state = stat->state;
        }
        if (namespace_pid_) {
            const auto status =
                threads::read_proc_file(proc_path("task/") + std::to_string(tid) + "/status");
            if (status) info.namespace_tid = threads::namespace_id(*status);
        }
        infos.push_back(std::move(info));
    }
    if (infos.empty()) return fail(no_such_process(pid_));
    return infos;
}

Result<threads::Registers> LiveTarget::registers(std::int32_t tid) const {
    if (guard_ == nullptr) {
        return fail(
            Error{.code = ErrorCode::kInvalidArgument, .what = "the target is not stopped"});
    }
    return guard_->registers(tid);
}

std::optional<threads::Syscall> LiveTarget::blocked_syscall(std::int32_t tid) const {
    const auto text =
        threads::read_proc_file(proc_path("task/") + std::to_string(tid) + "/syscall", 512);
    return text ? threads::parse_syscall(*text) : std::nullopt;
}

std::optional<std::uint64_t> LiveTarget::run_time_ns(std::int32_t tid) const {
    return threads::read_run_time_ns(pid_, tid);
}

std::optional<std::string> LiveTarget::executable() const {
    auto path = read_link(proc_path("exe"));
    constexpr std::string_view kDeleted = " (deleted)";
    if (path && path->ends_with(kDeleted)) path->resize(path->size() - kDeleted.size());
    return path;
}

std::optional<std::vector<std::string>> LiveTarget::command() const {
    const auto text = threads::read_proc_file(proc_path("cmdline"));
    if (!text) return std::nullopt;
    std::vector<std::string> arguments;
    std::size_t begin = 0;
    while (begin < text->size()) {
        const std::size_t end = std::min(text->find('\0', begin), text->size());
        arguments.push_back(text->substr(begin, end - begin));
        begin = end + 1;
    }
    return arguments;
}

Result<threads::StopGuard> LiveTarget::stop(std::span<const pid_t> except) const {
    return threads::StopGuard::stop(pid_, {.except = except});
}

}  // namespace pystack::target
