#include "snapshot/lock_holders.h"

#include <algorithm>
#include <optional>
#include <span>
#include <unordered_map>

#include "cpython/objects/lock_objects.h"

namespace pystack::snapshot {

namespace {

using cpython::LockKind;
using model::WaitKind;

/// As many holders of a semaphore are named.
constexpr std::size_t kMostHolders = 5;
/// Pages that are copied when thousands of tasks are inside of with blocks, 6 MiB: there must be
/// room for those of the threads.
constexpr std::size_t kMostTaskPages = 1536;

bool needs_with_blocks(const RawThread& thread) {
    if (!thread.wait) return false;
    const RawWait& wait = *thread.wait;
    return wait.wait.kind == WaitKind::kSemaphore ||
           (wait.lock && wait.lock->kind == LockKind::kLock);
}

}  // namespace

void LockHolders::find(RawSnapshot& raw, cpython::NewCode new_code) {
    released_.clear();
    std::vector<Held> held;
    if (std::ranges::any_of(raw.threads, needs_with_blocks)) held = with_blocks(raw, new_code);
    for (RawThread& thread : raw.threads) {
        if (!thread.wait) continue;
        RawWait& wait = *thread.wait;
        if (wait.lock) {
            find_lock_holder(raw, wait, held);
        } else if (wait.wait.kind == WaitKind::kSemaphore) {
            for (const Held& one : held) {
                if (one.object == wait.object && wait.with_blocks.size() < kMostHolders)
                    wait.with_blocks.push_back(one.place);
            }
        }
    }
}

void LockHolders::find_lock_holder(const RawSnapshot& raw, RawWait& wait,
                                   const std::vector<Held>& held) {
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
    if (found->place.task && may_be_released(raw, *wait.lock)) return;
    wait.with_blocks = {found->place};
}

std::vector<LockHolders::Held> LockHolders::with_blocks(const RawSnapshot& raw,
                                                        cpython::NewCode new_code) {
    std::vector<Held> held;
    for (std::size_t t = 0; t < raw.threads.size(); ++t) {
        for (const cpython::HeldObject& one : readers_.held.find(raw.threads[t].frames, new_code))
            held.push_back({one.object, {.thread = t, .frame = one.frame}});
    }
    if (raw.tasks) add_tasks(raw, new_code, held);
    return held;
}

/// As long as not all tasks are known, another one may have the lock that one of them seems to
/// have.
void LockHolders::add_tasks(const RawSnapshot& raw, cpython::NewCode new_code,
                            std::vector<Held>& held) {
    const std::size_t of_threads = held.size();
    if (new_code == cpython::NewCode::kRead) are_tasks_known_ = true;
    std::unordered_map<RemoteAddr, std::optional<std::size_t>> threads;  // By loop.
    for (const cpython::RawEventLoop& loop : raw.tasks->loops) {
        if (!loop.thread) continue;
        const auto [place, is_new] = threads.try_emplace(loop.address, *loop.thread);
        // Who of them will go on with a task is not known.
        if (!is_new) place->second.reset();
    }
    for (std::size_t i = 0; i < raw.tasks->tasks.size() && are_tasks_known_; ++i) {
        const cpython::RawTask& task = raw.tasks->tasks[i];
        // The frames of one that runs are those of its thread.
        const bool is_suspended = task.chain.state == cpython::CoroutineState::kSuspended;
        const auto thread = task.loop ? threads.find(task.loop) : threads.end();
        if (is_suspended && thread != threads.end() && thread->second)
            add_task(raw, i, *thread->second, new_code, held);
        const bool is_full = readers_.pages.pages() > kMostTaskPages;
        if (new_code == cpython::NewCode::kRead && is_full) are_tasks_known_ = false;
    }
    if (!are_tasks_known_) held.resize(of_threads);
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

/// A condition in another thread releases its lock, whoever has acquired it.
bool LockHolders::may_be_released(const RawSnapshot& raw, const cpython::FoundLock& lock) {
    const auto [known, is_new] = released_.try_emplace(lock.object, false);
    if (is_new) {
        known->second = std::ranges::any_of(raw.threads, [&](const RawThread& thread) {
            return readers_.held.may_have_released(thread.frames, lock);
        });
    }
    return known->second;
}

}  // namespace pystack::snapshot
