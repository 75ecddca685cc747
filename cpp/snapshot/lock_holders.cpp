#include "snapshot/lock_holders.h"

#include <algorithm>

#include "cpython/objects/lock_objects.h"
#include "cpython/sync/bound_methods.h"
#include "cpython/sync/wait_sites.h"
#include "snapshot/stack_ends.h"

namespace pystack::snapshot {

namespace {

using cpython::Code;
using cpython::FoundLock;
using cpython::LockKind;
using cpython::ValueKind;
using model::WaitKind;

/// As many holders of a semaphore are named.
constexpr std::size_t kMostHolders = 5;

bool needs_with_blocks(const RawThread& thread) {
    if (!thread.wait) return false;
    const RawWait& wait = *thread.wait;
    return wait.wait.kind == WaitKind::kSemaphore ||
           (wait.lock && wait.lock->kind == LockKind::kLock);
}

}  // namespace

void LockHolders::find(RawSnapshot& raw) {
    std::vector<Held> held;
    if (std::ranges::any_of(raw.threads, needs_with_blocks)) held = with_blocks(raw);
    for (RawThread& thread : raw.threads) {
        if (!thread.wait) continue;
        RawWait& wait = *thread.wait;
        if (wait.lock) {
            find_lock_holder(wait, held);
        } else if (wait.wait.kind == WaitKind::kSemaphore) {
            for (const Held& one : held) {
                if (one.object == wait.object && wait.with_blocks.size() < kMostHolders)
                    wait.with_blocks.push_back(one.place);
            }
        }
    }
}

void LockHolders::find_lock_holder(RawWait& wait, const std::vector<Held>& held) {
    const auto state = cpython::read_lock(memory_, layout_, wait.lock->object, wait.lock->kind);
    if (!state || !state->locked) return;
    if (wait.lock->kind == LockKind::kRLock) {
        if (state->owner != 0) wait.holder_ident = state->owner;
        return;
    }
    // Two with blocks of one lock: one of them has released it, and nobody knows which.
    const auto is_it = [&](const Held& one) { return one.object == wait.lock->object; };
    const auto found = std::ranges::find_if(held, is_it);
    if (found == held.end() || std::ranges::count_if(held, is_it) != 1) return;
    wait.with_blocks = {found->place};
}

std::vector<LockHolders::Held> LockHolders::with_blocks(const RawSnapshot& raw) {
    std::vector<Held> held;
    for (std::size_t t = 0; t < raw.threads.size(); ++t) {
        const RawThread& thread = raw.threads[t];
        for_each_end(thread.frames, [&](std::size_t i) {
            const Code* code = code_of(raw, thread.frames[i]);
            if (code == nullptr || !objects_.has_with_blocks(*code)) return;
            const BlockPlace place{.thread = t, .frame = i};
            for (const RemoteAddr object :
                 objects_.with_objects(memory_, *code, thread.frames[i])) {
                if (const RemoteAddr found = held_object(raw, place, object))
                    held.push_back({found, place});
            }
        });
    }
    return held;
}

RemoteAddr LockHolders::held_object(const RawSnapshot& raw, const BlockPlace& place,
                                    RemoteAddr object) {
    if (const auto lock = locks_.lock_of(object)) {
        const bool is_plain = lock->kind == LockKind::kLock;
        return is_plain && !may_have_released(raw, place, *lock) ? lock->object : RemoteAddr{};
    }
    const RemoteAddr self = cpython::self_or_object(memory_, layout_, types_, object);
    const auto type = self ? types_.of(self) : fail(Error{});
    return type && (*type)->kind == ValueKind::kSemaphore ? self : RemoteAddr{};
}

/// Whether a call that the frame has made waits for a condition that uses the lock, so that it has
/// released it; or may do so, as far as can be read.
bool LockHolders::may_have_released(const RawSnapshot& raw, const BlockPlace& place,
                                    const FoundLock& lock) {
    const RawThread& thread = raw.threads[place.thread];
    for (std::size_t i = 0; i <= place.frame; ++i) {
        const auto condition =
            cpython::condition_of_wait(memory_, thread.frames[i], raw.codes, objects_, types_);
        if (!condition) return true;
        if (!*condition) continue;
        const auto used = locks_.lock_of(*condition);
        if (!used || *used == lock) return true;
    }
    return false;
}

}  // namespace pystack::snapshot
