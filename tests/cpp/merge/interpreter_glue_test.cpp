#include "merge/interpreter_glue.h"

#include <doctest/doctest.h>

#include "merge/native_names.h"

using namespace pystack;
using namespace pystack::merge;

namespace {

model::Frame native(const char* function, const char* module, bool is_plumbing = false,
                    bool is_nameless = false) {
    model::Frame frame;
    frame.kind = model::FrameKind::kNative;
    frame.function = function;
    frame.native.emplace();
    frame.native->module = module;
    frame.native->is_plumbing = is_plumbing;
    frame.native->name_source =
        is_nameless ? model::NameSource::kNone : model::NameSource::kSymbols;
    return frame;
}

std::vector<bool> plumbing_of(const std::vector<model::Frame>& frames) {
    std::vector<bool> found;
    for (const model::Frame& frame : frames)
        found.push_back(frame.native && frame.native->is_plumbing);
    return found;
}

}  // namespace

TEST_CASE("machinery by name") {
    for (const char* name : {"_PyEval_EvalFrameDefault", "PyObject_Vectorcall", "slot_tp_call",
                             "_TAIL_CALL_CALL", "cfunction_vectorcall_O", "Py_RunMain",
                             "_PyEval_EvalFrameDefault.cold", "gen_send_ex.isra.0", ""}) {
        CAPTURE(name);
        CHECK(is_interpreter_glue(name, "", "python3.13", true));
    }
    for (const char* name : {"list_sort", "builtin_sorted", "take_gil", "gc_collect_main",
                             "time_sleep", "_PyParkingLot_Park", "functools_reduce"}) {
        CAPTURE(name);
        CHECK_FALSE(is_interpreter_glue(name, "", "python3.13", true));
    }
    CHECK(is_interpreter_glue("start_thread", "", "libfoo.so.1", false));
    CHECK_FALSE(is_interpreter_glue("PyArray_Sort", "", "libfoo.so.1", false));
    CHECK_FALSE(is_interpreter_glue("", "", "libfoo.so.1", false));
    CHECK_FALSE(is_interpreter_glue("main", "", "libfoo.so.1", false));
    CHECK(is_interpreter_glue("ffi_call", "", "libffi.so.8", false));
}

TEST_CASE("what Python calls by a name is no machinery, unless it is the way to other functions") {
    CHECK_FALSE(is_interpreter_glue("", "list.sort", "python3.13", true));
    CHECK_FALSE(is_interpreter_glue("PyList_Sort", "list.sort", "python3.13", true));
    CHECK(is_interpreter_glue("", "type.__call__", "python3.13", true));
    CHECK(is_interpreter_glue("gen_iternext", "generator.__next__", "python3.13", true));
}

TEST_CASE("programs and threads start in code without names") {
    std::vector<model::Frame> frames{native("x", "/libc.so.6", false, true),
                                     native("x", "/libc.so.6", false, true),
                                     native("x", "/app", false, true)};
    mark_glue_by_place(frames, true);
    CHECK(plumbing_of(frames) == std::vector{true, true, false});

    frames = {native("x", "/app", false, true), native("x", "/app", false, true)};
    mark_glue_by_place(frames, false);
    CHECK(plumbing_of(frames) == std::vector{false, false});
}

TEST_CASE("main() of a program that is more than Python") {
    std::vector<model::Frame> frames{native("_start", "/app", true), native("main", "/app"),
                                     native("Py_BytesMain", "/libpython.so", true)};
    mark_glue_by_place(frames, true);
    CHECK(frames[1].native->is_plumbing);

    frames = {native("_start", "/app", true), native("main", "/app"), native("run", "/app"),
              native("main", "/app"), native("PyRun_SimpleString", "/libpython.so", true)};
    mark_glue_by_place(frames, true);
    CHECK(plumbing_of(frames) == std::vector{true, false, false, false, true});
}

TEST_CASE("code that the interpreter's JIT made, which the loop calls") {
    const model::Frame python{.kind = model::FrameKind::kPython, .function = "f"};
    std::vector<model::Frame> frames{
        native("loop", "/python", true),   python,
        native("0x1000", "", false, true), native("0x2000", "", false, true),
        native("called", "/python"),       native("0x3000", "", false, true)};
    mark_glue_by_place(frames, true);
    // What other code calls is of somebody else's making.
    CHECK(frames[2].native->is_plumbing);
    CHECK(frames[3].native->is_plumbing);
    CHECK_FALSE(frames[5].native->is_plumbing);

    // A run of native frames behind a Python frame that is not given.
    frames = {native("0x1000", "", false, true), native("called", "/python")};
    mark_glue_by_place(frames, false);
    CHECK(plumbing_of(frames) == std::vector{true, false});
    frames[0].native->is_plumbing = false;
    mark_glue_by_place(frames, true);
    CHECK_FALSE(frames[1].native->is_plumbing);
}

TEST_CASE("what the C library calls inside of it") {
    std::vector<model::Frame> frames{
        native("_start", "/app", true), native("work", "/app"), native("sleep", "/libc.so.6"),
        native("x", "/libc.so.6", false, true), native("x", "/libc.so.6", false, true)};
    mark_glue_by_place(frames, true);
    CHECK(plumbing_of(frames) == std::vector{true, false, false, true, true});

    frames = {native("_start", "/app", true), native("work", "/libother.so"),
              native("x", "/libother.so", false, true)};
    mark_glue_by_place(frames, true);
    CHECK(plumbing_of(frames) == std::vector{true, false, false});
}
