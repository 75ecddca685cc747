#include "cpython/sync/wait_finder.h"

#include <algorithm>

#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/typed_values.h"
#include "cpython/sync/object_names.h"
#include "cpython/sync/process_semaphores.h"
#include "cpython/sync/simple_queues.h"
#include "cpython/sync/stack_ends.h"
#include "cpython/sync/thread_pools.h"
#include "cpython/sync/wait_sites.h"
#include "cpython/values/code_variables.h"
#include "waits/blocked_call.h"
#include "waits/pthreads.h"

namespace pystack::cpython {

namespace {

using model::WaitKind;

/// The first frame from `first` on that runs Python code.
std::optional<std::size_t> python_frame(std::span<const RawFrame> frames, std::size_t first) {
    for (std::size_t i = first; i < frames.size(); ++i) {
        if (!frames[i].shim) return i;
    }
    return std::nullopt;
}

WaitKind kind_of(waits::CallKind kind) {
    switch (kind) {
        case waits::CallKind::kFutex:
            return WaitKind::kFutex;
        case waits::CallKind::kSleep:
            return WaitKind::kTimer;
        case waits::CallKind::kPoll:
            return WaitKind::kPoll;
        case waits::CallKind::kDescriptor:
            return WaitKind::kDescriptor;
        case waits::CallKind::kFileLock:
            return WaitKind::kFileLock;
        case waits::CallKind::kChild:
            return WaitKind::kProcess;
        case waits::CallKind::kSignal:
            break;
    }
    return WaitKind::kSignal;
}

FoundWait from_call(const waits::BlockedCall& call) {
    FoundWait wait;
    wait.wait.kind = kind_of(call.kind);
    wait.wait.call = call.name;
    wait.wait.is_timed = call.is_timed;
    wait.wait.timeout_ns = call.timeout_ns;
    wait.wait.fd = call.fd;
    wait.wait.pid = call.pid;
    wait.wait.count = call.count;
    if (call.address) wait.wait.address = call.address.value;
    wait.deadline_ns = call.deadline_ns;
    wait.clock = call.clock;
    return wait;
}

}  // namespace

std::optional<FoundWait> WaitFinder::find(std::span<const RawFrame> frames,
                                          const arch::Syscall& call,
                                          const FindThread& find_thread) {
    arch::Syscall made = call;
    const auto futex = waits::waited_futex(made);
    // It may be another call; then the address leads to no lock.
    const bool is_guess = futex && made.number == arch::kRestartSyscall;
    if (is_guess) made.number = arch::kFutexSyscall;
    const auto blocked = waits::describe_call(made, memory_);
    if (!blocked) return std::nullopt;
    FoundWait wait = from_call(*blocked);
    if (!futex) return wait;
    find_lock(frames, *futex, wait);
    if (!wait.lock) find_object(frames, *futex, wait);
    if (!wait.object) find_native_object(made, find_thread, wait);
    if (is_guess && wait.wait.kind == WaitKind::kFutex) return std::nullopt;
    if (wait.object && locks_.may_be_woken(*futex)) return std::nullopt;
    find_site(frames, wait);
    find_name(frames, wait);
    find_pool(frames, wait);
    find_exit(frames, wait);
    return wait;
}

/// Of the innermost Python frame.
std::vector<RemoteAddr> WaitFinder::innermost_objects(std::span<const RawFrame> frames) const {
    const auto first = python_frame(frames, 0);
    const Code* code = first ? code_of(codes_, frames[*first]) : nullptr;
    if (code == nullptr) return {};
    return objects_.all(memory_, *code, frames[*first]);
}

void WaitFinder::find_lock(std::span<const RawFrame> frames, RemoteAddr futex, FoundWait& wait) {
    const auto lock = locks_.waited_lock(futex, innermost_objects(frames));
    if (!lock) return;
    wait.lock = *lock;
    wait.wait.kind = WaitKind::kLock;
    wait.wait.address = lock->object.value;
    wait.object = lock->object;
    if (const auto type = types_.of(lock->object)) wait.wait.type = types_.full_name(**type);
}

/// What is written in C and has a semaphore of its own.
void WaitFinder::find_object(std::span<const RawFrame> frames, RemoteAddr futex, FoundWait& wait) {
    const auto objects = innermost_objects(frames);
    wait.object = waited_simple_queue(memory_, layout_, types_, futex, objects);
    wait.wait.kind = WaitKind::kQueueItem;
    if (!wait.object) {
        wait.object = waited_process_semaphore(memory_, layout_, types_, futex, objects);
        wait.wait.kind = wait.object ? WaitKind::kSemaphore : WaitKind::kFutex;
    }
    if (!wait.object) return;
    wait.wait.address = wait.object.value;
    if (const auto type = types_.of(wait.object)) wait.wait.type = types_.full_name(**type);
}

/// Memory that only looks like a mutex can give any number: it counts if a thread has it.
void WaitFinder::find_native_object(const arch::Syscall& call, const FindThread& find_thread,
                                    FoundWait& wait) {
    if (const auto mutex = waits::waited_mutex(call, memory_)) {
        wait.holder_tid = find_thread(mutex->owner);
        if (!wait.holder_tid) return;
        wait.wait.kind = WaitKind::kMutex;
        wait.wait.address = mutex->address.value;
    } else if (const auto joined = waits::joined_thread(call, memory_)) {
        wait.holder_tid = find_thread(*joined);
        wait.proof = model::HolderProof::kThread;
        if (wait.holder_tid) wait.wait.kind = WaitKind::kThread;
    } else if (waits::waits_on_condition(call, memory_)) {
        wait.wait.kind = WaitKind::kNativeCondition;
    }
}

/// The call of the standard library that waits, if it says more than its lock.
void WaitFinder::find_site(std::span<const RawFrame> frames, FoundWait& wait) {
    const auto site = find_wait_site(memory_, frames, codes_, objects_, types_);
    if (!site) return;
    wait.site_frame = site->frame;
    // It waits for what the condition is about, not for the lock of the condition: that would be
    // the lock with which it began, or which it takes again.
    if (site->kind != WaitKind::kThread && wait.lock && locks_.lock_of(site->object) == wait.lock) {
        return;
    }
    wait.wait.kind = site->kind;
    wait.wait.address = site->object.value;
    wait.object = site->object;
    wait.lock.reset();
    const auto type = types_.of(site->object);
    if (type) wait.wait.type = types_.full_name(**type);
    find_target(site->object, wait);
}

void WaitFinder::find_target(RemoteAddr object, FoundWait& wait) {
    if (wait.wait.kind == WaitKind::kThread) {
        wait.holder_ident = identifier(object, "_ident");
        wait.proof = model::HolderProof::kThread;
    } else if (wait.wait.kind == WaitKind::kImportLock) {
        wait.holder_ident = import_owner(object);
        wait.wait.name = text(object, "name");
    }
}

void WaitFinder::find_name(std::span<const RawFrame> frames, FoundWait& wait) {
    if (!wait.object || !wait.wait.name.empty()) return;
    if (wait.wait.kind == WaitKind::kThread) {
        wait.wait.name = text(wait.object, "_name");
        return;
    }
    const auto user = python_frame(frames, wait.site_frame ? *wait.site_frame + 1 : 0);
    if (!user) return;
    const Code* code = code_of(codes_, frames[*user]);
    if (code == nullptr) return;
    wait.wait.name =
        ObjectNames(memory_, layout_, types_).find(wait.object, *code, frames[*user], objects_);
}

/// A worker of a ThreadPoolExecutor is idle in the function that fetches its work.
void WaitFinder::find_pool(std::span<const RawFrame> frames, FoundWait& wait) {
    if (wait.wait.kind != WaitKind::kQueueItem || wait.wait.name != "work_queue") return;
    const auto user = python_frame(frames, wait.site_frame ? *wait.site_frame + 1 : 0);
    const Code* code = user ? code_of(codes_, frames[*user]) : nullptr;
    if (code == nullptr || !ThreadPools::is_worker(*code)) return;
    wait.wait.kind = WaitKind::kWork;
    wait.wait.name.clear();
}

/// The main thread waits for the others at the end of the program, for one after another: up
/// to 3.12 for its lock, which is in a variable, then in C [Lib/threading.py,
/// Modules/_threadmodule.c].
void WaitFinder::find_exit(std::span<const RawFrame> frames, FoundWait& wait) const {
    const auto first = python_frame(frames, 0);
    const Code* code = first ? code_of(codes_, frames[*first]) : nullptr;
    if (code == nullptr || code->function.view() != "_shutdown" ||
        !code->file.view().ends_with("/threading.py") || python_frame(frames, *first + 1)) {
        return;
    }
    CodeVariables declared;
    if (!read_code_variables(memory_, layout_, *code, declared) || declared.problem) return;
    const auto variable = std::ranges::find(declared.slots, "lock", &CodeVariables::Slot::name);
    const bool is_it =
        variable == declared.slots.end()
            ? wait.wait.kind == WaitKind::kFutex || wait.wait.kind == WaitKind::kNativeCondition
            : wait.lock && objects_.variable(memory_, *code, frames[*first], variable->index,
                                             types_) == wait.lock->object;
    if (!is_it) return;
    wait.wait.kind = WaitKind::kThread;
    wait.wait.name.clear();
    wait.wait.type.clear();
    wait.lock.reset();
}

std::optional<std::uint64_t> WaitFinder::identifier(RemoteAddr object, std::string_view attribute) {
    const auto value = instance_attribute(memory_, layout_, object, attribute);
    if (!value || !*value) return std::nullopt;
    const auto number = int_value(memory_, layout_, types_, **value);
    return number ? std::optional(static_cast<std::uint64_t>(*number)) : std::nullopt;
}

std::string WaitFinder::text(RemoteAddr object, std::string_view attribute) {
    const auto value = instance_attribute(memory_, layout_, object, attribute);
    if (!value || !*value) return {};
    return ObjectNames(memory_, layout_, types_).text(**value);
}

}  // namespace pystack::cpython
