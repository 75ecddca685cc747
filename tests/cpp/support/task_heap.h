#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cpython/runtime/interpreter_walker.h"
#include "support/value_heap.h"

namespace pystack::testing {

/// Coroutines and asyncio tasks as the interpreter of `layout` has them, and the places where
/// asyncio registers them below 3.14.
class TaskHeap : public ValueHeap {
  public:
    /// Offsets of a C task here: they differ between versions and have to be found.
    static constexpr std::uint64_t kCoroutineWord = 12;
    static constexpr std::uint64_t kTaskWords = 16;

    explicit TaskHeap(const Layout& of) : ValueHeap(of) {
        memory.put(builtin("str") + *layout.type_object.tp_flags,
                   std::uint64_t{TypeFlags::kUnicode});
    }

    enum class State : std::uint8_t { kCreated, kSuspended, kRunning, kFinished };

    /// One that awaits `awaited`, or yields if that is null.
    RemoteAddr coroutine(State state, RemoteAddr awaited = {},
                         const std::string& type = "coroutine") {
        if (layout.gen_object.gi_frame) return coroutine_with_frame_object(state, awaited, type);
        const auto& fields = layout.gen_object;
        const RemoteAddr object = memory.allocate(*fields.gi_iframe + frame_bytes());
        const RemoteAddr frame = object + *fields.gi_iframe;
        memory.put(object + *fields.gi_frame_state, state_word(state, awaited));
        fill_frame(frame, awaited);
        memory.put(frame + *layout.interpreter_frame.owner, layout.generator_owner);
        return typed(object, type);
    }

    /// Lets it await something else.
    void set_awaited(RemoteAddr coroutine, RemoteAddr awaited) {
        memory.put(slot_of(coroutine), awaited);
    }

    /// Keeps an object behind its head.
    RemoteAddr wrapper(RemoteAddr inner, const std::string& type) {
        const RemoteAddr object = memory.allocate(layout.pyobject.struct_size + 8);
        memory.put(object + layout.pyobject.struct_size, inner);
        return typed(object, type);
    }

    RemoteAddr future() { return future_of("_asyncio.Future", {}, {}, {}); }

    RemoteAddr task(RemoteAddr coroutine, const std::string& name, RemoteAddr waited_for = {}) {
        return future_of("_asyncio.Task", coroutine, typed_str(name), waited_for);
    }

    /// Makes the future look as if somebody waited for it.
    void add_callback(RemoteAddr future, RemoteAddr callback) {
        memory.put(future + layout.pyobject.struct_size + 8, callback);
    }

    /// An interpreter that has imported asyncio, with these tasks in the weak set of that name.
    RemoteAddr interpreter(const std::vector<RemoteAddr>& tasks,
                           const std::string& set_name = "_all_tasks") {
        std::vector<RemoteAddr> references;
        for (const RemoteAddr task : tasks) references.push_back(wrapper(task, "weakref"));
        std::size_t slots = 8;
        while (slots < references.size() * 2) slots *= 2;
        const RemoteAddr weak_set =
            object("WeakSet", {{typed_str("data"), set(references, slots)}});
        return interpreter_with("asyncio.tasks", typed_dict({{typed_str(set_name), weak_set}}));
    }

    /// Of trio, in a nursery of `parent`.
    RemoteAddr trio_task(RemoteAddr coroutine, const std::string& name, RemoteAddr parent = {},
                         bool is_scheduled = false) {
        const RemoteAddr resume =
            is_scheduled ? typed(memory.allocate(64), "builtin_function_or_method") : none();
        const RemoteAddr nursery =
            parent ? object("Nursery", {{typed_str("_parent_task"), parent}}) : none();
        return object("Task", {{typed_str("coro"), coroutine},
                               {typed_str("name"), typed_str(name)},
                               {typed_str("_next_send_fn"), resume},
                               {typed_str("_parent_nursery"), nursery}});
    }

