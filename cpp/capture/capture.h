#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "capture/locals_capture.h"
#include "capture/native_capture.h"
#include "model/snapshot.h"

namespace pystack::capture {

struct CaptureOptions {
    bool stop = true;  ///< Stop the target while it is read; otherwise prove each stack.
    bool exhaustive =
        false;  ///< Search all writable memory for the interpreter when it is nowhere else.
    std::size_t max_depth = 1'000'000;      ///< Frames of one thread.
    std::optional<LocalsOptions> locals{};  ///< Variables too; only of a stopped target.
    std::optional<NativeOptions> native{};  ///< Native frames too; only of a stopped target.
};

/// Reads every thread of a live process once. A thread that cannot be read is in the snapshot with
/// what is known of it; an Error means that nothing could be read at all.
///
/// The target is read on a thread of its own: if one of its threads cannot be let go (it sleeps in
/// the kernel and does not answer), the end of ours makes the kernel do it. Names are looked up by
/// the caller's thread, after that.
Result<model::Snapshot> capture_live(int pid, const CaptureOptions& options);

struct CoreOptions {
    std::optional<std::string>
        executable;  ///< The program's file, where the core's own word does not do.
    std::vector<std::string> library_folders;  ///< Searched for the mapped files, by base name.
    std::optional<std::string> library_root;   ///< Searched recursively.
    bool exhaustive = false;
    std::size_t max_depth = 1'000'000;
    std::optional<LocalsOptions> locals{};
    std::optional<NativeOptions> native{};
};

/// Reads every thread of a dead process from its core file. What the core lacks is in the
/// snapshot's problems; an Error means that no interpreter could be found in it.
Result<model::Snapshot> capture_core(const std::string& path, const CoreOptions& options);

}  // namespace pystack::capture
