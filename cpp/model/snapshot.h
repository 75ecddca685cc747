#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"

namespace pystack::model {

/// Why a stack has no more frames. A cut stack is data: the frames that were read are kept.
enum class StackEnd : std::uint8_t {
    kComplete,    ///< The chain ended where the interpreter ends it.
    kTorn,        ///< The target ran while it was read, and no consistent read succeeded within the retries.
    kUnreadable,  ///< A frame could not be read or made no sense.
    kDepthLimit,  ///< The reader's own cap.
    kNoPython,    ///< The thread runs no Python code.
};

enum class GilState : std::uint8_t { kUnknown, kNone, kHolds, kWaits, kDropping };

enum class FrameKind : std::uint8_t { kPython, kNative, kMarker };

/// Positions as co_positions() gives them: lines from 1, columns as UTF-8 byte offsets from 0.
struct SourcePosition {
    std::optional<std::int32_t> line;
    std::optional<std::int32_t> end_line;
    std::optional<std::int32_t> column;
    std::optional<std::int32_t> end_column;

    bool operator==(const SourcePosition&) const = default;
};

struct Frame {
    FrameKind kind = FrameKind::kPython;
    std::string function;
    std::optional<std::string> qualname;
    std::string file;
    std::int32_t first_line = 0;
    SourcePosition position;
};

struct Thread {
    std::optional<std::int32_t> tid;            ///< In our pid namespace.
    std::optional<std::int32_t> namespace_tid;  ///< In the target's, where it differs.
    std::uint64_t python_thread_id = 0;
    std::int64_t interpreter_id = 0;
    std::optional<std::string> name;
    std::optional<std::string> kernel_name;
    std::optional<bool> is_main;
    std::optional<char> run_state;
    GilState gil = GilState::kUnknown;
    std::optional<bool> gc_collecting;
    std::optional<std::string> raising;
    std::optional<std::string> handling;
    StackEnd stack_end = StackEnd::kComplete;
    std::string stack_problem;
    std::vector<Frame> frames;  ///< Outermost first.
};

struct Interpreter {
    std::int64_t id = 0;
    std::optional<bool> gc_collecting;
    std::optional<bool> finalizing;
};

/// One reading of one target, complete and independent of it: plain data.
struct Snapshot {
    std::int32_t pid = 0;
    std::optional<std::int32_t> namespace_pid;
    std::optional<std::string> executable;
    std::optional<std::vector<std::string>> command;
    std::string version;
    bool free_threaded = false;
    bool debug = false;
    std::int64_t time_ns = 0;  ///< Realtime clock.
    bool stopped = false;
    std::optional<std::int64_t> stop_ns;
    bool was_stopped = false;
    std::int32_t attempts = 1;
    std::vector<Interpreter> interpreters;
    std::vector<Thread> threads;
    std::vector<std::string> problems;
};

}  // namespace pystack::model
