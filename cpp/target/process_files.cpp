#include "target/process_files.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <string_view>
#include <utility>
#include <vector>

#include "files/file_rights.h"
#include "files/regular_file.h"
#include "process/proc_files.h"

namespace pystack::target {

namespace {

constexpr std::size_t kFileSystemId = 3;  // After the real, effective and saved ones: proc(5).

std::string proc_path(pid_t pid, const char* name) {
    return "/proc/" + std::to_string(pid) + "/" + name;
}

std::vector<std::uint32_t> numbers(std::string_view text) {
    std::vector<std::uint32_t> found;
    for (;;) {
        const std::size_t begin = text.find_first_not_of(" \t");
        if (begin == std::string_view::npos) return found;
        text.remove_prefix(begin);
        std::uint32_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc{}) return found;
        found.push_back(value);
        text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    }
}

/// Its capabilities count for the files of this machine only in our own user namespace.
bool overrides_modes(pid_t pid, std::string_view effective) {
    std::uint64_t capabilities = 0;
    std::from_chars(effective.data(), effective.data() + effective.size(), capabilities, 16);
    constexpr std::uint64_t kBoth = 1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH;
    return (capabilities & kBoth) == kBoth && process::shares_namespace(pid, "user");
}

Error unreadable(pid_t pid, const Error& why) {
    const bool gone = why.number == ENOENT || why.number == ESRCH;
    return Error{
        .code = gone ? ErrorCode::kNoSuchProcess : ErrorCode::kPermissionDenied,
        .what = "files of the process",
        .detail = "cannot open the files of process " + std::to_string(pid) + ": " + why.detail};
}

}  // namespace

Result<ProcessFiles::State> ProcessFiles::state_of(pid_t pid) {
    const auto status = process::read_proc_file(proc_path(pid, "status"));
    if (!status) return fail(unreadable(pid, status.error()));
    const auto stat = process::read_stat(pid, pid);
    const auto field = [&](std::string_view key) {
        return process::status_field(*status, key).value_or("");
    };
    const auto uids = numbers(field("Uid"));
    const auto gids = numbers(field("Gid"));
    if (!stat || uids.size() <= kFileSystemId || gids.size() <= kFileSystemId)
        return fail(unreadable(pid, files::refusal(ESRCH)));
    return State{.user = {.uid = uids[kFileSystemId],
                          .gid = gids[kFileSystemId],
                          .groups = numbers(field("Groups")),
                          .overrides_modes = overrides_modes(pid, field("CapEff"))},
                 .start_ticks = stat->start_ticks,
                 .stack_begin = stat->stack_begin};
}

Result<std::shared_ptr<const ProcessFiles>> ProcessFiles::of(pid_t pid) {
    PYSTACK_TRY(state, state_of(pid));
    auto root = files::FileRoot::at(proc_path(pid, "root"), files::FileRights::of_user(state.user));
    if (!root) return fail(unreadable(pid, root.error()));
    root->set_working_folder(files::FileDescriptor(
        ::open(proc_path(pid, "cwd").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)));
    return std::shared_ptr<const ProcessFiles>(
        new ProcessFiles(pid, std::move(state), *std::move(root)));
}

Result<std::shared_ptr<const ProcessFiles>> ProcessFiles::below_our_root() const {
    PYSTACK_TRY(root, files::FileRoot::at("/", root_.rights()));
    return std::shared_ptr<const ProcessFiles>(new ProcessFiles(pid_, state_, std::move(root)));
}

Result<files::FileDescriptor> ProcessFiles::open(const std::string& path) const {
    PYSTACK_TRY(file, root_.open(path));
    const auto now = state_of(pid_);
    if (now && *now == state_) return std::move(file);
    return root_.open_as_everyone(path);
}

Result<files::FileDescriptor> ProcessFiles::open_own(const std::string& path) const {
    PYSTACK_TRY(file, open(path));
    struct stat status;
    if (::fstat(file.get(), &status) != 0) return fail(files::refusal(errno));
    if (status.st_uid != state_.user.uid)
        return fail(files::refusal(EPERM, "owned by another user"));
    const auto started = process::start_time(state_.start_ticks);
    if (!started || std::chrono::seconds(status.st_mtim.tv_sec) < *started)
        return fail(files::refusal(ESTALE, "older than the process"));
    return std::move(file);
}

}  // namespace pystack::target
