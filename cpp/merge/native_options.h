#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/work_limits.h"
#include "files/file_opener.h"
#include "modules/debug_files.h"

namespace pystack::merge {

/// What is asked of native stacks.
struct NativeOptions {
    bool all_threads = false;  ///< Those as well that the interpreter does not know.
    bool last_only = false;    ///< Only the frames that the innermost Python frame called.
    /// Of each thread's stack, at most so much from the stack pointer on is copied for a sample of
    /// a recording: enough for a few hundred calls, and 20 us. What lies further out is a gap.
    std::uint64_t sampled_stack_bytes = 1 << 20;
    /// Where separate debug files may be: see modules::DebugFileOptions.
    std::vector<std::shared_ptr<const files::FileOpener>> debug_roots = {
        modules::own_debug_folder()};
    /// See modules::DebugFileOptions. It is called only while the target runs, from the thread that
    /// called capture_live or capture_core. Recordings may call it at any time, but ask for all
    /// that is mapped at their beginning then.
    modules::FetchDebugFile fetch_debug_file{};

    /// The same, with debug files looked for in `root` first, if there is one: in a process's own
    /// root, which may be another than ours.
    NativeOptions with_debug_root(std::shared_ptr<const files::FileOpener> root) const {
        NativeOptions wanted = *this;
        if (root) wanted.debug_roots.insert(wanted.debug_roots.begin(), std::move(root));
        return wanted;
    }
    modules::DebugFileOptions debug_files(std::shared_ptr<WorkLimits> limits) const {
        return {.roots = debug_roots, .fetch = fetch_debug_file, .limits = std::move(limits)};
    }
};

}  // namespace pystack::merge
