#pragma once

#include "cpython/runtime/runtime_locator.h"
#include "support/fake_interpreter.h"

namespace pystack::testing {

/// A FakeInterpreter as the runtime locator would have found it.
class FakeRuntime : public FakeInterpreter {
  public:
    explicit FakeRuntime(const Layout& of) : FakeInterpreter(of) {
        runtime.layout = layout;
        runtime.version = layout.version;
        runtime.address = runtime_address;
        runtime.interpreters_head = interpreters_head;
    }

    /// Puts a GIL where the version has it; null for 3.6, which has variables instead.
    RemoteAddr make_gil(RemoteAddr interpreter) {
        switch (layout.gil_place) {
            case cpython::GilPlace::kSymbols:
                return {};
            case cpython::GilPlace::kRuntime:
                return runtime.address + *layout.runtime_state.ceval_gil;
            case cpython::GilPlace::kInterpreter:
                break;
        }
        const RemoteAddr gil = allocate(layout.gil.struct_size);
        memory().put(interpreter + *layout.interpreter_state.ceval_gil, gil);
        return gil;
    }

    void put_gil(RemoteAddr gil, std::int32_t locked, RemoteAddr holder) {
        memory().put(gil + *layout.gil.locked, locked);
        memory().put(gil + *layout.gil.last_holder, holder);
        if (layout.gil.enabled) memory().put(gil + *layout.gil.enabled, std::int32_t{1});
    }

    cpython::Runtime runtime;
};

}  // namespace pystack::testing
