#include "merge/stack_copies.h"

#include <algorithm>
#include <utility>

namespace pystack::merge {

namespace {

/// Below the stack pointer a function may use this much [System V ABI, AMD64 supplement, 3.2.2].
constexpr std::uint64_t kRedZone = 128;
/// Of a stack that nobody knew of before the target was stopped: most threads use far less.
constexpr std::uint64_t kUnknownStack = 256 * 1024;

}  // namespace

StackCopies::StackCopies(const target::Target& target, const cpython::Layout& layout,
                         StackCopyLimits limits)
    : target_(target), layout_(layout), limits_(limits) {
    // Not touched yet, so this costs nothing; what is copied into it costs page faults.
    buffer_ = std::make_unique_for_overwrite<std::byte[]>(limits_.all);
    threads_.reserve(1024);
    c_frames_.reserve(1024);
}

Result<void> StackCopies::update_mappings() {
    PYSTACK_TRY(mappings, target_.mappings());
    mappings_.clear();
    for (const elf::Mapping& mapping : mappings) mappings_.push_back(mapping.range);
    met_unknown_stack_ = false;
    return {};
}

void StackCopies::add_thread(std::int32_t tid, const arch::Registers& registers) {
    threads_.insert_or_assign(tid, Thread{.registers = registers, .begin = {}});
}

std::uint64_t StackCopies::stack_size(const arch::Registers& registers) {
    const RemoteAddr sp = registers.sp();
    const auto mapping = std::ranges::upper_bound(mappings_, sp, {}, &RemoteRange::end);
    if (mapping == mappings_.end() || !mapping->contains(sp)) {
        met_unknown_stack_ = true;
        return kUnknownStack;
    }
    // C libraries put what the thread pointer points at above the stack of a thread, in the same
    // mapping. And stacks can lie side by side in one mapping, since guard pages need none of their
    // own [Linux 6.13, glibc 2.42].
    const RemoteAddr end = registers.thread_pointer();
    return (sp < end && end < mapping->end ? end : mapping->end) - sp;
}

void StackCopies::copy(std::span<const cpython::ThreadState> states) {
    requests_.clear();
    owners_.clear();
    std::uint64_t used = 0;
    for (auto& [tid, thread] : threads_) {
        const RemoteAddr sp = thread.registers.sp();
        thread.begin = sp - std::min(sp.value, kRedZone);
        const std::uint64_t size = std::min(
            {stack_size(thread.registers) + (sp - thread.begin), limits_.one, limits_.all - used});
        requests_.push_back({thread.begin, {buffer_.get() + used, size}});
        owners_.push_back(&thread);
        used += size;
    }
    // The others are found in the copied stacks.
    const auto& field = layout_.thread_state.cframe;
    std::vector<std::uint64_t> c_frames(field ? states.size() : 0);
    for (std::size_t i = 0; i < c_frames.size(); ++i) {
        requests_.push_back({states[i].address + *field,
                             std::as_writable_bytes(std::span(c_frames).subspan(i, 1))});
    }
    target_.memory().read_many(requests_);
    for (std::size_t i = 0; i < owners_.size(); ++i) {
        owners_[i]->bytes = requests_[i].destination.first(requests_[i].done);
    }
    for (std::size_t i = 0; i < c_frames.size(); ++i) {
        if (requests_[owners_.size() + i].complete()) c_frames_[states[i].address] = {c_frames[i]};
    }
    copied_ = true;
}

void StackCopies::clear() {
    threads_.clear();
    c_frames_.clear();
    copied_ = false;
}

const StackCopies::Thread* StackCopies::find(std::int32_t tid) const {
    const auto place = threads_.find(tid);
    return place != threads_.end() ? &place->second : nullptr;
}

RemoteAddr StackCopies::c_frame(RemoteAddr thread_state) const {
    const auto place = c_frames_.find(thread_state);
    return place != c_frames_.end() ? place->second : RemoteAddr{};
}

void StackCopies::set_c_frame(RemoteAddr thread_state, RemoteAddr c_frame) {
    c_frames_.insert_or_assign(thread_state, c_frame);
}

}  // namespace pystack::merge
