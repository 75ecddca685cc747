#include "snapshot/lock_holders.h"

#include <algorithm>
#include <span>
#include <unordered_map>

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

void LockHolders::find(RawSnapshot& raw, cpython::NewCode new_code) {
    std::vector<Held> held;
    if (std::ranges::any_of(raw.threads, needs_with_blocks)) held = with_blocks(raw, new_code);
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
    const auto state =
        cpython::read_lock(readers_.pages, readers_.layout, wait.lock->object, wait.lock->kind);
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

std::vector<LockHolders::Held> LockHolders::with_blocks(const RawSnapshot& raw,
                                                        cpython::NewCode new_code) {
    std::vector<Held> held;
    for (std::size_t t = 0; t < raw.threads.size(); ++t) {
        for (const cpython::HeldObject& one : readers_.held.find(raw.threads[t].frames, new_code))
            held.push_back({one.object, {.thread = t, .frame = one.frame}});
    }
    if (!raw.tasks) return held;
    std::unordered_map<RemoteAddr, std::size_t> threads;  // By the loops that run in them.
    for (const cpython::RawEventLoop& loop : raw.tasks->loops) {
        if (loop.thread) threads.emplace(loop.address, *loop.thread);
    }
    for (std::size_t i = 0; i < raw.tasks->tasks.size(); ++i) {
        const cpython::RawTask& task = raw.tasks->tasks[i];
        // The frames of one that runs are those of its thread.
        const bool is_suspended = task.chain.state == cpython::CoroutineState::kSuspended;
        const auto thread = task.loop ? threads.find(task.loop) : threads.end();
        if (is_suspended && thread != threads.end())
            add_task(raw, i, thread->second, new_code, held);
    }
    return held;
}

void LockHolders::add_task(const RawSnapshot& raw, std::size_t task, std::size_t thread,
                           cpython::NewCode new_code, std::vector<Held>& held) {
    const auto& frames = raw.tasks->tasks[task].chain.frames;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const cpython::RawFrame& frame = frames[i].frame;
        if (new_code == cpython::NewCode::kRead)
            readers_.load(readers_.pages, raw.codes, std::span(&frame, 1));
        for (const RemoteAddr object : readers_.held.find_suspended(frame, new_code))
            held.push_back({object, {.thread = thread, .frame = i, .task = task}});
    }
}

}  // namespace pystack::snapshot
