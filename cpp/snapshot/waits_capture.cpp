#include "snapshot/waits_capture.h"

#include <algorithm>

#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/objects.h"
#include "cpython/sync/object_names.h"
#include "cpython/sync/process_semaphores.h"
#include "cpython/sync/simple_queues.h"
#include "cpython/sync/wait_sites.h"
#include "snapshot/stack_ends.h"
#include "waits/blocked_call.h"
#include "waits/mutexes.h"

namespace pystack::snapshot {

namespace {

using cpython::Code;
using cpython::FoundLock;
using cpython::RawFrame;
using cpython::ValueKind;
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

RawWait from_call(const waits::BlockedCall& call) {
    RawWait wait;
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

WaitsCapture::WaitsCapture(const memory::MemoryReader& memory, const cpython::Layout& layout,
                           cpython::CodeReader& codes)
    : memory_(memory),
      layout_(layout),
      codes_(codes),
      pages_(memory),
      types_(pages_, layout_),
      locks_(pages_, layout_, types_),
      objects_(layout_, codes),
      holders_(pages_, layout_, types_, locks_, objects_),
      workers_(pages_, layout_, types_, objects_) {}

void WaitsCapture::rehearse(RawSnapshot& raw) {
    load_codes(raw);
    find_all(raw);
}

void WaitsCapture::copy(RawSnapshot& raw) {
    types_.clear();
    pages_.copy_again();
    load_codes(raw);
    // Of threads that have moved since, the frames at least.
    std::vector<RemoteAddr> frames;
    for (const RawThread& thread : raw.threads) {
        if (const auto first = python_frame(thread.frames, 0))
            frames.push_back(thread.frames[*first].address);
        for_each_end(thread.frames, [&](std::size_t i) {
            const Code* code = code_of(raw, thread.frames[i]);
            if (code != nullptr &&
                (objects_.has_with_blocks(*code) ||
                 cpython::may_be_wait_site(code->function.view()) ||
                 cpython::ThreadPools::is_worker(*code) || cpython::ThreadPools::is_work(*code))) {
                frames.push_back(thread.frames[i].address);
            }
        });
    }
    pages_.fetch(frames);
}

void WaitsCapture::find(RawSnapshot& raw) {
    pages_.freeze(true);
    find_all(raw);
    pages_.freeze(false);
}

void WaitsCapture::read(RawSnapshot& raw) {
    types_.clear();
    pages_.clear();
    load_codes(raw);
    find_all(raw);
}

/// Code objects do not change: what is known of them need not be copied again.
void WaitsCapture::load_codes(const RawSnapshot& raw) {
    memory::PageCache pages(memory_);
    for (const RawThread& thread : raw.threads) {
        for_each_end(thread.frames, [&](std::size_t i) {
            if (const Code* code = code_of(raw, thread.frames[i])) objects_.load(pages, *code);
        });
    }
}

void WaitsCapture::find_all(RawSnapshot& raw) {
    for (RawThread& thread : raw.threads) thread.wait = find_wait(raw, thread);
    holders_.find(raw);
    workers_.find(raw);
}

std::optional<RawWait> WaitsCapture::find_wait(const RawSnapshot& raw, const RawThread& thread) {
    if (!thread.call) return std::nullopt;
    arch::Syscall made = original(raw, thread);
    const auto futex = waits::waited_futex(made);
    const auto& gil = raw.gils[thread.state.interpreter];
    if (futex && gil && gil->is_at(*futex)) return std::nullopt;
    // It may be another call; then the address leads to no lock.
    const bool is_guess = futex && made.number == arch::kRestartSyscall;
    if (is_guess) made.number = arch::kFutexSyscall;
    const auto call = waits::describe_call(made, pages_);
    if (!call) return std::nullopt;
    RawWait wait = from_call(*call);
    wait.call = thread.call;
    if (futex) {
        find_lock(raw, thread, *futex, wait);
        if (!wait.lock) find_object(raw, thread, *futex, wait);
        if (!wait.object) find_mutex(raw, made, wait);
        if (is_guess && !wait.object && !wait.holder_tid) return std::nullopt;
        if (wait.object && locks_.may_be_woken(*futex)) return std::nullopt;
        find_site(raw, thread, wait);
        find_name(raw, thread, wait);
        find_pool(raw, thread, wait);
    }
    return wait;
}

/// The call that a restart_syscall continues. Code does not change, so it need not be copied.
arch::Syscall WaitsCapture::original(const RawSnapshot& raw, const RawThread& thread) const {
    arch::Syscall call = *thread.call;
    if (!thread.info) return call;
    const std::int32_t tid = raw.infos[*thread.info].tid;
    const auto told = raw.restarted.find(tid);
    const auto pc = raw.restarts.find(tid);
    if (told != raw.restarted.end()) {
        call.number = told->second;
    } else if (pc != raw.restarts.end()) {
        call.number = waits::call_before(memory_, pc->second).value_or(call.number);
    }
    return call;
}

/// Of the innermost Python frame.
std::vector<RemoteAddr> WaitsCapture::innermost_objects(const RawSnapshot& raw,
                                                        const RawThread& thread) const {
    const auto first = python_frame(thread.frames, 0);
    const Code* code = first ? code_of(raw, thread.frames[*first]) : nullptr;
    if (code == nullptr) return {};
    return objects_.all(pages_, *code, thread.frames[*first]);
}

void WaitsCapture::find_lock(const RawSnapshot& raw, const RawThread& thread, RemoteAddr futex,
                             RawWait& wait) {
    const auto lock = locks_.waited_lock(futex, innermost_objects(raw, thread));
    if (!lock) return;
    wait.lock = *lock;
    wait.wait.kind = WaitKind::kLock;
    wait.wait.address = lock->object.value;
    wait.object = lock->object;
    if (const auto type = types_.of(lock->object)) wait.wait.type = types_.full_name(**type);
}

/// What is written in C and has a semaphore of its own.
void WaitsCapture::find_object(const RawSnapshot& raw, const RawThread& thread, RemoteAddr futex,
                               RawWait& wait) {
    const auto objects = innermost_objects(raw, thread);
    wait.object = cpython::waited_simple_queue(pages_, layout_, types_, futex, objects);
    wait.wait.kind = WaitKind::kQueueItem;
    if (!wait.object) {
        wait.object = cpython::waited_process_semaphore(pages_, layout_, types_, futex, objects);
        wait.wait.kind = wait.object ? WaitKind::kSemaphore : WaitKind::kFutex;
    }
    if (!wait.object) return;
    wait.wait.address = wait.object.value;
    if (const auto type = types_.of(wait.object)) wait.wait.type = types_.full_name(**type);
}

void WaitsCapture::find_mutex(const RawSnapshot& raw, const arch::Syscall& call, RawWait& wait) {
    const auto owner = waits::mutex_owner(call, pages_);
    const auto is_owner = [&](const target::ThreadInfo& info) {
        return info.namespace_tid.value_or(info.tid) == owner;
    };
    const auto found = std::ranges::find_if(raw.infos, is_owner);
    if (!owner || found == raw.infos.end()) return;
    wait.wait.kind = WaitKind::kMutex;
    wait.holder_tid = found->tid;
}

/// The call of the standard library that waits, if it says more than its lock.
void WaitsCapture::find_site(const RawSnapshot& raw, const RawThread& thread, RawWait& wait) {
    const auto site = cpython::find_wait_site(pages_, thread.frames, raw.codes, objects_, types_);
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

void WaitsCapture::find_target(RemoteAddr object, RawWait& wait) {
    if (wait.wait.kind == WaitKind::kThread) {
        wait.holder_ident = identifier(object, "_ident");
        wait.proof = model::HolderProof::kThread;
    } else if (wait.wait.kind == WaitKind::kImportLock) {
        wait.holder_ident = identifier(object, "owner");
        wait.wait.name = text(object, "name");
    }
}

void WaitsCapture::find_name(const RawSnapshot& raw, const RawThread& thread, RawWait& wait) {
    if (!wait.object || !wait.wait.name.empty()) return;
    if (wait.wait.kind == WaitKind::kThread) {
        wait.wait.name = text(wait.object, "_name");
        return;
    }
    const auto user = python_frame(thread.frames, wait.site_frame ? *wait.site_frame + 1 : 0);
    if (!user) return;
    const Code* code = code_of(raw, thread.frames[*user]);
    if (code == nullptr) return;
    wait.wait.name = cpython::ObjectNames(pages_, layout_, types_)
                         .find(wait.object, *code, thread.frames[*user], objects_);
}

/// A worker of a ThreadPoolExecutor is idle in the function that fetches its work.
void WaitsCapture::find_pool(const RawSnapshot& raw, const RawThread& thread, RawWait& wait) {
    if (wait.wait.kind != WaitKind::kQueueItem || wait.wait.name != "work_queue") return;
    const auto user = python_frame(thread.frames, wait.site_frame ? *wait.site_frame + 1 : 0);
    const Code* code = user ? code_of(raw, thread.frames[*user]) : nullptr;
    if (code == nullptr || !cpython::ThreadPools::is_worker(*code)) return;
    wait.wait.kind = WaitKind::kWork;
    wait.wait.name.clear();
}

std::optional<std::uint64_t> WaitsCapture::identifier(RemoteAddr object,
                                                      std::string_view attribute) {
    const auto value = cpython::instance_attribute(pages_, layout_, object, attribute);
    if (!value || !*value) return std::nullopt;
    const auto type = types_.of(**value);
    if (!type || (*type)->kind != ValueKind::kInt) return std::nullopt;
    const auto number = cpython::read_int64(pages_, layout_, **value);
    if (!number || !*number) return std::nullopt;
    return static_cast<std::uint64_t>(**number);
}

std::string WaitsCapture::text(RemoteAddr object, std::string_view attribute) {
    const auto value = cpython::instance_attribute(pages_, layout_, object, attribute);
    if (!value || !*value) return {};
    return cpython::ObjectNames(pages_, layout_, types_).text(**value);
}

}  // namespace pystack::snapshot
