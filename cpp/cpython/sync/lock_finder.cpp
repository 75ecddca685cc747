#include "cpython/sync/lock_finder.h"

#include "cpython/objects/instance_attributes.h"

namespace pystack::cpython {

namespace {

/// struct wait_entry {void *park_arg; uintptr_t addr; _PySemaphore sema; ...}, which is on the
/// stack of a thread that waits for a PyMutex [Python/parking_lot.c, 3.13 to 3.15].
constexpr std::uint64_t kSemaphoreInEntry = 16;
constexpr std::uint64_t kAddressInEntry = 8;

}  // namespace

std::optional<FoundLock> LockFinder::primitive(RemoteAddr object) const {
    const auto type = types_.of(object);
    if (!type) return std::nullopt;
    if ((*type)->kind == ValueKind::kLock) return FoundLock{object, LockKind::kLock};
    if ((*type)->kind == ValueKind::kRLock) return FoundLock{object, LockKind::kRLock};
    return std::nullopt;
}

std::optional<FoundLock> LockFinder::lock_of_condition(RemoteAddr object) const {
    const auto lock = instance_attribute(memory_, layout_, object, "_lock");
    return lock && *lock ? primitive(**lock) : std::nullopt;
}

std::optional<FoundLock> LockFinder::lock_of(RemoteAddr object) const {
    auto type = types_.of(object);
    if (!type) return std::nullopt;
    FieldOffset self;
    if ((*type)->kind == ValueKind::kBuiltin) self = layout_.cfunction_object.m_self;
    if ((*type)->kind == ValueKind::kMethod) self = layout_.method_object.im_self;
    if (self) {
        const auto bound = memory_.read_pointer(object + *self);
        if (!bound) return std::nullopt;
        object = *bound;
        type = types_.of(object);
        if (!type) return std::nullopt;
    }
    if ((*type)->kind == ValueKind::kCondition) return lock_of_condition(object);
    return primitive(object);
}

/// From 3.13 on: a thread that waits for a PyMutex is blocked in a semaphore on its own stack.
std::optional<FoundLock> LockFinder::parked_lock(RemoteAddr futex) const {
    if (!layout_.lock_object.mutex || futex.value < kSemaphoreInEntry) return std::nullopt;
    const RemoteAddr entry{futex.value - kSemaphoreInEntry};
    const auto parked_at = memory_.read_pointer(entry + kAddressInEntry);
    if (!parked_at || parked_at->value < *layout_.lock_object.mutex) return std::nullopt;
    // Both kinds of locks begin with their mutex.
    const auto lock = primitive({parked_at->value - *layout_.lock_object.mutex});
    if (!lock || lock_address(memory_, layout_, lock->object, lock->kind) != *parked_at)
        return std::nullopt;
    return lock;
}

std::optional<FoundLock> LockFinder::waited_lock(RemoteAddr futex,
                                                 std::span<const RemoteAddr> objects) const {
    if (const auto parked = parked_lock(futex)) return parked;
    if (!layout_.rlock_object.semaphore) return std::nullopt;
    for (const RemoteAddr object : objects) {
        const auto lock = lock_of(object);
        if (!lock) continue;
        const auto semaphore = lock_address(memory_, layout_, lock->object, lock->kind);
        if (semaphore && *semaphore == futex) return lock;
    }
    return std::nullopt;
}

bool LockFinder::may_be_woken(RemoteAddr futex) const {
    // The value of a sem_t of glibc and musl, which the thread takes when it runs again.
    const auto value = memory_.read_value<std::int32_t>(futex);
    return !value || *value > 0;
}

}  // namespace pystack::cpython
