#include "cpython/sync/held_objects.h"

#include "cpython/sync/bound_methods.h"
#include "cpython/sync/stack_ends.h"
#include "cpython/sync/wait_sites.h"

namespace pystack::cpython {

std::vector<HeldObject> HeldObjects::find(std::span<const RawFrame> frames) {
    std::vector<HeldObject> held;
    for_each_end(frames, [&](std::size_t i) {
        const Code* code = code_of(codes_, frames[i]);
        if (code == nullptr || !objects_.has_with_blocks(*code)) return;
        for (const RemoteAddr object : objects_.with_objects(memory_, *code, frames[i])) {
            if (const RemoteAddr found = held_object(frames, i, object)) held.push_back({found, i});
        }
    });
    return held;
}

/// What the with block holds that exits the object; null: nothing.
RemoteAddr HeldObjects::held_object(std::span<const RawFrame> frames, std::size_t frame,
                                    RemoteAddr object) {
    if (const auto lock = locks_.lock_of(object)) {
        const bool is_plain = lock->kind == LockKind::kLock;
        return is_plain && !may_have_released(frames, frame, *lock) ? lock->object : RemoteAddr{};
    }
    const RemoteAddr self = self_or_object(memory_, layout_, types_, object);
    const auto type = self ? types_.of(self) : fail(Error{});
    return type && (*type)->kind == ValueKind::kSemaphore ? self : RemoteAddr{};
}

/// Whether a call that the frame has made waits for a condition that uses the lock, so that it has
/// released it; or may do so, as far as can be read.
bool HeldObjects::may_have_released(std::span<const RawFrame> frames, std::size_t frame,
                                    const FoundLock& lock) {
    for (std::size_t i = 0; i <= frame; ++i) {
        const auto condition = condition_of_wait(memory_, frames[i], codes_, objects_, types_);
        if (!condition) return true;
        if (!*condition) continue;
        const auto used = locks_.lock_of(*condition);
        if (!used || *used == lock) return true;
    }
    return false;
}

}  // namespace pystack::cpython
