#include "cpython/objects/lock_objects.h"

#include "cpython/objects/objects.h"

namespace pystack::cpython {

namespace {

/// PyMutex: locked, and threads are parked [Include/cpython/lock.h, pycore_lock.h].
constexpr std::uint8_t kMutexLocked = 1;
constexpr std::uint8_t kMutexBits = 3;
/// Nobody acquires a lock more often. An owner is a pthread_t, an address.
constexpr std::uint64_t kMostCount = 1u << 30;

Error no_such_locks() {
    return Error{.code = ErrorCode::kOffsetsRejected, .what = "locks"};
}

/// Whether the lock is a PyMutex, and no pointer to a semaphore. 3.13 went from one to the other in
/// a micro release, which the size of its type tells.
Result<bool> has_mutex(const memory::MemoryReader& reader, const Layout& layout, RemoteAddr lock) {
    const auto& fields = layout.lock_object;
    if (!fields.mutex || !fields.semaphore) return fields.mutex.has_value();
    PYSTACK_TRY(type, read_type(reader, layout, lock));
    if (!layout.type_object.tp_basicsize) return fail(no_such_locks());
    PYSTACK_TRY(size, reader.read_value<std::uint64_t>(type + *layout.type_object.tp_basicsize));
    return size <= *fields.mutex + sizeof(std::uint64_t);
}

/// A byte that is 0 or one of `bits`.
Result<std::uint8_t> read_flag(const memory::MemoryReader& reader, RemoteAddr address,
                               std::uint8_t bits) {
    PYSTACK_TRY(value, reader.read_value<std::uint8_t>(address));
    if ((value & ~bits) != 0) return fail(corrupt("lock", address));
    return value;
}

Result<LockState> read_plain(const memory::MemoryReader& reader, const Layout& layout,
                             RemoteAddr lock) {
    const auto& fields = layout.lock_object;
    PYSTACK_TRY(is_mutex, has_mutex(reader, layout, lock));
    if (is_mutex) {
        PYSTACK_TRY(bits, read_flag(reader, lock + *fields.mutex, kMutexBits));
        return LockState{.locked = (bits & kMutexLocked) != 0};
    }
    if (!fields.locked) return fail(no_such_locks());
    PYSTACK_TRY(locked, read_flag(reader, lock + *fields.locked, 1));
    return LockState{.locked = locked != 0};
}

Result<LockState> read_recursive(const memory::MemoryReader& reader, const Layout& layout,
                                 RemoteAddr lock) {
    const auto& fields = layout.rlock_object;
    if (!fields.owner || !(fields.count || fields.level)) return fail(no_such_locks());
    LockState state;
    PYSTACK_TRY(owner, reader.read_value<std::uint64_t>(lock + *fields.owner));
    const auto number = fields.count ? fields.count : fields.level;
    PYSTACK_TRY(count, reader.read_value<std::uint64_t>(lock + *number));
    if (count > kMostCount) return fail(corrupt("RLock", lock));
    if (fields.mutex) {
        PYSTACK_TRY(bits, read_flag(reader, lock + *fields.mutex, kMutexBits));
        state.locked = (bits & kMutexLocked) != 0;
        state.count = state.locked ? count + 1 : 0;
    } else {
        state.locked = count > 0;
        state.count = count;
    }
    // Cleared before the release, and set after the acquisition.
    state.owner = state.locked ? owner : 0;
    return state;
}

}  // namespace

Result<LockState> read_lock(const memory::MemoryReader& reader, const Layout& layout,
                            RemoteAddr lock, LockKind kind) {
    return kind == LockKind::kLock ? read_plain(reader, layout, lock)
                                   : read_recursive(reader, layout, lock);
}

Result<RemoteAddr> lock_address(const memory::MemoryReader& reader, const Layout& layout,
                                RemoteAddr lock, LockKind kind) {
    const bool plain = kind == LockKind::kLock;
    const FieldOffset mutex = plain ? layout.lock_object.mutex : layout.rlock_object.mutex;
    const auto is_mutex = plain ? has_mutex(reader, layout, lock) : Result<bool>(mutex.has_value());
    if (!is_mutex) return fail(is_mutex.error());
    if (*is_mutex) return lock + *mutex;
    const FieldOffset semaphore =
        plain ? layout.lock_object.semaphore : layout.rlock_object.semaphore;
    if (!semaphore) return fail(no_such_locks());
    return reader.read_pointer(lock + *semaphore);
}

}  // namespace pystack::cpython
