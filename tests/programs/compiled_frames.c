/* Frames as compilers of Python make them (Nuitka): parts of their frame objects, which have the
 * lines; no interpreter loop runs them.
 *
 *   call(code, line, callable)          runs callable() in a frame of `code` at `line`
 *   repeat(code, lines, callable, n)    n times for each line of a tuple, in one frame
 *   start(code, line, callable)         the same as call(), as the outermost frame of a new thread
 *
 * `code` is the code object of any Python function. Needs the folder of CPython's
 * internal headers. */

#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE 1
#include <Python.h>
#include <frameobject.h>
#include <pthread.h>
#include <stddef.h>

#if PY_VERSION_HEX >= 0x030B0000
#include <pycore_code.h>
#include <pycore_frame.h>
#endif
#if PY_VERSION_HEX >= 0x030E0000
#include <pycore_interpframe.h>
#endif

#if PY_VERSION_HEX >= 0x030B0000

/* As in Nuitka: some fields of the compiler's own between the two. */
typedef struct {
    PyFrameObject object;
    void *own[5];
    _PyInterpreterFrame frame;
    void *room[64];
} CompiledFrame;

#if PY_VERSION_HEX >= 0x030D0000
#define CURRENT_FRAME(state) (state)->current_frame
#else
#define CURRENT_FRAME(state) (state)->cframe->current_frame
#endif

static CompiledFrame *make_frame(PyCodeObject *code, PyObject *globals) {
    /* Never freed: tracebacks may hold it. */
    CompiledFrame *made = calloc(1, sizeof(CompiledFrame));
    _PyInterpreterFrame *frame = &made->frame;
    PyObject_Init((PyObject *)&made->object, &PyFrame_Type);
    Py_INCREF(&made->object);
    made->object.f_frame = frame;
    made->object.f_lineno = code->co_firstlineno;
    frame->frame_obj = &made->object;
    frame->f_globals = Py_NewRef(globals);
    frame->f_builtins = Py_NewRef(PyEval_GetBuiltins());
    Py_INCREF(code);
#if PY_VERSION_HEX >= 0x030E0000
    frame->f_executable = PyStackRef_FromPyObjectNew((PyObject *)code);
    frame->f_funcobj = PyStackRef_NULL;
    frame->stackpointer = frame->localsplus;
#elif PY_VERSION_HEX >= 0x030D0000
    frame->f_executable = (PyObject *)code;
#else
    frame->f_code = code;
#endif
#if PY_VERSION_HEX >= 0x030D0000
    frame->instr_ptr = _PyCode_CODE(code) + code->_co_firsttraceable + 1;
#else
    frame->prev_instr = _PyCode_CODE(code) + code->_co_firsttraceable;
#endif
#if PY_VERSION_HEX < 0x030C0000
    frame->is_entry = 1; /* Nuitka leaves it as it was. */
#endif
#ifdef Py_GIL_DISABLED
    frame->owner = FRAME_OWNED_BY_FRAME_OBJECT;
#else
    frame->owner = FRAME_OWNED_BY_GENERATOR;
#endif
    return made;
}

static void push(CompiledFrame *made) {
    PyThreadState *state = PyThreadState_Get();
    made->frame.previous = CURRENT_FRAME(state);
    CURRENT_FRAME(state) = &made->frame;
}

static void pop(CompiledFrame *made) {
    CURRENT_FRAME(PyThreadState_Get()) = made->frame.previous;
    made->frame.previous = NULL;
}

static void set_line(CompiledFrame *made, int line) {
    *(volatile int *)&made->object.f_lineno = line;
}

#else

typedef PyFrameObject CompiledFrame;

static CompiledFrame *make_frame(PyCodeObject *code, PyObject *globals) {
    PyFrameObject *frame = PyFrame_New(PyThreadState_Get(), code, globals, NULL);
    Py_CLEAR(frame->f_back);
    Py_XDECREF(frame->f_trace);
    Py_INCREF(Py_None);
    frame->f_trace = Py_None; /* So the interpreter shows f_lineno. */
    return frame;
}

static void push(CompiledFrame *frame) {
    PyThreadState *state = PyThreadState_Get();
    frame->f_back = state->frame;
    Py_XINCREF(frame->f_back);
    state->frame = frame;
#if PY_VERSION_HEX >= 0x030A0000
    frame->f_state = FRAME_EXECUTING;
#else
    frame->f_executing = 1;
#endif
}

static void pop(CompiledFrame *frame) {
    PyThreadState_Get()->frame = frame->f_back;
    Py_CLEAR(frame->f_back);
#if PY_VERSION_HEX >= 0x030A0000
    frame->f_state = FRAME_SUSPENDED;
#else
    frame->f_executing = 0;
#endif
}

static void set_line(CompiledFrame *frame, int line) { *(volatile int *)&frame->f_lineno = line; }

#endif

static PyObject *call(PyObject *module, PyObject *args) {
    PyCodeObject *code;
    int line;
    PyObject *callable;
    if (!PyArg_ParseTuple(args, "O!iO", &PyCode_Type, &code, &line, &callable)) return NULL;
    CompiledFrame *frame = make_frame(code, PyModule_GetDict(module));
    push(frame);
    set_line(frame, line);
    PyObject *result = PyObject_CallObject(callable, NULL);
    pop(frame);
    return result;
}

static PyObject *repeat(PyObject *module, PyObject *args) {
    PyCodeObject *code;
    PyObject *lines;
    PyObject *callable;
    long count;
    if (!PyArg_ParseTuple(args, "O!O!Ol", &PyCode_Type, &code, &PyTuple_Type, &lines, &callable,
                          &count)) {
        return NULL;
    }
    CompiledFrame *frame = make_frame(code, PyModule_GetDict(module));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(lines); ++i) {
        const int line = (int)PyLong_AsLong(PyTuple_GET_ITEM(lines, i));
        for (long k = 0; k < count; ++k) {
            /* Called anew each time, in the same frame, as compiled functions are. */
            push(frame);
            set_line(frame, line);
            PyObject *result = PyObject_CallObject(callable, NULL);
            pop(frame);
            if (result == NULL) return NULL;
            Py_DECREF(result);
        }
    }
    Py_RETURN_NONE;
}

typedef struct {
    CompiledFrame *frame;
    int line;
    PyObject *callable;
} Start;

static void *run(void *argument) {
    Start *start = argument;
    PyGILState_STATE gil = PyGILState_Ensure();
    push(start->frame);
    set_line(start->frame, start->line);
    PyObject *result = PyObject_CallObject(start->callable, NULL);
    if (result == NULL) PyErr_Print();
    pop(start->frame);
    PyGILState_Release(gil);
    return NULL;
}

static PyObject *start(PyObject *module, PyObject *args) {
    PyCodeObject *code;
    Start *start = malloc(sizeof(Start));
    if (!PyArg_ParseTuple(args, "O!iO", &PyCode_Type, &code, &start->line, &start->callable))
        return NULL;
    Py_INCREF(start->callable);
    start->frame = make_frame(code, PyModule_GetDict(module));
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, start) != 0) return PyErr_SetFromErrno(PyExc_OSError);
    pthread_detach(thread);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"call", call, METH_VARARGS, NULL},
                                {"repeat", repeat, METH_VARARGS, NULL},
                                {"start", start, METH_VARARGS, NULL},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "compiled_frames", NULL, -1, methods};

PyMODINIT_FUNC PyInit_compiled_frames(void) {
#if PY_VERSION_HEX < 0x03070000
    PyEval_InitThreads();
#endif
    return PyModule_Create(&definition);
}
