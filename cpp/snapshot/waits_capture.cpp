#include "snapshot/waits_capture.h"

#include <algorithm>
#include <utility>

#include "cpython/sync/stack_ends.h"
#include "cpython/sync/wait_sites.h"
#include "waits/blocked_call.h"

namespace pystack::snapshot {

namespace {

using cpython::Code;

/// The first frame that runs Python code.
std::optional<std::size_t> python_frame(std::span<const cpython::RawFrame> frames) {
    for (std::size_t i = 0; i < frames.size(); ++i) {
        if (!frames[i].shim) return i;
    }
    return std::nullopt;
}

}  // namespace

WaitsCapture::WaitsCapture(const memory::MemoryReader& memory, const cpython::Layout& layout,
                           cpython::CodeReader& codes)
    : memory_(memory),
      readers_(memory, layout, codes),
      holders_(readers_),
      workers_(readers_.pages, readers_.layout, readers_.types, readers_.objects) {}

void WaitsCapture::rehearse(RawSnapshot& raw) {
    load_codes(raw);
    find_all(raw, cpython::NewCode::kRead);
    generators_ = readers_.held.take_generators();
}

void WaitsCapture::copy(RawSnapshot& raw) {
    readers_.types.clear();
    readers_.pages.copy_again();
    load_codes(raw);
    raw.codes.verify(generators_);
    // Of threads that have moved since, the frames at least.
    std::vector<RemoteAddr> frames;
    for (const RawThread& thread : raw.threads) {
        if (const auto first = python_frame(thread.frames))
            frames.push_back(thread.frames[*first].address);
        const auto note = [&](const Code& code, const cpython::RawFrame& frame) {
            if (readers_.objects.has_with_blocks(code) ||
                cpython::may_be_wait_site(code.function.view()) || FutureWorkers::reads(code)) {
                frames.push_back(frame.address);
            }
        };
        cpython::for_each_code(raw.codes, thread.frames, note);
    }
    readers_.pages.fetch(frames);
}

void WaitsCapture::find(RawSnapshot& raw) {
    readers_.pages.freeze(true);
    find_all(raw, cpython::NewCode::kSkip);
    readers_.pages.freeze(false);
}

void WaitsCapture::read(RawSnapshot& raw) {
    readers_.types.clear();
    readers_.pages.clear();
    load_codes(raw);
    find_all(raw, cpython::NewCode::kRead);
}

/// Code objects do not change: what is known of them need not be copied again.
void WaitsCapture::load_codes(const RawSnapshot& raw) {
    memory::PageCache pages(memory_);
    for (const RawThread& thread : raw.threads) readers_.load(pages, raw.codes, thread.frames);
}

void WaitsCapture::find_all(RawSnapshot& raw, cpython::NewCode new_code) {
    for (RawThread& thread : raw.threads) thread.wait = find_wait(raw, thread);
    holders_.find(raw, new_code);
    workers_.find(raw);
}

std::optional<RawWait> WaitsCapture::find_wait(const RawSnapshot& raw, const RawThread& thread) {
    if (!thread.call) return std::nullopt;
    const arch::Syscall made = original(raw, thread);
    const auto futex = waits::waited_futex(made);
    const auto& gil = raw.gils[thread.state.interpreter];
    if (futex && gil && gil->is_at(*futex)) return std::nullopt;
    const auto find_thread = [&](std::int32_t own_tid) -> std::optional<std::int32_t> {
        const auto found = std::ranges::find_if(raw.infos, [&](const target::ThreadInfo& info) {
            return info.namespace_tid.value_or(info.tid) == own_tid;
        });
        return found == raw.infos.end() ? std::nullopt : std::optional(found->tid);
    };
    auto found = readers_.finder.find(thread.frames, made, find_thread);
    if (!found) return std::nullopt;
    RawWait wait{std::move(*found)};
    wait.call = thread.call;
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

}  // namespace pystack::snapshot
