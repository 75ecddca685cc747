#include "capture/native_capture.h"

#include <algorithm>
#include <utility>

#include "capture/activations.h"
#include "unwind/stack_bytes.h"

namespace pystack::capture {

namespace {

/// Below the stack pointer a function may use this much [System V ABI, AMD64 supplement, 3.2.2].
constexpr std::uint64_t kRedZone = 128;
/// Of a stack that nobody knew of before the target was stopped: most threads use far less.
constexpr std::uint64_t kUnknownStack = 256 * 1024;
/// Stacks are 8 MiB as a rule. What is deeper than this would keep the target waiting for too long.
constexpr std::uint64_t kMaxStack = 64 << 20;
constexpr std::uint64_t kMaxStacks = 256 << 20;  ///< Of all threads.

}  // namespace

Result<std::unique_ptr<NativeCapture>> NativeCapture::create(const target::Target& target,
                                                             const cpython::Runtime& runtime,
                                                             NativeOptions options) {
    PYSTACK_TRY(unwinder, unwind::NativeUnwinder::create(
                              target, {.roots = options.debug_roots, .fetch = {}}));
    std::unique_ptr<NativeCapture> capture(
        new NativeCapture(target, runtime, std::move(unwinder), std::move(options)));
    PYSTACK_TRY(mappings, target.mappings());
    capture->mappings_ = std::move(mappings);
    unwind::CodeMap& modules = capture->unwinder_->code_map();
    for (std::uint32_t i = 0; i < modules.module_count(); ++i) modules.module(i);
    return capture;
}

NativeCapture::NativeCapture(const target::Target& target, const cpython::Runtime& runtime,
                             std::unique_ptr<unwind::NativeUnwinder> unwinder,
                             NativeOptions options)
    : target_(target),
      runtime_(runtime),
      options_(std::move(options)),
      unwinder_(std::move(unwinder)),
      names_(runtime, unwinder_->code_map(), {.roots = options_.debug_roots, .fetch = {}}) {
    // Not touched yet, so this costs nothing; what is copied into it costs page faults.
    buffer_ = std::make_unique_for_overwrite<std::byte[]>(kMaxStacks);
    threads_.reserve(1024);
    c_frames_.reserve(1024);
}

void NativeCapture::add_thread(std::int32_t tid, const threads::Registers& registers) {
    threads_.insert_or_assign(tid, CopiedThread{.registers = registers, .stack = {}});
}

std::uint64_t NativeCapture::stack_size(const threads::Registers& registers) const {
    const RemoteAddr sp = registers.sp();
    const elf::Mapping* mapping = elf::find_mapping(mappings_, sp);
    if (mapping == nullptr) return kUnknownStack;
    // C libraries put what the thread pointer points at above the stack of a thread, in the same
    // mapping. And stacks can lie side by side in one mapping, since guard pages need none of their
    // own [Linux 6.13, glibc 2.42].
    const RemoteAddr end = registers.thread_pointer();
    return (sp < end && end < mapping->range.end ? end : mapping->range.end) - sp;
}

void NativeCapture::copy_stacks(std::span<const cpython::ThreadState> states) {
    std::vector<memory::ReadRequest> requests;
    std::vector<CopiedThread*> owners;
    std::uint64_t used = 0;
    for (auto& [tid, thread] : threads_) {
        const RemoteAddr sp = thread.registers.sp();
        thread.stack = sp - std::min(sp.value, kRedZone);
        const std::uint64_t size = std::min(
            {stack_size(thread.registers) + (sp - thread.stack), kMaxStack, kMaxStacks - used});
        requests.push_back({thread.stack, {buffer_.get() + used, size}});
        owners.push_back(&thread);
        used += size;
    }
    // The others are found in the copied stacks.
    const auto& c_frame = runtime_.layout.thread_state.cframe;
    std::vector<std::uint64_t> c_frames(c_frame ? states.size() : 0);
    for (std::size_t i = 0; i < c_frames.size(); ++i) {
        requests.push_back({states[i].address + *c_frame,
                            std::as_writable_bytes(std::span(c_frames).subspan(i, 1))});
    }
    target_.memory().read_many(requests);
    for (std::size_t i = 0; i < owners.size(); ++i) {
        owners[i]->bytes = requests[i].destination.first(requests[i].done);
    }
    for (std::size_t i = 0; i < c_frames.size(); ++i) {
        if (requests[owners.size() + i].complete()) c_frames_[states[i].address] = {c_frames[i]};
    }
    copied_ = true;
}

void NativeCapture::clear() {
    threads_.clear();
    c_frames_.clear();
    copied_ = false;
}

void NativeCapture::merge(Reading& reading) {
    const auto& c_frame = runtime_.layout.thread_state.cframe;
    std::unordered_map<std::size_t, std::vector<std::size_t>> states;  // By OS thread.
    for (std::size_t i = 0; i < reading.threads.size(); ++i) {
        const ThreadReading& thread = reading.threads[i];
        if (thread.info) states[*thread.info].push_back(i);
        if (copied_ || !c_frame) continue;
        const auto pointer = target_.memory().read_pointer(thread.state.address + *c_frame);
        if (pointer) c_frames_[thread.state.address] = *pointer;
    }
    std::vector<RemoteAddr> interpreters;
    for (const auto& one : reading.walked.interpreters) interpreters.push_back(one.address);
    names_.use(cpython::read_function_names(target_.memory(), runtime_.layout, interpreters));
    for (std::size_t info = 0; info < reading.infos.size(); ++info) {
        const auto known = states.find(info);
        if (known == states.end() && !options_.all_threads) continue;
        const auto copied = threads_.find(reading.infos[info].tid);
        const std::span<const std::size_t> mine =
            known != states.end() ? std::span(known->second) : std::span<const std::size_t>();
        for (const std::size_t i : mine) reading.threads[i].native = reading.natives.size();
        reading.natives.push_back(merge_thread(
            reading, info, mine, copied != threads_.end() ? &copied->second : nullptr));
    }
}

NativeStack NativeCapture::merge_thread(const Reading& reading, std::size_t info,
                                        std::span<const std::size_t> states,
                                        const CopiedThread* copied) {
    NativeStack stack{.info = info};
    const unwind::StackBytes bytes(copied != nullptr ? copied->stack : RemoteAddr{},
                                   copied != nullptr ? copied->bytes : std::span<std::byte>());
    const memory::MemoryReader& memory =
        copied_ ? static_cast<const memory::MemoryReader&>(bytes) : target_.memory();
    if (copied != nullptr) {
        stack.end = unwinder_->unwind(copied->registers, memory, {}, stack.frames);
    } else {
        stack.is_missing = true;
    }

    std::vector<PythonSegment> segments;
    for (const std::size_t i : states) {
        const ThreadReading& thread = reading.threads[i];
        const auto c_frame = c_frames_.find(thread.state.address);
        const auto more = split_into_activations(
            runtime_.layout, thread.frames,
            c_frame != c_frames_.end() ? c_frame->second : RemoteAddr{}, memory, i);
        segments.insert(segments.end(), more.begin(), more.end());
    }
    // One thread in several interpreters: who was called last lies lowest.
    const auto has_anchor = [](const PythonSegment& segment) { return segment.anchor.has_value(); };
    if (states.size() > 1 && std::all_of(segments.begin(), segments.end(), has_anchor)) {
        std::stable_sort(segments.begin(), segments.end(),
                         [](const auto& a, const auto& b) { return *a.anchor < *b.anchor; });
    }
    const bool by_name = std::none_of(segments.begin(), segments.end(), has_anchor);
    std::vector<NativeActivation> activations;
    for (const unwind::NativeFrame& frame : stack.frames) {
        const bool is_loop = by_name && !segments.empty() && names_.is_loop(frame);
        activations.push_back({.sp = frame.sp, .is_loop = is_loop});
    }
    const bool complete = stack.end.end == unwind::UnwindEnd::kComplete && !stack.is_missing;
    stack.merged = merge_stacks(activations, complete, segments);
    return stack;
}

}  // namespace pystack::capture
