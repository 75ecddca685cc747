#include "capture/plumbing.h"

#include <algorithm>
#include <array>

namespace pystack::capture {

namespace {

// Each list is sorted. They hold names of CPython 3.6 to 3.15 that are not exported: what is, is
// told by its prefix.

/// How threads and programs start, in any file.
constexpr std::array<std::string_view, 10> kStart = {
    "__clone",
    "__clone3",
    "__libc_start_call_main",
    "__libc_start_main",
    "__libc_start_main_impl",
    "_start",
    "clone",
    "clone3",
    "start_thread",
    "thread_start",
};

/// Functions of the interpreter.
constexpr std::array<std::string_view, 46> kGlue = {
    "RunMainFromImporter",
    "binary_iop1",
    "binary_op1",
    "bootstrap_thread",
    "builtin___import__",
    "do_call_core",
    "do_richcompare",
    "fast_function",
    "func_call",
    "function_code_fastcall",
    "gen_iternext",
    "gen_send_ex",
    "gen_send_ex2",
    "import_find_and_load",
    "instancemethod_call",
    "instancemethod_vectorcall",
    "lookup_maybe_method",
    "lookup_method",
    "lookup_one",
    "main",
    "method_call",
    "methoddescr_call",
    "object_isinstance",
    "object_recursive_isinstance",
    "object_vacall",
    "property_descr_get",
    "property_descr_set",
    "pymain_main",
    "pyrun_file",
    "pyrun_one_parse_ast",
    "pyrun_simple_file",
    "pythread_wrapper",
    "resume_gen",
    "run_command",
    "run_eval_code_obj",
    "run_file",
    "run_mod",
    "run_pyc_file",
    "super_getattro",
    "t_bootstrap",
    "thread_run",
    "tuple_vectorcall",
    "type_call",
    "type_new_set_names",
    "wrapper_call",
    "wrapperdescr_call",
};

constexpr std::array<std::string_view, 18> kGluePrefixes = {
    "Py",
    "_Py",
    "_TAIL_CALL_",
    "__Py",
    "call_",
    "cfunction_",
    "do_call",
    "import_",
    "method_vectorcall",
    "object_call",
    "object_vectorcall",
    "pymain_",
    "slot_",
    "vectorcall",
    "wrap_",
    "warn_",
    "wrapperdescr_",
    "lookup_",
};

/// Exported, and yet what the reader wants to see: here threads wait.
constexpr std::array<std::string_view, 4> kWaits = {
    "PyThread_acquire_lock_timed", "_PyMutex_LockTimed", "_PyParkingLot_Park", "_PySemaphore_Wait"};

/// By the names that Python has for them: they are how other functions are called.
constexpr std::array<std::string_view, 12> kPythonGlue = {
    "builtins.__import__",
    "classmethod.__get__",
    "function.__get__",
    "generator.__next__",
    "coroutine_wrapper.__next__",
    "method.__call__",
    "method-wrapper.__call__",
    "builtin_function_or_method.__call__",
    "property.__get__",
    "type.__call__",
    "wrapper_descriptor.__call__",
    "method_descriptor.__call__",
};

/// Compilers make several of a function, and say so behind a dot.
std::string_view without_suffix(std::string_view name) {
    return name.substr(0, name.find('.'));
}

template <std::size_t size>
bool is_in(const std::array<std::string_view, size>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

bool is_plumbing(std::string_view function, std::string_view python_name, std::string_view module,
                 bool in_interpreter) {
    const std::string_view name = without_suffix(function);
    // libffi is how ctypes calls; what it calls, and for whom, is on both sides.
    if (is_in(kStart, name) || module.starts_with("libffi")) return true;
    if (!in_interpreter) return false;
    if (!python_name.empty()) return is_in(kPythonGlue, python_name);
    if (is_in(kWaits, name)) return false;
    return name.empty() || is_in(kGlue, name) ||
           std::any_of(kGluePrefixes.begin(), kGluePrefixes.end(),
                       [name](std::string_view prefix) { return name.starts_with(prefix); });
}

}  // namespace pystack::capture