    /// An interpreter in which a run of trio has these tasks.
    RemoteAddr trio_interpreter(const std::vector<RemoteAddr>& tasks) {
        std::size_t slots = 8;
        while (slots < tasks.size() * 2) slots *= 2;
        const RemoteAddr runner = object("Runner", {{typed_str("tasks"), set(tasks, slots)}});
        const RemoteAddr of_thread = typed_dict({{typed_str("runner"), runner}});
        const std::uint64_t head = layout.pyobject.struct_size;
        const RemoteAddr local = memory.allocate(head + kLocalWords * 8);
        memory.put(local + head + kLocalDictWord * 8,
                   typed_dict({{typed_str("a thread"), of_thread}}));
        return interpreter_with("trio._core._run",
                                typed_dict({{typed_str("GLOBAL_RUN_CONTEXT"), local}}));
    }

    /// A frame that has called another. Below 3.11 it is an object.
    RemoteAddr called_frame(RemoteAddr caller) {
        const RemoteAddr frame = memory.allocate(frame_bytes());
        fill_frame(frame, {});
        memory.put(frame + *layout.interpreter_frame.previous, caller);
        return layout.frame_object.frame ? frame : typed(frame, "frame");
    }

    /// Its object; from 3.11 on, that points to it.
    RemoteAddr object_of_frame(RemoteAddr frame) {
        if (!layout.frame_object.frame) return frame;
        const RemoteAddr object = memory.allocate(*layout.frame_object.frame + 8);
        memory.put(object + *layout.frame_object.frame, frame);
        return typed(object, "frame");
    }

    struct Greenlet {
        RemoteAddr object;      ///< As Python has it.
        RemoteAddr cpp_object;  ///< Its `pimpl`.
    };
    /// Suspended, with this frame object; `virtual_table` is in the library.
    Greenlet greenlet(RemoteAddr virtual_table, RemoteAddr frame_object, RemoteAddr stack_start,
                      std::uint64_t stack_stop) {
        const std::uint64_t head = layout.pyobject.struct_size;
        const Greenlet made{typed(memory.allocate(head + 24), "greenlet.greenlet"),
                            memory.allocate(kGreenletWords * 8)};
        memory.put(made.object + head + 16, made.cpp_object);
        memory.put(made.cpp_object, virtual_table);
        memory.put(made.cpp_object + 8, made.object);
        memory.put(made.cpp_object + kStackStartWord * 8, stack_start);
        memory.put(made.cpp_object + (kStackStartWord + 1) * 8, stack_stop);
        memory.put(made.cpp_object + (kStackStartWord + 6) * 8, frame_object);
        return made;
    }

    static cpython::WalkedInterpreters walked(RemoteAddr interpreter) {
        cpython::WalkedInterpreters walked;
        walked.interpreters.push_back({.address = interpreter});
        return walked;
    }

  private:
    static constexpr std::uint64_t kGreenletWords = 24;
    static constexpr std::uint64_t kStackStartWord = 7;
    static constexpr std::uint64_t kSlots = 4;  // Variables and stack of a frame.
    // Of a _thread._local.
    static constexpr std::uint64_t kLocalWords = 6;
    static constexpr std::uint64_t kLocalDictWord = 4;

    RemoteAddr interpreter_with(const std::string& module_name, RemoteAddr globals) {
        const RemoteAddr modules = typed_dict({{typed_str(module_name), module(globals)}});
        const RemoteAddr state = memory.allocate(*layout.interpreter_state.imports_modules + 8);
        memory.put(state + *layout.interpreter_state.imports_modules, modules);
        return state;
    }

    std::uint64_t frame_bytes() const {
        return std::max<std::uint64_t>(layout.interpreter_frame.struct_size,
                                       *layout.interpreter_frame.localsplus) +
               kSlots * 8 + 8;
    }

