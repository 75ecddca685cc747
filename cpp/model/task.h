#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/frame.h"

namespace pystack::model {

enum class TaskState : std::uint8_t {
    kUnknown,
    kCreated,  ///< Its first step has not begun.
    kReady,    ///< The event loop will run it next.
    kRunning,
    kWaiting,
};

/// The library that runs a task.
enum class TaskLibrary : std::uint8_t { kAsyncio, kTrio, kGreenlet };

inline constexpr std::array kTaskLibraryNames{std::string_view("asyncio"), std::string_view("trio"),
                                              std::string_view("greenlet")};

/// What a task waits for. Names are those of the JSON output.
enum class TaskWaitKind : std::uint8_t {
    kOther,  ///< An awaitable that is none of the others.
    kTask,
    kFuture,
    kGather,
    kWait,  ///< asyncio.wait(), wait_for().
    kTaskGroup,
    kSleep,
    kLock,
    kSemaphore,
    kCondition,
    kEvent,
    kBarrier,
    kQueueGet,
    kQueuePut,
    kQueueJoin,
    kStreamRead,
    kStreamWrite,
    kExecutor,  ///< A concurrent.futures.Future, as of to_thread().
    kProcess,
};

inline constexpr std::array kTaskWaitKindNames{
    std::pair{TaskWaitKind::kOther, std::string_view("other")},
    std::pair{TaskWaitKind::kTask, std::string_view("task")},
    std::pair{TaskWaitKind::kFuture, std::string_view("future")},
    std::pair{TaskWaitKind::kGather, std::string_view("gather")},
    std::pair{TaskWaitKind::kWait, std::string_view("wait")},
    std::pair{TaskWaitKind::kTaskGroup, std::string_view("task_group")},
    std::pair{TaskWaitKind::kSleep, std::string_view("sleep")},
    std::pair{TaskWaitKind::kLock, std::string_view("lock")},
    std::pair{TaskWaitKind::kSemaphore, std::string_view("semaphore")},
    std::pair{TaskWaitKind::kCondition, std::string_view("condition")},
    std::pair{TaskWaitKind::kEvent, std::string_view("event")},
    std::pair{TaskWaitKind::kBarrier, std::string_view("barrier")},
    std::pair{TaskWaitKind::kQueueGet, std::string_view("queue_get")},
    std::pair{TaskWaitKind::kQueuePut, std::string_view("queue_put")},
    std::pair{TaskWaitKind::kQueueJoin, std::string_view("queue_join")},
    std::pair{TaskWaitKind::kStreamRead, std::string_view("stream_read")},
    std::pair{TaskWaitKind::kStreamWrite, std::string_view("stream_write")},
    std::pair{TaskWaitKind::kExecutor, std::string_view("executor")},
    std::pair{TaskWaitKind::kProcess, std::string_view("process")},
};

/// What a task waits for, as far as it is proved.
struct TaskWait {
    TaskWaitKind kind = TaskWaitKind::kOther;
    std::uint64_t object = 0;              ///< Its address; 0: none.
    std::optional<std::string> type_name;  ///< Of its class, with the module. Escaped.
    /// Tasks that are inside an `async with` of it; of trio, those that it names as its owners.
    std::vector<std::uint64_t> holders;
    std::optional<double> remaining_s;  ///< Of a sleep in a live process; below 0: it is over.
    std::optional<std::int64_t> pid;    ///< Of a process.
    std::string target;                 ///< Whom a stream is connected to: "10.0.0.5:5432", a path.
    /// It is inside of wait_for(), or of a with block that may be a timeout. Only looked for where
    /// locks and other tasks are waited for.
    bool may_time_out = false;
};

/// One task of asyncio or trio that is not done, or a suspended greenlet.
struct Task {
    TaskLibrary library = TaskLibrary::kAsyncio;
    std::uint64_t id = 0;  ///< Its address, as id() gives it.
    std::int64_t interpreter_id = 0;
    std::optional<std::string> name;
    TaskState state = TaskState::kUnknown;
    std::optional<std::uint64_t> loop;  ///< Its event loop: EventLoop::id.
    /// Of a greenlet: Thread::python_thread_id of the thread that it belongs to.
    std::optional<std::uint64_t> python_thread_id;
    /// Its chain of awaits, outermost first; of a running task, its calls. Equal ones are shared.
    std::shared_ptr<const std::vector<Frame>> frames;
    std::string problem;  ///< Why frames may be missing; empty when none are.
    std::optional<TaskWait> waits_for;
    std::vector<std::uint64_t> awaited_by;  ///< Ids of tasks; of trio, that whose nursery it is in.
};

/// The event loop that runs in a thread, or the Runner of trio.
struct EventLoop {
    std::uint64_t id = 0;  ///< Its address.
    std::optional<std::string> type_name;
    std::optional<std::uint64_t> running_task;  ///< Task::id; nullopt: none.
    /// Since when it has been calling callbacks without waiting; only of asyncio's own loops.
    std::optional<double> busy_s;
};

}  // namespace pystack::model
