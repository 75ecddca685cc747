#pragma once

#include <string>
#include <vector>

#include "cpython/runtime_locator.h"
#include "model/snapshot.h"
#include "unwind/code_map.h"
#include "unwind/debug_files.h"
#include "unwind/symbolizer.h"

namespace pystack::capture {

/// What is said of native frames: names, lines, inlined calls, and what of it is only the
/// interpreter's machinery. Needs no target that stands still.
class NativeNames {
  public:
    /// Both must outlive it.
    NativeNames(const cpython::Runtime& runtime, unwind::CodeMap& modules,
                unwind::DebugFileOptions debug_files);

    /// By its name, the interpreter loop.
    bool is_loop(const unwind::NativeFrame& frame);

    /// One frame, and one for each call that the compiler inlined into it; outermost first.
    /// `runs_python`: it is the loop that runs the Python frames that follow.
    void append(const unwind::NativeFrame& frame, bool runs_python, std::vector<model::Frame>& out);

    /// "libfoo.so+0x1234", for code without anything else to say of it.
    std::string place(RemoteAddr address);

  private:
    const cpython::Runtime& runtime_;
    unwind::CodeMap& modules_;
    unwind::Symbolizer symbolizer_;
};

/// The frame of C's main() when it does nothing but run Python, which can be told from what it
/// calls. `frames` are outermost first.
void mark_start_up(std::vector<model::Frame>& frames);

}  // namespace pystack::capture
