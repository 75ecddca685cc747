#pragma once

#include <Python.h>
#include <unistd.h>

namespace pystack::bindings {

/// Calls `take`, which takes the GIL. Where the interpreter is exiting, a daemon thread stays here
/// for good, as Python itself does from 3.14 on. Earlier versions end the thread by unwinding its
/// stack, and the first function on it that is noexcept would end the process.
template <class Take>
auto take_gil(Take take) noexcept {
    try {
        return take();
    } catch (...) {  // What unwinds a thread that ends. It must not go on.
        for (;;) ::pause();
    }
}

/// Gives the GIL up while it exists.
class WithoutGil {
  public:
    WithoutGil() : state_(PyEval_SaveThread()) {}
    ~WithoutGil() {
        take_gil([this] { PyEval_RestoreThread(state_); });
    }
    WithoutGil(const WithoutGil&) = delete;
    WithoutGil& operator=(const WithoutGil&) = delete;

  private:
    PyThreadState* state_;
};

/// Has the GIL while it exists.
class WithGil {
  public:
    WithGil() : state_(take_gil([] { return PyGILState_Ensure(); })) {}
    ~WithGil() { PyGILState_Release(state_); }
    WithGil(const WithGil&) = delete;
    WithGil& operator=(const WithGil&) = delete;

  private:
    PyGILState_STATE state_;
};

}  // namespace pystack::bindings
