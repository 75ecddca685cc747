#include "snapshot/native_capture.h"

#include <unordered_map>
#include <utility>

#include "unwind/stack_bytes.h"

namespace pystack::snapshot {

namespace {

/// What a thread takes besides its frames: here, in the snapshot, and as objects of Python.
constexpr std::uint64_t kThreadBytes = 2048;
/// This part of the memory limit may go to native stacks before they have names.
constexpr std::uint64_t kStacksShare = 4;

}  // namespace

Result<std::unique_ptr<NativeCapture>> NativeCapture::create(const target::Target& target,
                                                             const cpython::Runtime& runtime,
                                                             merge::NativeOptions options) {
    PYSTACK_TRY(unwinder, unwind::NativeUnwinder::create(
                              target, options.debug_files(target.shared_limits())));
    std::unique_ptr<NativeCapture> capture(
        new NativeCapture(target, runtime, std::move(unwinder), std::move(options)));
    PYSTACK_CHECK(capture->copies_.update_mappings());
    capture->unwinder_->code_map().open_all();
    return capture;
}

NativeCapture::NativeCapture(const target::Target& target, const cpython::Runtime& runtime,
                             std::unique_ptr<unwind::NativeUnwinder> unwinder,
                             merge::NativeOptions options)
    : target_(target),
      runtime_(runtime),
      options_(std::move(options)),
      unwinder_(std::move(unwinder)),
      names_(runtime, unwinder_->code_map(), options_.debug_files(target.shared_limits())),
      copies_(target, runtime.layout, {}),
      share_(target.limits(), kStacksShare) {}

void NativeCapture::merge(RawSnapshot& raw, std::optional<std::int32_t> also) {
    const auto& c_frame = runtime_.layout.thread_state.cframe;
    std::unordered_map<std::size_t, std::span<const std::size_t>> states;  // By OS thread.
    for (const std::vector<std::size_t>& one : raw.os_threads()) {
        if (const auto& info = raw.threads[one.front()].info) states.emplace(*info, one);
    }
    for (const RawThread& thread : raw.threads) {
        if (copies_.copied() || !c_frame) continue;
        const auto pointer = target_.memory().read_pointer(thread.state.address + *c_frame);
        if (pointer) copies_.set_c_frame(thread.state.address, *pointer);
    }
    std::vector<RemoteAddr> interpreters;
    for (const auto& one : raw.walked.interpreters) interpreters.push_back(one.address);
    names_.use(cpython::read_function_names(target_.memory(), runtime_.layout, interpreters));
    // Those that run Python are worth more than the others.
    for (const bool runs_python : {true, false}) {
        for (std::size_t info = 0; info < raw.infos.size(); ++info) {
            const auto known = states.find(info);
            if ((known != states.end()) != runs_python) continue;
            if (!runs_python && !options_.all_threads && raw.infos[info].tid != also) continue;
            if (target_.limits().cancelled()) return;
            merge_one(raw, info, runs_python ? known->second : std::span<const std::size_t>());
        }
    }
}

void NativeCapture::merge_one(RawSnapshot& raw, std::size_t info,
                              std::span<const std::size_t> states) {
    if (!share_.charge(kThreadBytes)) {
        ++refused_threads_;
        return;
    }
    std::vector<merge::StateFrames> mine;
    for (const std::size_t i : states) {
        mine.push_back({.thread = i,
                        .frames = raw.threads[i].frames,
                        .c_frame = copies_.c_frame(raw.threads[i].state.address)});
    }
    const merge::StackCopies::Thread* copied = copies_.find(raw.infos[info].tid);
    const unwind::StackBytes bytes = merge::StackCopies::memory_of(copied);
    const memory::MemoryReader& memory =
        copies_.copied() ? static_cast<const memory::MemoryReader&>(bytes) : target_.memory();
    merge::ThreadStack stack =
        merge::merge_thread(copied, memory, mine, runtime_.layout, *unwinder_, names_);
    const std::uint64_t frames = stack.frames.size() + stack.merged.frames.size();
    if (!share_.charge(frames * sizeof(modules::NativeFrame))) {
        ++refused_threads_;
        return;
    }
    for (const std::size_t i : states) raw.threads[i].native = raw.natives.size();
    raw.natives.push_back({info, std::move(stack)});
}

}  // namespace pystack::snapshot
