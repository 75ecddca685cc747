#include "sampling/wait_reasons.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/nanoseconds.h"
#include "waits/blocked_call.h"
#include "waits/descriptors.h"
#include "waits/pthreads.h"

namespace pystack::sampling {

namespace {

using cpython::RawFrame;
using model::WaitKind;

/// Of the time, for reading reasons and holders.
constexpr double kShare = 0.01;
/// The innermost frames, which tell what a call of the standard library waits for.
constexpr std::size_t kMostFrames = 32;
/// Types die, and others take their places.
constexpr std::uint64_t kRenewTypesEveryNs = 5'000'000'000;

bool is_asleep(std::uint8_t bits) {
    constexpr unsigned kBits = model::kCpuKnown | model::kOnCpu | model::kWaitsForGil;
    return (bits & kBits) == model::kCpuKnown;
}

/// By another thread at each sample.
bool can_be_held(const Waiting::Reason& reason) {
    return reason.lock || reason.import_lock || reason.kind == WaitKind::kThread ||
           reason.kind == WaitKind::kMutex;
}

bool is_same_place(const RawFrame& left, const RawFrame& right) {
    return left.address == right.address && left.code == right.code &&
           left.instruction == right.instruction;
}

}  // namespace

WaitReasons::WaitReasons(const ProgramReaders& program, const ThreadTable& threads,
                         WaitInterner& interner)
    : program_(program),
      threads_(threads),
      interner_(interner),
      share_(kShare),
      locks_(program, threads, share_),
      names_(program.target().pid()) {}

void WaitReasons::use_codes() {
    readers_ = std::make_unique<cpython::SyncReaders>(program_.target().memory(),
                                                      program_.runtime().layout, program_.codes());
    locks_.use(*readers_);
}

void WaitReasons::begin_tick(std::uint64_t now_ns) {
    locks_.begin_tick();
    turn_ = refused_.value_or(0);
    refused_.reset();
    if (now_ns < renew_types_at_ns_) return;
    renew_types_at_ns_ = now_ns + kRenewTypesEveryNs;
    readers_->types.clear();
}

void WaitReasons::follow(std::size_t index, std::uint8_t bits, bool moved) {
    TrackedThread& thread = threads_[index];
    Waiting& waiting = thread.waiting;
    // An idle thread has not run.
    if (thread.is_idle() && waiting.is_settled) return;
    locks_.follow(waiting, moved);
    if (!thread.is_idle()) check_call(thread, bits);
    if (waiting.reason && waiting.reason->unnamed_at && *waiting.reason->unnamed_at != name_looks_)
        waiting.is_read = false;
    if (!waiting.call || waiting.is_read || !is_turn_of(index)) return;
    const std::uint64_t begin = monotonic_ns();
    read(index);
    share_.worked_since(begin);
}

bool WaitReasons::is_turn_of(std::size_t index) {
    // Asking for the time costs as much as the rest for a thread that sleeps.
    if (index < turn_ || refused_) return false;
    if (share_.is_open()) return true;
    refused_ = index;
    return false;
}

/// Forgets the call and its reason if the thread has run since, as far as that was looked at.
void WaitReasons::check_call(TrackedThread& thread, std::uint8_t bits) {
    Waiting& waiting = thread.waiting;
    if (!is_asleep(bits)) return waiting.forget();
    if (waiting.looks == thread.activity.looks()) return;
    waiting.looks = thread.activity.looks();
    const auto& call = thread.activity.call();
    const auto run_ns = process::read_run_time_ns(waiting.run_time);
    if (call && run_ns && waiting.call == call &&
        (run_ns == waiting.run_ns || (program_.stops() && waits_for_the_same(waiting)))) {
        return;
    }
    waiting.forget();
    if (!call || !run_ns) return;
    waiting.call = call;
    waiting.run_ns = *run_ns;
}

/// Of a thread whose run time grew, maybe only by a stop for a sample, and that is in the same
/// call.
bool WaitReasons::waits_for_the_same(const Waiting& waiting) const {
    const auto futex = waits::waited_futex(*waiting.call);
    if (!futex) return true;
    // A futex on the thread's own stack is the same one for each lock.
    if (!waiting.reason || !waiting.reason->lock) return false;
    readers_->pages.clear();
    const RemoteAddr lock = waiting.reason->lock->object;
    return readers_->locks.waited_lock(*futex, std::span(&lock, 1)) == waiting.reason->lock;
}

model::WaitId WaitReasons::find(std::size_t index, const RawFrame* innermost) {
    Waiting& waiting = threads_[index].waiting;
    if (threads_[index].is_idle() && waiting.is_settled) return waiting.id;
    if (!waiting.reason || (innermost != nullptr) != waiting.innermost.has_value()) return 0;
    if (innermost != nullptr && !is_same_place(*innermost, *waiting.innermost)) return 0;
    const std::uint32_t held_by = holder(index);
    if (waiting.id == 0 || waiting.holder != held_by) {
        const Waiting::Reason& reason = *waiting.reason;
        waiting.holder = held_by;
        waiting.id =
            interner_.intern(program_.interner(), reason.kind, reason.type, reason.name, held_by);
    }
    waiting.is_settled = !can_be_held(*waiting.reason) && !waiting.reason->unnamed_at;
    return waiting.id;
}

void WaitReasons::forget_rows() {
    for (TrackedThread* thread : threads_) {
        thread->waiting.id = 0;
        thread->waiting.is_settled = false;
    }
}

void WaitReasons::end_tick() {
    if (!names_.has_unknown() || !names_pace_.is_due()) return;
    const auto begin = Pace::Clock::now();
    names_.look_up();
    names_pace_.worked_since(begin);
    ++name_looks_;
}

/// The reason counts if the thread was blocked in the call before and after it was read, and did
/// not run in between.
void WaitReasons::read(std::size_t index) {
    TrackedThread& thread = threads_[index];
    Waiting& waiting = thread.waiting;
    const arch::Syscall call = *waiting.call;
    const auto run_ns = process::read_run_time_ns(waiting.run_time);
    const auto blocked = thread.activity.place_now();
    if (!run_ns || !blocked || (!program_.stops() && run_ns != waiting.run_ns))
        return waiting.forget();
    arch::Syscall made = call;
    if (made.number == arch::kRestartSyscall) made.number = original(index, blocked->pc);
    program_.stacks().read_stopped(program_.interpreters().threads()[index].address, frames_,
                                   kMostFrames);
    // Of a thread that is stopped for its samples, the code may not have been read before the
    // first.
    if (!std::ranges::all_of(frames_, [&](const RawFrame& frame) {
            return frame.shim || program_.codes().find(frame.code) != nullptr;
        })) {
        return;
    }
    auto reason = read_reason(index, made);
    if (thread.activity.call_now() != call ||
        process::read_run_time_ns(waiting.run_time) != run_ns) {
        return waiting.forget();
    }
    waiting.is_read = true;
    waiting.is_settled = false;
    waiting.id = 0;
    waiting.reason = std::move(reason);
    waiting.innermost.reset();
    if (!frames_.empty()) waiting.innermost = frames_.front();
}

/// The number of the call that a restart_syscall of a blocked thread continues.
std::int64_t WaitReasons::original(std::size_t index, RemoteAddr pc) const {
    if (const auto number = waits::call_before(program_.target().memory(), pc)) return *number;
    const auto function =
        process::read_task_file(program_.target().pid(), threads_.tid(index), "wchan");
    const auto number = function ? waits::restarted_call(*function) : std::nullopt;
    return number.value_or(arch::kRestartSyscall);
}

std::optional<Waiting::Reason> WaitReasons::read_reason(std::size_t index,
                                                        const arch::Syscall& call) {
    const auto futex = waits::waited_futex(call);
    const cpython::CachedInterpreters& interpreters = program_.interpreters();
    const cpython::ThreadState& state = interpreters.threads()[index];
    const auto gil = waits::may_wait_on_stack(call) ? interpreters.gil_now(state.interpreter)
                                                    : interpreters.now(state.interpreter).gil;
    if (futex && gil && gil->is_at(*futex)) return std::nullopt;
    readers_->pages.clear();
    readers_->load(readers_->pages, program_.codes(), frames_);
    const auto find_thread = [&](std::int32_t own_tid) -> std::optional<std::int32_t> {
        const auto found = locks_.with_own_tid(own_tid);
        return found ? std::optional(threads_.tid(*found)) : std::nullopt;
    };
    auto found = readers_->finder.find(frames_, call, find_thread);
    if (!found) return std::nullopt;
    model::Wait& wait = found->wait;
    Waiting::Reason reason{.kind = wait.kind,
                           .type = std::move(wait.type),
                           .name = std::move(wait.name),
                           .lock = found->lock};
    if (wait.kind == WaitKind::kThread) reason.ident = found->holder_ident;
    if (wait.kind == WaitKind::kImportLock) reason.import_lock = found->object;
    if (wait.fd && (wait.kind == WaitKind::kDescriptor || wait.kind == WaitKind::kFileLock))
        name_descriptor(*wait.fd, reason);
    // The pid is one of the target's namespace.
    if (wait.kind == WaitKind::kProcess && wait.pid && !program_.target().namespace_pid())
        reason.name = waits::command_of(*wait.pid);
    return reason;
}

void WaitReasons::name_descriptor(int fd, Waiting::Reason& reason) {
    const std::uint64_t looks = name_looks_;
    auto name = names_.find(fd);
    if (!name) return;
    if (reason.kind == WaitKind::kDescriptor) reason.kind = name->kind;
    reason.name = std::move(name->text);
    if (reason.kind == WaitKind::kSocket && reason.name.empty() && names_.has_unknown())
        reason.unnamed_at = looks;
}

std::uint32_t WaitReasons::holder(std::size_t index) {
    const Waiting& waiting = threads_[index].waiting;
    const Waiting::Reason& reason = *waiting.reason;
    if (reason.ident) return locks_.with_ident(*reason.ident, index);
    if (reason.import_lock) return locks_.import_holder(reason.import_lock, index);
    if (reason.lock && reason.kind == WaitKind::kLock) return locks_.holder(*reason.lock, index);
    const bool is_native = reason.kind == WaitKind::kMutex || reason.kind == WaitKind::kThread;
    return is_native ? locks_.native_holder(*waiting.call) : 0;
}

}  // namespace pystack::sampling
