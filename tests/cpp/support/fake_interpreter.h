#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "support/fake_heap.h"

namespace pystack::testing {

/// The lists of interpreters, threads and frames, as the interpreter of `layout` would have them.
/// Unlike other fake memory it is readable by whole pages, as a process's is.
class FakeInterpreter {
  public:
    static constexpr std::uint64_t kFirstPage = 16 << 20;

    explicit FakeInterpreter(const Layout& of) : layout(of), heap(layout) {
        if (const auto offset = layout.runtime_state.interpreters_head) {
            const std::size_t size = std::max(layout.runtime_state.struct_size, *offset + 64);
            runtime_address = allocate(size);
            interpreters_head = runtime_address + *offset;
        } else {
            interpreters_head = allocate(8);
        }
    }

    FakeMemory& memory() { return heap.memory; }

    // Zeroed, in pages of its own.
    RemoteAddr allocate(std::uint64_t size) {
        const RemoteAddr page{next_page_};
        const std::uint64_t bytes = (kOffset + size + kPage - 1) / kPage * kPage;
        next_page_ += bytes + kPage;
        memory().add(page, std::vector<std::byte>(bytes));
        pages_.push_back({page, page + bytes});
        return page + kOffset;
    }

    // All that was allocated, by rising address.
    const std::vector<RemoteRange>& pages() const { return pages_; }

    void unmap(RemoteAddr allocated) { memory().remove(allocated - kOffset); }

    // As CPython does, at the head of the list: newest first.
    RemoteAddr add_interpreter(std::int64_t id) {
        const auto& fields = layout.interpreter_state;
        const RemoteAddr interpreter = allocate(fields.struct_size);
        memory().put(interpreter + *fields.next, first_interpreter());
        if (fields.id) memory().put(interpreter + *fields.id, id);
        memory().put(interpreter + *fields.sysdict, dict());
        memory().put(interpreter + *fields.builtins, dict());
        memory().put(interpreters_head, interpreter);
        return interpreter;
    }

    // No more of it than its type.
    RemoteAddr dict() {
        const RemoteAddr type = allocate(layout.type_object.struct_size);
        const RemoteAddr name = allocate(8);
        memory().put_text(name, "dict");
        memory().put(type + *layout.type_object.tp_name, name);
        const RemoteAddr object = allocate(layout.pyobject.struct_size + 64);
        memory().put(object + *layout.pyobject.ob_type, type);
        return object;
    }

    RemoteAddr first_interpreter() { return *memory().read_pointer(interpreters_head); }

    RemoteAddr add_thread(RemoteAddr interpreter, std::uint64_t pthread) {
        const auto& fields = layout.thread_state;
        const RemoteAddr head = interpreter + *layout.interpreter_state.threads_head;
        const RemoteAddr thread = allocate(fields.struct_size);
        memory().put(thread + *fields.next, *memory().read_pointer(head));
        memory().put(thread + *fields.interp, interpreter);
        memory().put(thread + *fields.thread_id, pthread);
        if (fields.native_thread_id) {
            memory().put(thread + *fields.native_thread_id, std::uint64_t{1000} + pthread);
        }
        if (fields.id) memory().put(thread + *fields.id, ++threads_made_);
        if (layout.frame_chain == cpython::FrameChain::kCFrame) {
            const RemoteAddr cframe = allocate(layout.cframe.struct_size);
            memory().put(thread + *fields.cframe, cframe);
            tops_[thread] = cframe + *layout.cframe.current_frame;
        } else if (layout.frame_chain == cpython::FrameChain::kFrameObject) {
            tops_[thread] = thread + *fields.frame;
        } else {
            tops_[thread] = thread + *fields.current_frame;
        }
        memory().put(head, thread);
        return thread;
    }

    // Where the pointer to the innermost frame of a thread is.
    RemoteAddr top(RemoteAddr thread) const { return tops_.at(thread); }

    void set_top(RemoteAddr thread, RemoteAddr frame) { memory().put(top(thread), frame); }

    // Runs no Python code any more: where there are C frames, the one inside of the thread state
    // says so.
    void leave_python(RemoteAddr thread) {
        if (layout.frame_chain == cpython::FrameChain::kCFrame) {
            const RemoteAddr root = thread + (layout.thread_state.struct_size - kRootFromEnd);
            memory().put(thread + *layout.thread_state.cframe, root);
            tops_[thread] = root + *layout.cframe.current_frame;
        }
        set_top(thread, {});
    }

    // One after the other in one piece, as on the data stack (objects of their own below 3.11).
    RemoteAddr frames(std::size_t count) { return allocate(count * frame_size()); }

    std::uint64_t frame_size() const {
        return (layout.interpreter_frame.struct_size + 32 + 7) / 8 * 8;
    }

    struct Frame {
        RemoteAddr previous;
        RemoteAddr code;
        std::uint64_t instruction = 0;
        std::uint8_t owner = 0;
        bool calls = true;
        bool is_entry = false;
    };

    void put_frame(RemoteAddr address, const Frame& frame) {
        const auto& fields = layout.interpreter_frame;
        memory().put(address + *fields.previous, frame.previous);
        memory().put(address + *fields.executable, frame.code);
        if (is_index()) {
            memory().put(address + *fields.instr_ptr, static_cast<std::int32_t>(frame.instruction));
        } else {
            memory().put(address + *fields.instr_ptr, frame.instruction);
        }
        if (fields.owner) memory().put(address + *fields.owner, frame.owner);
        if (fields.is_entry)
            memory().put(address + *fields.is_entry, static_cast<std::uint8_t>(frame.is_entry));
        put_calls(address, frame.calls);
    }