    RemoteAddr future_of(const std::string& type, RemoteAddr coroutine, RemoteAddr name,
                         RemoteAddr waited_for) {
        const std::uint64_t head = layout.pyobject.struct_size;
        const RemoteAddr object = memory.allocate(head + kTaskWords * 8);
        const RemoteAddr place = object + head + kCoroutineWord * 8;
        memory.put(place - 8, waited_for);
        memory.put(place, coroutine);
        memory.put(place + 8, name);
        memory.put(builtin(type) + *layout.type_object.tp_basicsize, head + kTaskWords * 8);
        return typed(object, type);
    }

    std::int8_t state_word(State state, RemoteAddr awaited) const {
        const auto& states = layout.generator_states;
        switch (state) {
            case State::kCreated:
                return states.created;
            case State::kRunning:
                return states.executing;
            case State::kFinished:
                return states.finished;
            case State::kSuspended:
                break;
        }
        const bool has_state = layout.await_mark == cpython::AwaitMark::kState;
        return has_state && awaited ? states.yield_from : states.suspended;
    }

    /// The slot of the awaited object is the second one; above it, there may be another.
    void fill_frame(RemoteAddr frame, RemoteAddr awaited) {
        const auto& fields = layout.interpreter_frame;
        const RemoteAddr slots = frame + *fields.localsplus;
        const RemoteAddr code = memory.allocate(256);
        memory.put(frame + *fields.executable, typed(code, "code"));
        memory.put(slots + 8, awaited);
        const std::uint64_t depth = 1 + layout.awaited_slot;
        switch (layout.stack_top) {
            case cpython::StackTop::kPointerIfSuspended:
            case cpython::StackTop::kPointer:
                memory.put(frame + *fields.stackpointer, slots + depth * 8);
                break;
            case cpython::StackTop::kDepth:
            case cpython::StackTop::kIndex:
                memory.put(frame + *fields.stackpointer, static_cast<std::int32_t>(depth));
        }
        if (layout.await_mark == cpython::AwaitMark::kNextResume) {
            // prev_instr: the argument of the next instruction says `await`.
            const RemoteAddr instructions = memory.allocate(16);
            memory.put(instructions + 3, static_cast<std::uint8_t>(awaited ? 3 : 1));
            memory.put(frame + *fields.instr_ptr, instructions);
        } else if (layout.await_mark == cpython::AwaitMark::kState) {
            memory.put(frame + *fields.instr_ptr, code + 64);
        }
    }

    RemoteAddr coroutine_with_frame_object(State state, RemoteAddr awaited,
                                           const std::string& type) {
        const RemoteAddr object = memory.allocate(layout.gen_object.struct_size);
        typed(object, type);
        if (state == State::kFinished) return object;
        const auto& fields = layout.interpreter_frame;
        const RemoteAddr frame = memory.allocate(frame_bytes());
        memory.put(object + *layout.gen_object.gi_frame, frame);
        fill_frame(frame, awaited);
        memory.put(frame + *fields.valuestack, frame + *fields.localsplus);
        memory.put(frame + *fields.instr_ptr,
                   static_cast<std::int32_t>(state == State::kCreated ? -1 : 0));
        if (fields.executing)
            memory.put(frame + *fields.executing, std::uint8_t{state == State::kRunning});
        if (fields.state)
            memory.put(frame + *fields.state,
                       static_cast<std::int8_t>(state == State::kRunning ? 0 : -1));
        // Behind the one that suspends there is YIELD_FROM, or not.
        const char next = awaited ? 72 : 1;
        const RemoteAddr code = *memory.read_pointer(frame + *fields.executable);
        memory.put(code + *layout.code_object.code,
                   bytes_of(std::string({0, 0, next, 0, next, 0})));
        return object;
    }

    RemoteAddr slot_of(RemoteAddr coroutine) const {
        const RemoteAddr frame = layout.gen_object.gi_frame
                                     ? *memory.read_pointer(coroutine + *layout.gen_object.gi_frame)
                                     : coroutine + *layout.gen_object.gi_iframe;
        return frame + *layout.interpreter_frame.localsplus + 8;
    }
};

}  // namespace pystack::testing
