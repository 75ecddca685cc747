// An extension module that calls back into Python: through overloads, templates and inlined
// functions, from threads of its own, and one that crashes. Compiled by the tests for each
// interpreter that has headers.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <thread>

#include <unistd.h>

namespace ext {

// What follows a call keeps the compiler from making it a jump.
static volatile int calls = 0;

static inline __attribute__((always_inline)) PyObject* call_back(PyObject* callable) {
    PyObject* result = PyObject_CallObject(callable, nullptr);
    calls = calls + 1;
    return result;
}

__attribute__((noinline)) PyObject* apply(PyObject* callable, long) {
    PyObject* result = call_back(callable);
    calls = calls + 1;
    return result;
}

__attribute__((noinline)) PyObject* apply(PyObject* callable, double) {
    PyObject* result = call_back(callable);
    calls = calls + 2;
    return result;
}

template <class Value>
struct Visitor {
    __attribute__((noinline)) PyObject* visit(PyObject* callable, const Value& value) {
        PyObject* result = apply(callable, value);
        calls = calls + 3;
        return result;
    }
};

__attribute__((noinline)) void wait_forever() {
    for (;;) {
        pause();
        calls = calls + 1;
    }
}

__attribute__((noinline)) void write_to_null(volatile int* place) {
    *place = 1;
    calls = calls + 1;
}

}  // namespace ext

static PyObject* call_int(PyObject*, PyObject* callable) {
    PyObject* result = ext::apply(callable, 1L);
    ext::calls = ext::calls + 1;
    return result;
}

static PyObject* call_double(PyObject*, PyObject* callable) {
    PyObject* result = ext::apply(callable, 1.0);
    ext::calls = ext::calls + 1;
    return result;
}

static PyObject* call_template(PyObject*, PyObject* callable) {
    PyObject* result = ext::Visitor<double>().visit(callable, 1.0);
    ext::calls = ext::calls + 1;
    return result;
}

static PyObject* call_in_thread(PyObject*, PyObject* callable) {
    Py_BEGIN_ALLOW_THREADS;
    std::thread([callable] {
        PyGILState_STATE state = PyGILState_Ensure();
        PyObject* result = PyObject_CallObject(callable, nullptr);
        Py_XDECREF(result);
        PyGILState_Release(state);
    }).join();
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

static PyObject* start_worker(PyObject*, PyObject*) {
    std::thread(ext::wait_forever).detach();
    Py_RETURN_NONE;
}

static PyObject* crash(PyObject*, PyObject*) {
    ext::write_to_null(nullptr);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"call_int", call_int, METH_O, nullptr},
    {"call_double", call_double, METH_O, nullptr},
    {"call_template", call_template, METH_O, nullptr},
    {"call_in_thread", call_in_thread, METH_O, nullptr},
    {"start_worker", start_worker, METH_NOARGS, nullptr},
    {"crash", crash, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "native_ext", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit_native_ext() {
    PyObject* module = PyModule_Create(&definition);
#ifdef Py_GIL_DISABLED
    PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
#endif
    return module;
}
