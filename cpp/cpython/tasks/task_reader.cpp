#include "cpython/tasks/task_reader.h"

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>

#include "cpython/tasks/awaiters.h"
#include "cpython/tasks/task_budget.h"
#include "cpython/tasks/task_name.h"
#include "cpython/tasks/wait_reasons.h"

namespace pystack::cpython {

TaskReader::TaskReader(const memory::MemoryReader& memory, const Layout& layout, WorkLimits& limits,
                       const std::optional<AsyncioOffsets>& published)
    : memory_(memory),
      layout_(layout),
      limits_(limits),
      published_(published),
      types_(memory, layout),
      futures_(memory, layout, types_, published),
      lists_(memory, layout, limits, published) {}

RawTasks TaskReader::read(const WalkedInterpreters& walked) {
    RawTasks result;
    for (std::size_t i = 0; i < walked.interpreters.size(); ++i)
        read_interpreter(walked, i, result);
    return result;
}

bool TaskReader::is_none(RemoteAddr object) {
    if (!object) return true;
    const auto type = types_.of(object);
    return type && (*type)->kind == ValueKind::kNone;
}

void TaskReader::add_loops(const WalkedInterpreters& walked, std::size_t interpreter,
                           RawTasks& result) {
    for (std::size_t i = 0; i < walked.threads.size(); ++i) {
        if (walked.threads[i].interpreter != interpreter) continue;
        const RunningLoop running = lists_.running_loop(walked.threads[i].address);
        if (is_none(running.loop)) continue;
        const auto type = types_.of(running.loop);
        // Whatever it is, it is no loop.
        if (!type) continue;
        RawEventLoop& loop = result.loops.emplace_back();
        loop.thread = i;
        loop.address = running.loop;
        if (!is_none(running.running_task)) loop.running_task = running.running_task;
        loop.type_name = types_.full_name(**type);
    }
}

void TaskReader::read_interpreter(const WalkedInterpreters& walked, std::size_t interpreter,
                                  RawTasks& result) {
    std::vector<RemoteAddr> threads;
    for (const ThreadState& thread : walked.threads) {
        if (thread.interpreter == interpreter) threads.push_back(thread.address);
    }
    const TaskList list = lists_.of_interpreter(walked.interpreters[interpreter].address, threads);
    add_loops(walked, interpreter, result);
    if (list.is_unknown)
        result.problems.emplace_back("asyncio tasks of this Python version cannot be read");
    if (list.is_cut) result.problems.emplace_back("the list of asyncio tasks is incomplete");
    if (!list.tasks.empty() && !futures_.learn_shape(list.tasks) &&
        std::ranges::any_of(list.tasks, [this](RemoteAddr task) {
            return futures_.kind_of(task) == FutureKind::kTask;
        })) {
        result.problems.emplace_back(
            "the layout of asyncio tasks could not be recognized: those made in C are missing");
    }
    AwaitChains chains(memory_, layout_, types_, limits_);
    TaskBudget budget(limits_);
    std::size_t unreadable = 0;
    for (const RemoteAddr address : list.tasks) {
        if (limits_.cancelled()) return;
        if (!Futures::is_task(futures_.kind_of(address))) {
            ++unreadable;
            continue;
        }
        auto task = read_task(address, chains);
        if (!task) continue;
        task->interpreter = interpreter;
        budget.take(*std::move(task), result);
    }
    if (unreadable > 0) {
        result.problems.push_back(std::to_string(unreadable) +
                                  " objects in the list of asyncio tasks could not be read");
    }
    budget.report("asyncio tasks", result);
}

/// nullopt of one that is done.
std::optional<RawTask> TaskReader::read_task(RemoteAddr address, AwaitChains& chains) {
    const auto parts = futures_.read(address);
    // The coroutine goes when an eager task is done.
    if (!parts || is_none(parts->coroutine)) return std::nullopt;
    RawTask task{.address = address, .loop = parts->loop};
    task.chain = chains.follow(parts->coroutine);
    if (task.chain.state == CoroutineState::kFinished) return std::nullopt;
    if (!is_none(parts->waited_for)) task.waited_for = parts->waited_for;
    if (parts->name) {
        if (auto name = read_task_name(memory_, layout_, parts->name))
            task.name = std::move(name->text);
    }
    task.state = state_of(task);
    return task;
}

model::TaskState TaskReader::state_of(const RawTask& task) {
    using model::TaskState;
    if (task.chain.state == CoroutineState::kRunning) return TaskState::kRunning;
    if (task.chain.state == CoroutineState::kCreated) return TaskState::kCreated;
    if (!task.waited_for) return task.chain.state ? TaskState::kReady : TaskState::kUnknown;
    const auto future = futures_.read(task.waited_for);
    if (!future) return TaskState::kWaiting;
    // Whoever waits has a callback there. When the future is done, it has none any more.
    return futures_.callbacks_of(*future, 1).empty() ? TaskState::kReady : TaskState::kWaiting;
}

void TaskReader::find_waits(std::vector<RawTask>& tasks, const CodeReader& codes) {
    const CoroutineReader coroutines(memory_, layout_);
    WaitReasons reasons(memory_, layout_, types_, futures_, coroutines, codes);
    for (RawTask& task : tasks) {
        if (!limits_.charge_steps()) break;
        reasons.find(task);
    }
}

void TaskReader::explain(RawTasks& tasks, const CodeReader& codes) {
    find_waits(tasks.tasks, codes);
    const CoroutineReader coroutines(memory_, layout_);
    WaitReasons reasons(memory_, layout_, types_, futures_, coroutines, codes);
    reasons.add_holders(tasks.tasks);
    reasons.find_timeouts(tasks.tasks);
    Awaiters awaiters(memory_, layout_, types_, futures_, codes, limits_);
    if (!awaiters.find(tasks.tasks))
        tasks.problems.emplace_back("who awaits whom among asyncio tasks is incomplete");
}

}  // namespace pystack::cpython
