#include "capture/native_capture.h"

#include <unordered_map>
#include <utility>

#include "unwind/stack_bytes.h"

namespace pystack::capture {

Result<std::unique_ptr<NativeCapture>> NativeCapture::create(const target::Target& target,
                                                             const cpython::Runtime& runtime,
                                                             NativeOptions options) {
    PYSTACK_TRY(unwinder, unwind::NativeUnwinder::create(target, options.debug_files()));
    std::unique_ptr<NativeCapture> capture(
        new NativeCapture(target, runtime, std::move(unwinder), std::move(options)));
    PYSTACK_CHECK(capture->copies_.update_mappings());
    capture->unwinder_->code_map().open_all();
    return capture;
}

NativeCapture::NativeCapture(const target::Target& target, const cpython::Runtime& runtime,
                             std::unique_ptr<unwind::NativeUnwinder> unwinder,
                             NativeOptions options)
    : target_(target),
      runtime_(runtime),
      options_(std::move(options)),
      unwinder_(std::move(unwinder)),
      names_(runtime, unwinder_->code_map(), options_.debug_files()),
      copies_(target, runtime.layout, {}) {}

void NativeCapture::merge(Reading& reading) {
    const auto& c_frame = runtime_.layout.thread_state.cframe;
    std::unordered_map<std::size_t, std::vector<std::size_t>> states;  // By OS thread.
    for (std::size_t i = 0; i < reading.threads.size(); ++i) {
        const ThreadReading& thread = reading.threads[i];
        if (thread.info) states[*thread.info].push_back(i);
        if (copies_.copied() || !c_frame) continue;
        const auto pointer = target_.memory().read_pointer(thread.state.address + *c_frame);
        if (pointer) copies_.set_c_frame(thread.state.address, *pointer);
    }
    std::vector<RemoteAddr> interpreters;
    for (const auto& one : reading.walked.interpreters) interpreters.push_back(one.address);
    names_.use(cpython::read_function_names(target_.memory(), runtime_.layout, interpreters));
    for (std::size_t info = 0; info < reading.infos.size(); ++info) {
        const auto known = states.find(info);
        if (known == states.end() && !options_.all_threads) continue;
        std::vector<StateFrames> mine;
        if (known != states.end()) {
            for (const std::size_t i : known->second) {
                ThreadReading& thread = reading.threads[i];
                thread.native = reading.natives.size();
                mine.push_back({.thread = i,
                                .frames = thread.frames,
                                .c_frame = copies_.c_frame(thread.state.address)});
            }
        }
        const StackCopies::Thread* copied = copies_.find(reading.infos[info].tid);
        const unwind::StackBytes bytes(
            copied != nullptr ? copied->begin : RemoteAddr{},
            copied != nullptr ? copied->bytes : std::span<const std::byte>());
        const memory::MemoryReader& memory =
            copies_.copied() ? static_cast<const memory::MemoryReader&>(bytes) : target_.memory();
        reading.natives.push_back(
            {info, merge_thread(copied, memory, mine, runtime_.layout, *unwinder_, names_)});
    }
}

}  // namespace pystack::capture
