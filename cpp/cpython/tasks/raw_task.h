#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "cpython/tasks/await_chain.h"
#include "model/task.h"
#include "model/variables.h"

namespace pystack::cpython {

/// One task that is not done, before its frames are named.
struct RawTask {
    RemoteAddr address;
    model::TaskLibrary library = model::TaskLibrary::kAsyncio;
    std::size_t interpreter = 0;  ///< Index into WalkedInterpreters::interpreters.
    RemoteAddr loop;              ///< Null: not known.
    RemoteAddr waited_for;        ///< The future that it is suspended on; null: none.
    RemoteAddr c_stack;           ///< Of a greenlet: an address on the C stack of its thread.
    std::optional<std::string> name;
    model::TaskState state = model::TaskState::kUnknown;
    AwaitChain chain;
    std::optional<model::TaskWait> wait;
    std::optional<double> wakes_at_s;       ///< Of a sleep: on the target's monotonic clock.
    std::vector<std::uint64_t> awaited_by;  ///< Tasks, by address.
    std::vector<model::FrameVariables>
        variables{};  ///< As chain.frames; empty: they were not read.
};

struct RawEventLoop {
    /// Index into WalkedInterpreters::threads; nullopt: not known.
    std::optional<std::size_t> thread;
    RemoteAddr address;
    RemoteAddr running_task;  ///< Null: none.
    std::optional<std::string> type_name;
    std::optional<double> returned_s;  ///< When it last came back from waiting, on its clock.
};

struct RawTasks {
    std::vector<RawTask> tasks;
    std::vector<RawEventLoop> loops;
    std::vector<std::string> problems;
    std::uint64_t bytes = 0;  ///< Taken from the limits.
};

}  // namespace pystack::cpython
