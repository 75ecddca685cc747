#include "snapshot/lock_holders.h"

#include <algorithm>

#include "cpython/objects/lock_objects.h"

namespace pystack::snapshot {

namespace {

using cpython::LockKind;
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
        for (const cpython::HeldObject& one : held_.find(raw.threads[t].frames))
            held.push_back({one.object, {.thread = t, .frame = one.frame}});
    }
    return held;
}

}  // namespace pystack::snapshot