    // As Nuitka makes them. From 3.11 the frame is a part of its frame object.
    static constexpr std::uint64_t kObjectDistance = 136;
    RemoteAddr compiled_frame(RemoteAddr previous, RemoteAddr code, std::int32_t line) {
        const bool has_object = layout.frame_object.frame.has_value();
        const RemoteAddr object = allocate(kObjectDistance + frame_size());
        const RemoteAddr address = has_object ? object + kObjectDistance : object;
        put_frame(address, {.previous = previous,
                            .code = code,
                            .instruction = ~std::uint64_t{0},
                            .owner = layout.generator_owner});
        if (has_object) {
            memory().put(address + *layout.interpreter_frame.frame_object, object);
            memory().put(object + *layout.frame_object.frame, address);
        } else {
            memory().put(address + *layout.interpreter_frame.trace, RemoteAddr{0x9000});
        }
        set_line(address, line);
        return address;
    }

    void set_line(RemoteAddr compiled, std::int32_t line) {
        const RemoteAddr place = layout.frame_object.lineno
                                     ? compiled - kObjectDistance + *layout.frame_object.lineno
                                     : compiled + *layout.interpreter_frame.lineno;
        memory().put(place, line);
    }

    // Whether the frame says of itself that it may be a caller: by what it says, see
    // RawFrame::calls.
    void put_calls(RemoteAddr address, bool calls) {
        const auto& fields = layout.interpreter_frame;
        if (fields.executing)
            memory().put(address + *fields.executing, static_cast<std::uint8_t>(calls));
        // FRAME_EXECUTING, or FRAME_RETURNED.
        if (fields.state)
            memory().put(address + *fields.state, static_cast<std::int8_t>(calls ? 0 : 2));
        const RemoteAddr place = address + *layout.interpreter_frame.stackpointer;
        if (layout.stack_top == cpython::StackTop::kIndex)
            memory().put(place, std::int32_t{calls ? 1 : -1});
        if (layout.stack_top == cpython::StackTop::kPointer) {
            memory().put(place,
                         calls ? address + layout.interpreter_frame.struct_size : RemoteAddr{});
        }
    }

    // A stack of that depth in one piece: frame i is called by frame i - 1, and the last one runs.
    // Where versions have shims, frame 0 is called by one.
    RemoteAddr stack(RemoteAddr thread, std::size_t depth, RemoteAddr code) {
        const RemoteAddr base = frames(depth);
        for (std::size_t i = 0; i < depth; ++i) {
            const RemoteAddr previous = i == 0 ? shim() : frame(base, i - 1);
            put_frame(frame(base, i), {.previous = previous,
                                       .code = code,
                                       .instruction = 2 * i,
                                       .calls = i + 1 < depth || running_frames_call(),
                                       .is_entry = i == 0});
        }
        set_top(thread, frame(base, depth - 1));
        return base;
    }

    // Below 3.11 a frame says that it is executing, whether it calls or not.
    bool running_frames_call() const {
        return layout.interpreter_frame.executing || layout.interpreter_frame.state;
    }

    bool has_shims() const { return layout.entry_mark == cpython::EntryMark::kOwner; }

    // Ends the chain as the version does: null where it has no shims.
    RemoteAddr shim(RemoteAddr previous = {}) {
        if (!has_shims()) return previous;
        const RemoteAddr address = frames(1);
        put_frame(address, {.previous = previous, .owner = layout.first_shim_owner});
        return address;
    }

    RemoteAddr frame(RemoteAddr base, std::size_t index) const {
        return base + index * frame_size();
    }

    bool is_index() const {
        return layout.instruction == cpython::Instruction::kByteIndex ||
               layout.instruction == cpython::Instruction::kUnitIndex;
    }

    const Layout layout;
    FakeHeap heap;
    RemoteAddr runtime_address;
    RemoteAddr interpreters_head;

  private:
    static constexpr std::uint64_t kPage = 4096;
    static constexpr std::uint64_t kOffset = 64;
    static constexpr std::uint64_t kRootFromEnd = 32;

    std::uint64_t next_page_ = kFirstPage;
    std::vector<RemoteRange> pages_;
    std::map<RemoteAddr, RemoteAddr> tops_;
    std::uint64_t threads_made_ = 0;
};

struct LayoutKind {
    std::uint8_t minor;
    bool free_threaded;
};

inline constexpr LayoutKind kLayoutKinds[] = {
    {6, false},  {7, false},  {8, false},  {9, false}, {10, false}, {11, false}, {12, false},
    {13, false}, {14, false}, {15, false}, {13, true}, {14, true},  {15, true},
};

/// Calls `test(Fake&)` with an empty one of each version.
template <class Fake = FakeInterpreter, class Test>
void for_each_version(Test test) {
    for (const auto& [minor, free_threaded] : kLayoutKinds) {
        CAPTURE(minor);
        CAPTURE(free_threaded);
        Fake fake(layout_of(minor, free_threaded));
        test(fake);
    }
}

}  // namespace pystack::testing
