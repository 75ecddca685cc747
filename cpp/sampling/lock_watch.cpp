#include "sampling/lock_watch.h"

#include <algorithm>

#include "base/nanoseconds.h"
#include "cpython/objects/lock_objects.h"
#include "waits/pthreads.h"

namespace pystack::sampling {

using cpython::LockKind;
using cpython::RawFrame;

void LockWatch::begin_tick() {
    ++tick_;
    are_blocks_found_ = false;
    block_holders_.clear();
    holders_.clear();
}

void LockWatch::follow(Waiting& waiting, bool moved) const {
    if (moved || waiting.followed + 1 < tick_) waiting.is_held_known = false;
    waiting.followed = tick_;
}

std::uint32_t LockWatch::holder(const cpython::FoundLock& lock, std::size_t waiter) {
    const auto [known, is_new] = holders_.try_emplace(lock.object, 0);
    if (is_new) known->second = find_holder(lock, waiter);
    return known->second;
}

std::uint32_t LockWatch::import_holder(RemoteAddr lock, std::size_t waiter) {
    const auto [known, is_new] = holders_.try_emplace(lock, 0);
    if (!is_new) return known->second;
    readers_->pages.clear();
    const auto owner = readers_->finder.import_owner(lock);
    if (owner) known->second = with_ident(*owner, waiter);
    return known->second;
}

std::uint32_t LockWatch::find_holder(const cpython::FoundLock& lock, std::size_t waiter) {
    const auto state =
        cpython::read_lock(program_.target().memory(), readers_->layout, lock.object, lock.kind);
    if (!state || !state->locked) return 0;
    if (lock.kind == LockKind::kLock) return block_holder(lock.object);
    return state->owner == 0 ? 0 : with_ident(state->owner, waiter);
}

std::uint32_t LockWatch::native_holder(const arch::Syscall& call) const {
    const memory::MemoryReader& memory = program_.target().memory();
    const auto mutex = waits::waited_mutex(call, memory);
    const auto tid = mutex ? mutex->owner : waits::joined_thread(call, memory);
    const auto found = tid ? with_own_tid(*tid) : std::nullopt;
    return found ? threads_[*found].index + 1 : 0;
}

std::uint32_t LockWatch::with_ident(std::uint64_t ident, std::size_t waiter) const {
    const auto& states = program_.interpreters().threads();
    std::uint32_t found = 0;
    for (std::size_t i = 0; i < states.size(); ++i) {
        if (states[i].python_thread_id != ident) continue;
        if (states[i].interpreter == states[waiter].interpreter) return threads_[i].index + 1;
        if (found == 0) found = threads_[i].index + 1;
    }
    return found;
}

std::optional<std::size_t> LockWatch::with_own_tid(std::int32_t tid) const {
    const auto& states = program_.interpreters().threads();
    const bool is_own = !program_.target().namespace_pid();
    for (std::size_t i = 0; i < states.size(); ++i) {
        const bool is_it = states[i].native_thread_id
                               ? *states[i].native_thread_id == static_cast<std::uint64_t>(tid)
                               : is_own && threads_.tid(i) == tid;
        if (is_it) return i;
    }
    return std::nullopt;
}

std::uint32_t LockWatch::block_holder(RemoteAddr lock) {
    if (!are_blocks_found_) find_blocks();
    // Another thread may be inside of a with block of it, too: then nobody knows who has it.
    if (!are_blocks_complete_) return 0;
    const auto found = block_holders_.find(lock);
    return found == block_holders_.end() ? 0 : found->second;
}

void LockWatch::find_blocks() {
    are_blocks_found_ = are_blocks_complete_ = true;
    for (std::size_t i = 0; i < threads_.size(); ++i) {
        Waiting& waiting = threads_[i].waiting;
        // A thread that has no samples moves; an idle one does not.
        const bool is_followed = threads_[i].is_idle() || waiting.followed + 1 >= tick_;
        if (!waiting.is_held_known || !is_followed) {
            if (!share_.is_open()) {
                are_blocks_complete_ = false;
                return;
            }
            const std::uint64_t begin = monotonic_ns();
            read_blocks(i);
            share_.worked_since(begin);
        }
        for (const RemoteAddr lock : waiting.held) {
            const auto [place, is_new] = block_holders_.try_emplace(lock, threads_[i].index + 1);
            if (!is_new && place->second != threads_[i].index + 1) place->second = 0;
        }
    }
}

/// A frame that was the same before and after its with blocks were read was inside of them.
void LockWatch::read_blocks(std::size_t index) {
    Waiting& waiting = threads_[index].waiting;
    waiting.held.clear();
    waiting.is_held_known = true;
    const RemoteAddr state = program_.interpreters().threads()[index].address;
    program_.stacks().read_stopped(state, before_);
    readers_->pages.clear();
    readers_->load(readers_->pages, program_.codes(), before_);
    const auto held = readers_->held.find(before_, cpython::NewCode::kRead);
    const bool is_same_code = program_.codes().verify(readers_->held.take_generators());
    if (held.empty() || !is_same_code) return;
    program_.stacks().read_stopped(state, after_);
    for (const cpython::HeldObject& one : held) {
        const std::size_t callers = before_.size() - one.frame;
        if (callers > after_.size() || after_[after_.size() - callers] != before_[one.frame])
            continue;
        if (std::ranges::find(waiting.held, one.object) == waiting.held.end())
            waiting.held.push_back(one.object);
    }
}

}  // namespace pystack::sampling
