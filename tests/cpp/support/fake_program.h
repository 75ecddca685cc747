#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "support/fake_codes.h"
#include "support/fake_target.h"

namespace pystack::testing {

/// An interpreter whose threads run functions with names, in fake memory.
class FakeProgram {
  public:
    static constexpr const char* kFile = "/srv/app.py";
    /// The pthread_t of the process's first thread: see tid_of.
    static constexpr std::uint64_t kMain = FakeTarget::kPid - 1000;

    explicit FakeProgram(FakeRuntime& of)
        : fake(of), codes(of), interpreter(of.add_interpreter(0)) {}

    /// As FakeInterpreter::add_thread has it in the thread state.
    static std::int32_t tid_of(std::uint64_t pthread) {
        return static_cast<std::int32_t>(1000 + pthread);
    }

    RemoteAddr code(const std::string& function) {
        RemoteAddr& known = codes_[function];
        if (!known) known = codes.code(function, kFile);
        return known;
    }

    /// A thread that runs these functions, outermost first.
    RemoteAddr add_thread(std::uint64_t pthread, const std::vector<std::string>& functions,
                          RemoteAddr of = {}) {
        const RemoteAddr thread = fake.add_thread(of ? of : interpreter, pthread);
        run(thread, functions);
        return thread;
    }

    /// Returns the outermost frame: see FakeInterpreter::frame.
    RemoteAddr run(RemoteAddr thread, const std::vector<std::string>& functions) {
        if (functions.empty()) {
            fake.leave_python(thread);
            return {};
        }
        const RemoteAddr base = fake.frames(functions.size());
        for (std::size_t i = 0; i < functions.size(); ++i) {
            const RemoteAddr of = code(functions[i]);
            fake.put_frame(fake.frame(base, i),
                           {.previous = i == 0 ? fake.shim() : fake.frame(base, i - 1),
                            .code = of,
                            .instruction = codes.frame(of, 2).instruction,
                            .calls = i + 1 < functions.size() || fake.running_frames_call(),
                            .is_entry = i == 0});
        }
        fake.set_top(thread, fake.frame(base, functions.size() - 1));
        return base;
    }

    /// As threading.Thread has it; all at once.
    void name_threads(RemoteAddr of,
                      const std::vector<std::pair<std::uint64_t, std::string>>& names) {
        FakeHeap& heap = fake.heap;
        const RemoteAddr name_key = heap.str("_name");
        FakeHeap::Items active;
        for (const auto& [pthread, name] : names) {
            const FakeHeap::Items items{{name_key, heap.str(name)}};
            const RemoteAddr keys = heap.keys(items, FakeHeap::Kind::kSplit);
            active.push_back({heap.integer(false, {static_cast<std::uint32_t>(pthread)}),
                              heap.plain_instance(heap.plain_type(keys), keys, items)});
        }
        const RemoteAddr threads = heap.dict_of(heap.keys(active, FakeHeap::Kind::kGeneral, 9));
        const RemoteAddr module = heap.module(heap.dict({{heap.str("_active"), threads}}));
        fake.memory().put(of + *fake.layout.interpreter_state.imports_modules,
                          heap.dict({{heap.str("threading"), module}}));
    }

    /// What the function's name is in tables and snapshots.
    std::string qualified(const std::string& function) const {
        return (fake.layout.code_object.qualname ? "Class." : "") + function;
    }

    FakeRuntime& fake;
    FakeCodes codes;
    RemoteAddr interpreter;

  private:
    std::map<std::string, RemoteAddr> codes_;
};

}  // namespace pystack::testing
