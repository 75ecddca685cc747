#include "elf/mapped_file.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <mutex>
#include <new>
#include <utility>

namespace pystack::elf {

/// Free while `begin` is 0.
struct MappedFile::Guard {
    std::atomic<std::uintptr_t> begin = 0;
    std::atomic<std::uintptr_t> end = 0;
    std::atomic<bool> torn = false;
};

namespace {

/// The table grows by blocks that are never freed: the handler may look at them at any time.
struct Block {
    static constexpr std::size_t kGuards = 256;
    std::array<MappedFile::Guard, kGuards> guards{};
    std::size_t used = 0;  // Only with the lock.
    std::atomic<Block*> next = nullptr;
};

std::atomic<std::uintptr_t> page_size = 0;
struct sigaction previous{};

/// Constant-initialised, and never destroyed: threads may still read while the process exits.
constinit Block first_block;
constinit std::mutex table_mutex;

MappedFile::Guard* find_guard(std::uintptr_t address) {
    for (Block* block = &first_block; block != nullptr; block = block->next.load()) {
        for (MappedFile::Guard& guard : block->guards) {
            const std::uintptr_t begin = guard.begin.load();
            if (begin == 0 || address < begin || address >= guard.end.load()) continue;
            if (guard.begin.load() == begin) return &guard;
        }
    }
    return nullptr;
}

/// Everything from the missing page on is missing. One anonymous mapping takes its place, which
/// needs no memory while it is only read; page by page it would be as many mappings.
bool replace_by_zeros(std::uintptr_t address) {
    MappedFile::Guard* const guard = find_guard(address);
    if (guard == nullptr) return false;
    const std::uintptr_t page = address & ~(page_size.load() - 1);
    void* const place = reinterpret_cast<void*>(page);
    if (::mmap(place, guard->end.load() - page, PROT_READ,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED) {
        return false;
    }
    guard->torn.store(true);
    return true;
}

/// What would have happened without our handler.
void hand_on(int signal, siginfo_t* info, void* context) {
    const bool is_fault = info->si_code > 0;
    const bool has_siginfo = (previous.sa_flags & SA_SIGINFO) != 0;
    if (!has_siginfo && previous.sa_handler == SIG_IGN && !is_fault) return;
    // A fault cannot be ignored: the kernel takes the default action then.
    if (!has_siginfo && (previous.sa_handler == SIG_IGN || previous.sa_handler == SIG_DFL)) {
        struct sigaction action{};
        action.sa_handler = SIG_DFL;
        ::sigaction(signal, &action, nullptr);
        // A fault comes again by itself; the signal is blocked until this function returns.
        if (!is_fault) ::raise(signal);
        return;
    }
    const auto handler = previous;
    if ((handler.sa_flags & SA_RESETHAND) != 0) {
        previous.sa_flags = 0;
        previous.sa_handler = SIG_DFL;
    }
    if (has_siginfo) {
        handler.sa_sigaction(signal, info, context);
    } else {
        handler.sa_handler(signal);
    }
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
    const int saved = errno;
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    // BUS_ADRERR: no page behind the address. Broken hardware is not ours to hide.
    const bool handled = info->si_code == BUS_ADRERR && replace_by_zeros(address);
    if (!handled) hand_on(signal, info, context);
    errno = saved;
}

void install_handler() {
    page_size.store(static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE)));
    if (::sigaction(SIGBUS, nullptr, &previous) != 0) return;
    struct sigaction action{};
    action.sa_sigaction = on_bus_error;
    action.sa_mask = previous.sa_mask;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | (previous.sa_flags & SA_NODEFER);
    ::sigaction(SIGBUS, &action, nullptr);
}

/// Null without memory.
MappedFile::Guard* take_guard(std::uintptr_t begin, std::uintptr_t end) {
    const std::lock_guard lock(table_mutex);
    if (page_size.load() == 0) install_handler();
    Block* block = &first_block;
    while (block->used == Block::kGuards) {
        if (block->next.load() == nullptr) block->next.store(new (std::nothrow) Block);
        block = block->next.load();
        if (block == nullptr) return nullptr;
    }
    for (MappedFile::Guard& guard : block->guards) {
        if (guard.begin.load() != 0) continue;
        ++block->used;
        guard.torn.store(false);
        guard.end.store(end);
        guard.begin.store(begin);
        return &guard;
    }
    return nullptr;
}

void return_guard(MappedFile::Guard* guard) {
    const std::lock_guard lock(table_mutex);
    guard->begin.store(0);
    for (Block* block = &first_block; block != nullptr; block = block->next.load()) {
        const auto* const first = block->guards.data();
        const std::less<const MappedFile::Guard*> before;
        if (before(guard, first) || !before(guard, first + Block::kGuards)) continue;
        --block->used;
        return;
    }
}

}  // namespace

std::optional<MappedFile> MappedFile::map(int descriptor, std::size_t size) {
    void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (mapped == MAP_FAILED) return std::nullopt;
    const auto begin = reinterpret_cast<std::uintptr_t>(mapped);
    Guard* const guard = take_guard(begin, begin + size);
    if (guard == nullptr) {
        ::munmap(mapped, size);
        errno = ENOMEM;
        return std::nullopt;
    }
    return MappedFile({static_cast<const std::byte*>(mapped), size}, guard);
}

MappedFile::~MappedFile() {
    if (guard_ == nullptr) return;
    return_guard(guard_);
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), guard_(std::exchange(other.guard_, nullptr)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(guard_, other.guard_);
    return *this;
}

void MappedFile::release(std::span<const std::byte> part) {
    const std::uintptr_t page = page_size.load();
    const auto address = reinterpret_cast<std::uintptr_t>(part.data());
    const std::uintptr_t begin = (address + page - 1) / page * page;
    const std::uintptr_t end = (address + part.size()) / page * page;
    // Of other memory, this would be its end.
    const Guard* const guard = begin < end ? find_guard(begin) : nullptr;
    if (guard != nullptr && end <= guard->end.load())
        ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

bool MappedFile::is_torn() const {
    return guard_ != nullptr && guard_->torn.load();
}

}  // namespace pystack::elf
