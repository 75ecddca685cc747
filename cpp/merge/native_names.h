#pragma once

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cpython/objects/function_names.h"
#include "cpython/runtime/runtime_locator.h"
#include "model/snapshot.h"
#include "modules/code_map.h"
#include "modules/debug_files.h"
#include "symbols/symbolizer.h"

namespace pystack::merge {

/// What is said of native frames: names, lines, inlined calls, and what of it is only the
/// interpreter's machinery. Needs no target that stands still.
class NativeNames {
  public:
    /// Both must outlive it.
    NativeNames(const cpython::Runtime& runtime, modules::CodeMap& modules,
                modules::DebugFileOptions debug_files);

    /// What the interpreter's own tables call its functions.
    void use(cpython::FunctionNames names) {
        python_names_ = std::move(names);
        passed_names_.clear();
    }

    /// Reads the symbols of all files now, fetching debug files that are not here.
    void load_symbols() { symbolizer_.load_all(); }

    /// By its name, the interpreter loop.
    bool is_loop(const modules::NativeFrame& frame);

    /// One frame, and one for each call that the compiler inlined into it; outermost first.
    /// `runs_python`: it is the loop that runs the Python frames that follow.
    void append(const modules::NativeFrame& frame, bool runs_python,
                std::vector<model::Frame>& out);

    /// See Symbolizer::problems.
    std::vector<std::string> problems() const { return symbolizer_.problems(); }

    /// "libfoo.so+0x1234", for code without anything else to say of it.
    std::string place(RemoteAddr address);

  private:
    std::string python_name(const modules::NativeFrame& frame,
                            const symbols::SymbolizedFrame& symbol);
    const cpython::FunctionNames& passed_names(std::uint32_t module);

    const cpython::Runtime& runtime_;
    modules::CodeMap& modules_;
    symbols::Symbolizer symbolizer_;
    cpython::FunctionNames python_names_;
    /// Of functions without a name that named ones end in; by module, when first asked for.
    std::unordered_map<std::uint32_t, cpython::FunctionNames> passed_names_;
};

/// Marks what can be told to be machinery only by the frames around it. `frames` are outermost
/// first, and `complete` if they begin where the thread does:
/// - how programs and threads start, in C libraries without symbols;
/// - C's main() when it does nothing but run Python;
/// - what CPython's JIT made: code of no file that the loop itself calls;
/// - what functions of the C library call inside of it, where that has no names.
void mark_glue_by_place(std::vector<model::Frame>& frames, bool complete);

}  // namespace pystack::merge
