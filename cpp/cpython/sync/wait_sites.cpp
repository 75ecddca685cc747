#include "cpython/sync/wait_sites.h"

#include <algorithm>
#include <string_view>

namespace pystack::cpython {

namespace {

using model::WaitKind;

struct KnownCall {
    std::string_view function;
    ValueKind self;
    WaitKind kind;
};

/// Lib/threading.py, queue.py, concurrent/futures/_base.py, importlib/_bootstrap.py of 3.6 to 3.15.
constexpr KnownCall kCalls[] = {
    {"wait", ValueKind::kCondition, WaitKind::kCondition},
    {"wait_for", ValueKind::kCondition, WaitKind::kCondition},
    {"wait", ValueKind::kEvent, WaitKind::kEvent},
    {"acquire", ValueKind::kSemaphore, WaitKind::kSemaphore},
    {"wait", ValueKind::kBarrier, WaitKind::kBarrier},
    {"_wait", ValueKind::kBarrier, WaitKind::kBarrier},
    {"_enter", ValueKind::kBarrier, WaitKind::kBarrier},
    {"get", ValueKind::kQueue, WaitKind::kQueueItem},
    {"get", ValueKind::kSimpleQueue, WaitKind::kQueueItem},
    {"get", ValueKind::kPySimpleQueue, WaitKind::kQueueItem},
    {"put", ValueKind::kQueue, WaitKind::kQueueSpace},
    {"join", ValueKind::kQueue, WaitKind::kQueueTasks},
    {"join", ValueKind::kThread, WaitKind::kThread},
    {"_wait_for_tstate_lock", ValueKind::kThread, WaitKind::kThread},
    {"result", ValueKind::kFuture, WaitKind::kFuture},
    {"exception", ValueKind::kFuture, WaitKind::kFuture},
    {"acquire", ValueKind::kModuleLock, WaitKind::kImportLock},
};
/// Calls inside of each other: Barrier.wait, Barrier._wait, Condition.wait_for, Condition.wait.
constexpr int kMostCalls = 8;

const KnownCall* known_call(const memory::MemoryReader& memory, const RawFrame& frame,
                            const CodeReader& codes, const FrameObjects& objects, TypeCache& types,
                            RemoteAddr& self) {
    const Code* code = codes.find(frame.code);
    if (code == nullptr || code->problem) return nullptr;
    const std::string_view function = code->function.view();
    if (!may_be_wait_site(function)) return nullptr;
    self = objects.first_argument(memory, *code, frame, types);
    const auto type = self ? types.of(self) : fail(Error{});
    if (!type) return nullptr;
    const auto found = std::ranges::find_if(kCalls, [&](const KnownCall& call) {
        return call.function == function && call.self == (*type)->kind;
    });
    return found == std::ranges::end(kCalls) ? nullptr : &*found;
}

}  // namespace

std::optional<WaitSite> find_wait_site(const memory::MemoryReader& memory,
                                       std::span<const RawFrame> frames, const CodeReader& codes,
                                       const FrameObjects& objects, TypeCache& types) {
    std::optional<WaitSite> site;
    int calls = 0;
    for (std::size_t i = 0; i < frames.size() && calls < kMostCalls; ++i) {
        if (frames[i].shim) continue;
        RemoteAddr self;
        const KnownCall* call = known_call(memory, frames[i], codes, objects, types, self);
        if (call == nullptr) break;
        site = WaitSite{.kind = call->kind, .object = self, .frame = i};
        ++calls;
    }
    return site;
}

std::optional<RemoteAddr> condition_of_wait(const memory::MemoryReader& memory,
                                            const RawFrame& frame, const CodeReader& codes,
                                            const FrameObjects& objects, TypeCache& types) {
    if (frame.shim) return RemoteAddr{};
    const Code* code = codes.find(frame.code);
    if (code == nullptr || code->problem) return std::nullopt;
    const auto is_wait = [&](const KnownCall& call) {
        return call.self == ValueKind::kCondition && call.function == code->function.view();
    };
    if (std::ranges::none_of(kCalls, is_wait)) return RemoteAddr{};
    const RemoteAddr self = objects.first_argument(memory, *code, frame, types);
    const auto type = self ? types.of(self) : fail(Error{});
    if (!type) return std::nullopt;
    return (*type)->kind == ValueKind::kCondition ? self : RemoteAddr{};
}

bool may_be_wait_site(std::string_view function) {
    return std::ranges::find(kCalls, function, &KnownCall::function) != std::ranges::end(kCalls);
}

}  // namespace pystack::cpython
