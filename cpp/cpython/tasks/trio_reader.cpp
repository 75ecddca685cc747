#include "cpython/tasks/trio_reader.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "cpython/objects/dict_objects.h"
#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/set_objects.h"
#include "cpython/objects/typed_values.h"
#include "cpython/tasks/task_budget.h"
#include "cpython/tasks/task_name.h"
#include "cpython/tasks/trio_waits.h"

namespace pystack::cpython {

namespace {

constexpr std::uint64_t kWordBytes = 8;
constexpr std::string_view kModule = "trio._core._run";
/// Words behind the head of a _thread._local, one of which is a dict that has the attributes of
/// each thread: `dummies` up to 3.12, `localdicts` later [Modules/_threadmodule.c].
constexpr std::array<std::uint64_t, 2> kDictWords = {4, 3};
constexpr std::size_t kMostThreads = 4096;
constexpr std::size_t kMostTasks = 1 << 20;
constexpr std::size_t kMostSetEntries = 4 * kMostTasks;
/// What is done with a task takes about a microsecond.
constexpr std::uint64_t kStepsPerTask = 100;

RemoteAddr globals_of_trio(const memory::MemoryReader& memory, const Layout& layout,
                           RemoteAddr interpreter) {
    const auto globals = imported_module_dict(memory, layout, interpreter, kModule);
    return globals ? globals->value_or(RemoteAddr{}) : RemoteAddr{};
}

}  // namespace

bool has_trio(const memory::MemoryReader& memory, const Layout& layout, RemoteAddr interpreter) {
    return static_cast<bool>(globals_of_trio(memory, layout, interpreter));
}

TrioReader::TrioReader(const memory::MemoryReader& memory, const Layout& layout, WorkLimits& limits)
    : memory_(memory),
      layout_(layout),
      limits_(limits),
      types_(memory, layout),
      attributes_(memory, layout, types_),
      chains_(memory, layout, types_, limits) {}

RawTasks TrioReader::read(const WalkedInterpreters& walked) {
    RawTasks result;
    for (std::size_t i = 0; i < walked.interpreters.size(); ++i)
        read_interpreter(walked.interpreters[i].address, i, result);
    return result;
}

void TrioReader::read_interpreter(RemoteAddr interpreter, std::size_t index, RawTasks& result) {
    const RemoteAddr globals = globals_of_trio(memory_, layout_, interpreter);
    if (!globals) return;
    const auto context = dict_lookup_str(memory_, layout_, globals, "GLOBAL_RUN_CONTEXT");
    if (!context) {
        result.problems.emplace_back("the tasks of trio could not be read");
        return;
    }
    // Absent while the module is being imported.
    if (!*context) return;
    for (const RemoteAddr runner : runners(**context)) read_runner(runner, index, result);
}

/// Of all threads that have one.
std::vector<RemoteAddr> TrioReader::runners(RemoteAddr run_context) {
    std::vector<RemoteAddr> found;
    for (const std::uint64_t word : kDictWords) {
        const auto dict =
            memory_.read_pointer(run_context + layout_.pyobject.struct_size + word * kWordBytes);
        if (!dict || !is_a(types_, *dict, ValueKind::kDict)) continue;
        (void)for_each_dict_item(
            memory_, layout_, *dict, kMostThreads, [&](RemoteAddr, RemoteAddr of_thread) {
                if (!is_a(types_, of_thread, ValueKind::kDict)) return true;
                const auto runner = dict_lookup_str(memory_, layout_, of_thread, "runner");
                if (runner && *runner) found.push_back(**runner);
                return limits_.charge_steps(kStepsPerTask);
            });
        break;
    }
    std::ranges::sort(found);
    const auto [first, last] = std::ranges::unique(found);
    found.erase(first, last);
    return found;
}

void TrioReader::read_runner(RemoteAddr runner, std::size_t interpreter, RawTasks& result) {
    RawEventLoop& loop = result.loops.emplace_back();
    loop.address = runner;
    if (const auto type = types_.of(runner)) loop.type_name = types_.full_name(**type);
    TaskBudget budget(limits_);
    std::vector<RemoteAddr> tasks;
    bool is_cut = true;
    const RemoteAddr set = attributes_.get(runner, "tasks");
    if (is_a(types_, set, ValueKind::kSet)) {
        is_cut = !for_each_set_item(memory_, layout_, set, kMostSetEntries, [&](RemoteAddr task) {
            is_cut = tasks.size() >= kMostTasks || !limits_.charge_steps(kStepsPerTask);
            if (!is_cut) tasks.push_back(task);
            return !is_cut;
        }) || is_cut;
    }
    std::ranges::sort(tasks);
    for (const RemoteAddr address : tasks) {
        if (limits_.cancelled()) return;
        auto task = read_task(address);
        if (!task) continue;
        task->interpreter = interpreter;
        task->loop = runner;
        if (task->state == model::TaskState::kRunning) loop.running_task = address;
        budget.take(*std::move(task), result);
    }
    if (is_cut) result.problems.emplace_back("the list of the tasks of trio is incomplete");
    budget.report("tasks of trio", result);
}

/// nullopt of one that is done.
std::optional<RawTask> TrioReader::read_task(RemoteAddr address) {
    RawTask task{.address = address, .library = model::TaskLibrary::kTrio};
    task.chain = chains_.follow(attributes_.get(address, "coro"));
    if (task.chain.state == CoroutineState::kFinished) return std::nullopt;
    if (const RemoteAddr name = attributes_.get(address, "name")) {
        if (auto read = read_task_name(memory_, layout_, name)) task.name = std::move(read->text);
    }
    const RemoteAddr nursery = attributes_.get(address, "_parent_nursery");
    if (const RemoteAddr parent = attributes_.get(nursery, "_parent_task"))
        task.awaited_by.push_back(parent.value);
    task.state = state_of(task);
    return task;
}

/// A task that the runner will resume has a function to do it with.
model::TaskState TrioReader::state_of(const RawTask& task) {
    using model::TaskState;
    if (!task.chain.state) return TaskState::kUnknown;
    if (task.chain.state == CoroutineState::kRunning) return TaskState::kRunning;
    if (task.chain.state == CoroutineState::kCreated) return TaskState::kCreated;
    const RemoteAddr resume = attributes_.get(task.address, "_next_send_fn");
    if (!resume) return TaskState::kUnknown;
    return is_a(types_, resume, ValueKind::kNone) ? TaskState::kWaiting : TaskState::kReady;
}

void TrioReader::explain(RawTasks& tasks, const CodeReader& codes) {
    const CoroutineReader coroutines(memory_, layout_);
    TrioWaits waits(memory_, layout_, types_, coroutines, codes);
    for (RawTask& task : tasks.tasks) {
        if (!limits_.charge_steps()) break;
        waits.find(task);
    }
    waits.add_holders(tasks.tasks);
}

}  // namespace pystack::cpython
