#include "memory/process_memory.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>

namespace pystack::memory {

namespace {

// The kernel takes at most IOV_MAX (1024) pieces a call.
constexpr std::size_t kMaxPieces = 1024;

/// While a target waits for us, one call takes no more than a few hundred microseconds.
constexpr std::size_t kMostGatedBytes = 512 << 10;

std::size_t count_pieces(std::span<const ReadRequest> requests, std::size_t most_bytes) {
    std::size_t bytes = 0;
    std::size_t count = 0;
    while (count < std::min(kMaxPieces, requests.size())) {
        bytes += requests[count].destination.size();
        if (count > 0 && bytes > most_bytes) break;
        ++count;
    }
    return count;
}

}  // namespace

ProcessMemory::ProcessMemory(pid_t pid) : pid_(pid) {
    // For tests and for kernels whose process_vm_readv is broken in ways that ENOSYS does not tell.
    if (::getenv("PYSTACK_NO_PROCESS_VM_READV") != nullptr) use_mem_file_ = true;
}

ProcessMemory::~ProcessMemory() {
    if (mem_fd_ >= 0) ::close(mem_fd_);
}

Result<void> ProcessMemory::check_access(RemoteAddr readable) const {
    std::byte byte;
    errno = 0;
    if (read_up_to(readable, std::span(&byte, 1)) == 1) return {};
    const int error = errno;
    if (error == ESRCH)
        return fail(Error{.code = ErrorCode::kNoSuchProcess, .what = "no such process"});
    if (error == EPERM || error == EACCES) {
        return fail(Error{.code = ErrorCode::kPermissionDenied,
                          .what = "no permission to read the memory of the process"});
    }
    return fail(read_fault(readable, 1));
}

std::size_t ProcessMemory::read_up_to(RemoteAddr address, std::span<std::byte> destination) const {
    if (destination.empty() || !is_open()) return 0;
    if (!use_mem_file_.load(std::memory_order_relaxed)) {
        // A fault part-way ends the call with the bytes before it, at page granularity: the loop
        // asks again for the rest until nothing more comes.
        std::size_t done = 0;
        while (done < destination.size()) {
            const iovec local{destination.data() + done, destination.size() - done};
            const iovec remote{reinterpret_cast<void*>(address.value + done), local.iov_len};
            const ssize_t count = ::process_vm_readv(pid_, &local, 1, &remote, 1, 0);
            if (count <= 0) {
                if (count < 0 && done == 0 && falls_back(errno)) {
                    return read_mem_file(address, destination);
                }
                break;
            }
            done += static_cast<std::size_t>(count);
        }
        return done;
    }
    return read_mem_file(address, destination);
}

void ProcessMemory::read_many(std::span<ReadRequest> requests) const {
    if (use_mem_file_.load(std::memory_order_relaxed)) return MemoryReader::read_many(requests);
    std::array<iovec, kMaxPieces> local;
    std::array<iovec, kMaxPieces> remote;
    std::size_t first = 0;
    while (first < requests.size()) {
        if (!is_open()) return;
        const std::size_t pieces = gate_ == nullptr
                                       ? std::min(kMaxPieces, requests.size() - first)
                                       : count_pieces(requests.subspan(first), kMostGatedBytes);
        for (std::size_t i = 0; i < pieces; ++i) {
            const ReadRequest& request = requests[first + i];
            local[i] = {request.destination.data(), request.destination.size()};
            remote[i] = {reinterpret_cast<void*>(request.address.value),
                         request.destination.size()};
        }
        const ssize_t count =
            ::process_vm_readv(pid_, local.data(), pieces, remote.data(), pieces, 0);
        if (count < 0 && falls_back(errno)) {
            return MemoryReader::read_many(requests.subspan(first));
        }
        std::size_t left = count > 0 ? static_cast<std::size_t>(count) : 0;
        std::size_t i = first;
        for (; i < first + pieces; ++i) {
            requests[i].done = std::min(left, requests[i].destination.size());
            left -= requests[i].done;
            if (!requests[i].complete()) break;
        }
        if (i == first + pieces) {
            first = i;
            continue;
        }
        // The piece that faulted keeps what it has; go on behind it.
        if (requests[i].done == 0) {
            requests[i].done = read_up_to(requests[i].address, requests[i].destination);
        }
        first = i + 1;
    }
}

bool ProcessMemory::falls_back(int error) const {
    // The kernel has no such call, or a seccomp filter answers for it; the latter may allow files.
    if (error != ENOSYS && error != EPERM) return false;
    if (!open_mem_file()) return false;
    use_mem_file_ = true;
    return true;
}

bool ProcessMemory::open_mem_file() const {
    if (mem_fd_ >= 0) return true;
    const std::string path = "/proc/" + std::to_string(pid_) + "/mem";
    mem_fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    return mem_fd_ >= 0;
}

std::size_t ProcessMemory::read_mem_file(RemoteAddr address,
                                         std::span<std::byte> destination) const {
    bool reopened = false;
    std::size_t done = 0;
    while (done < destination.size() && open_mem_file()) {
        const ssize_t count = ::pread(mem_fd_, destination.data() + done, destination.size() - done,
                                      static_cast<off_t>(address.value + done));
        if (count == 0 && !reopened) {
            // The memory that it was opened on is gone: the process executes another program.
            ::close(mem_fd_);
            mem_fd_ = -1;
            reopened = true;
            continue;
        }
        if (count <= 0) break;
        done += static_cast<std::size_t>(count);
    }
    return done;
}

}  // namespace pystack::memory
