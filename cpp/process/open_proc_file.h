#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace pystack::process {

/// One file of a thread, /proc/PID/task/TID/NAME, kept open where descriptors allow: reading it
/// again is one small call then.
class OpenProcFile {
  public:
    /// `name` is a literal. Nothing is opened before it is read.
    explicit OpenProcFile(const char* name) : name_(name) {}
    ~OpenProcFile() { close(); }
    OpenProcFile(const OpenProcFile&) = delete;
    OpenProcFile& operator=(const OpenProcFile&) = delete;

    /// Which thread, by its ids in our own pid namespace. `tid` 0: not known.
    void set_thread(pid_t pid, pid_t tid);
    /// As much as `buffer` holds; nullopt when the thread is gone, or we may not look.
    std::optional<std::string_view> read(std::span<char> buffer);

  private:
    void close();

    const char* name_;
    pid_t pid_ = 0;
    pid_t tid_ = 0;
    int fd_ = -1;
};

/// How long the thread has been on a CPU, of its "schedstat" file; nullopt when it is gone.
std::optional<std::uint64_t> read_run_time_ns(OpenProcFile& schedstat);

}  // namespace pystack::process
