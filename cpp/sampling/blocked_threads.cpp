#include "sampling/blocked_threads.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "process/proc_files.h"

namespace pystack::sampling {

namespace {

std::size_t hash_of(std::span<const std::byte> bytes) {
    return std::hash<std::string_view>{}(
        std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

}  // namespace

void BlockedThreadCache::remember(pid_t tid, const arch::Registers& registers,
                                  std::span<const std::byte> stack, std::vector<State> states) {
    if (!registers.syscall()) {
        threads_.erase(tid);
        return;
    }
    auto& thread = threads_[tid];
    if (!thread) {
        thread = std::make_unique<Thread>();
        thread->call.set_thread(pid_, tid);
        thread->run_time.set_thread(pid_, tid);
    }
    thread->sp = registers.sp();
    thread->pc = registers.pc();
    thread->stack_size = stack.size();
    thread->stack_hash = hash_of(stack);
    thread->states = std::move(states);
    thread->run_ns.reset();
}

std::optional<std::uint64_t> BlockedThreadCache::blocked_after(Thread& thread) {
    // In this order: a thread that has run before it was found blocked is charged for it.
    std::array<char, 256> text;
    const auto call = thread.call.read(text);
    if (!call || !process::parse_syscall(*call)) return std::nullopt;
    return process::read_run_time_ns(thread.run_time);
}

bool BlockedThreadCache::looks_the_same(Thread& thread) {
    std::array<char, 256> text;
    const auto call = thread.call.read(text);
    const auto place = call ? process::parse_blocked_at(*call) : std::nullopt;
    if (!place || place->sp != thread.sp || place->pc != thread.pc) return false;
    bytes_.resize(thread.stack_size);
    if (memory_.read_up_to(thread.sp, bytes_) != bytes_.size()) return false;
    if (hash_of(bytes_) != thread.stack_hash) return false;
    return std::all_of(thread.states.begin(), thread.states.end(), [this](const State& state) {
        stacks_.read_stopped(state.address, frames_);
        return frames_ == state.frames;
    });
}

std::span<const pid_t> BlockedThreadCache::find() {
    asleep_.clear();
    for (auto place = threads_.begin(); place != threads_.end();) {
        Thread& thread = *place->second;
        const auto run_ns = blocked_after(thread);
        if (run_ns && !thread.run_ns && looks_the_same(thread) && blocked_after(thread) == run_ns) {
            thread.run_ns = run_ns;
        }
        if (run_ns && run_ns == thread.run_ns) {
            asleep_.push_back(place->first);
            ++place;
        } else {
            // It is stopped again, and remembered then if it sleeps.
            place = run_ns ? std::next(place) : threads_.erase(place);
        }
    }
    std::sort(asleep_.begin(), asleep_.end());
    return asleep_;
}

bool BlockedThreadCache::is_asleep(pid_t tid) const {
    return std::binary_search(asleep_.begin(), asleep_.end(), tid);
}

}  // namespace pystack::sampling
