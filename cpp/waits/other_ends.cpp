#include "waits/other_ends.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <string>

#include "process/proc_files.h"
#include "waits/blocked_call.h"
#include "waits/unix_peers.h"

namespace pystack::waits {

namespace {

/// A dump must not take long on machines with very many processes.
constexpr std::size_t kMostFiles = 100'000;

using Folder = std::unique_ptr<::DIR, decltype([](::DIR* folder) { ::closedir(folder); })>;

std::optional<pid_t> to_pid(std::string_view name) {
    pid_t pid = 0;
    const auto read = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (read.ec != std::errc{} || read.ptr != name.data() + name.size()) return std::nullopt;
    return pid;
}

/// A thread of the kernel: it has no files.
bool is_of_kernel(pid_t pid) {
    constexpr std::uint32_t kKernelThread = 0x200000;  // PF_KTHREAD [include/linux/sched.h]
    const auto stat = process::read_stat(pid, pid);
    return stat && (stat->flags & kKernelThread) != 0;
}

/// Whether we are in the outermost pid namespace: processes outside of others are not visible.
bool sees_all_processes() {
    constexpr ::ino_t kInitial = 0xEFFFFFFC;  // PROC_PID_INIT_INO [include/linux/proc_ns.h]
    struct ::stat ours{};
    return ::stat("/proc/self/ns/pid", &ours) == 0 && ours.st_ino == kInitial;
}

class Search {
  public:
    explicit Search(std::span<const FileEnd> ends) : ends_(ends) {
        found_.pids.resize(ends.size());
    }

    /// False: there are too many files.
    bool look_at(pid_t pid) {
        const std::size_t before = looked_at_;
        if (!look_in(pid, "/proc/" + std::to_string(pid))) return false;
        // "." and ".." alone: the main thread may have ended.
        if (looked_at_ - before > 2) return true;
        const auto living = process::living_thread(pid);
        return !living || *living == pid || look_in(pid, "/proc/" + std::to_string(*living));
    }

    void miss_some() { found_.complete = false; }

    EndUsers found() { return std::move(found_); }

  private:
    /// `folder`: of the process, or of one of its threads.
    bool look_in(pid_t pid, const std::string& folder) {
        const Folder files(::opendir((folder + "/fd").c_str()));
        if (!files) {
            found_.complete &= errno == ENOENT || errno == ESRCH || is_of_kernel(pid);
            return true;
        }
        while (const ::dirent* file = ::readdir(files.get())) {
            if (++looked_at_ > kMostFiles) return false;
            look_at_file(pid, ::dirfd(files.get()), file->d_name);
        }
        return true;
    }

    void look_at_file(pid_t pid, int folder, const char* name) {
        std::array<char, PATH_MAX> text;
        const ssize_t size = ::readlinkat(folder, name, text.data(), text.size());
        if (size <= 0) return;
        const std::string_view link(text.data(), static_cast<std::size_t>(size));
        for (std::size_t i = 0; i < ends_.size(); ++i) {
            std::vector<pid_t>& users = found_.pids[i];
            if (link != ends_[i].link || !is_end(folder, name, ends_[i])) continue;
            const bool is_known = !users.empty() && users.back() == pid;
            if (!is_known && users.size() < kMostUsers) users.push_back(pid);
            found_.complete &= users.size() < kMostUsers;
        }
    }

    /// The permissions of the link say how the file was opened.
    static bool is_end(int folder, const char* name, const FileEnd& end) {
        if (end.link.starts_with("socket:")) return true;
        struct ::stat link{};
        if (::fstatat(folder, name, &link, AT_SYMLINK_NOFOLLOW) != 0) return false;
        if ((link.st_mode & (end.writes ? S_IWUSR : S_IRUSR)) == 0) return false;
        if (!end.link.starts_with('/')) return true;
        struct ::stat file{};
        return ::fstatat(folder, name, &file, 0) == 0 && file.st_dev == end.device &&
               file.st_ino == end.inode;
    }

    std::span<const FileEnd> ends_;
    EndUsers found_;
    std::size_t looked_at_ = 0;
};

}  // namespace

std::optional<FileEnd> other_end(pid_t pid, const Descriptor& file, std::string_view call) {
    if (file.kind == model::WaitKind::kPipe) {
        return FileEnd{.link = file.link,
                       .device = file.device,
                       .inode = file.inode,
                       .writes = !is_write(call)};
    }
    // The kernel is asked for sockets of our network namespace.
    if (file.kind != model::WaitKind::kSocket || !process::shares_namespace(pid, "net"))
        return std::nullopt;
    const auto peer = unix_peer(file.inode);
    if (!peer) return std::nullopt;
    return FileEnd{.link = "socket:[" + std::to_string(*peer) + "]"};
}

bool is_private(const FileEnd& end) {
    return !end.link.starts_with('/');
}

EndUsers find_users(std::span<const FileEnd> ends) {
    Search search(ends);
    if (!sees_all_processes()) search.miss_some();
    const Folder processes(::opendir("/proc"));
    if (!processes)
        return {.pids = std::vector<std::vector<pid_t>>(ends.size()), .complete = false};
    while (const ::dirent* process = ::readdir(processes.get())) {
        const auto pid = to_pid(process->d_name);
        if (pid && !search.look_at(*pid))
            return {.pids = std::vector<std::vector<pid_t>>(ends.size()), .complete = false};
    }
    return search.found();
}

}  // namespace pystack::waits
