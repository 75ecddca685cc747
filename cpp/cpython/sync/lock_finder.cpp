#include "cpython/sync/lock_finder.h"

#include "cpython/objects/instance_attributes.h"
#include "cpython/sync/bound_methods.h"
#include "cpython/sync/parking.h"
#include "waits/pthreads.h"

namespace pystack::cpython {

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
    object = self_or_object(memory_, layout_, types_, object);
    const auto type = object ? types_.of(object) : fail(Error{});
    if (!type) return std::nullopt;
    if ((*type)->kind == ValueKind::kCondition) return lock_of_condition(object);
    return primitive(object);
}

std::optional<FoundLock> LockFinder::parked_lock(RemoteAddr futex) const {
    if (!layout_.lock_object.mutex) return std::nullopt;
    const auto address = parked_at(memory_, futex);
    if (!address || address->value < *layout_.lock_object.mutex) return std::nullopt;
    // Both kinds of locks begin with their mutex.
    const auto lock = primitive({address->value - *layout_.lock_object.mutex});
    if (!lock || lock_address(memory_, layout_, lock->object, lock->kind) != *address)
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
    // All of Python's locks that the kernel blocks at are semaphores.
    return waits::may_be_posted(memory_, futex);
}

}  // namespace pystack::cpython
