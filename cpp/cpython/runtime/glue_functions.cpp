#include "cpython/runtime/glue_functions.h"

#include <algorithm>
#include <array>

namespace pystack::cpython {

namespace {

/// Whole names of functions that are not exported, in CPython 3.6 to 3.15.
constexpr std::array<std::string_view, 47> kGlue = {
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
    "py_trampoline_evaluator",
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

/// What is exported, and families of functions that are not.
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

template <std::size_t size>
bool is_in(const std::array<std::string_view, size>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

bool is_glue_function(std::string_view symbol) {
    if (is_in(kWaits, symbol)) return false;
    return is_in(kGlue, symbol) ||
           std::any_of(kGluePrefixes.begin(), kGluePrefixes.end(),
                       [symbol](std::string_view prefix) { return symbol.starts_with(prefix); });
}

bool is_glue_python_name(std::string_view name) {
    return is_in(kPythonGlue, name);
}

}  // namespace pystack::cpython
