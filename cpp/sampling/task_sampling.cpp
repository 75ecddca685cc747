#include "sampling/task_sampling.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/nanoseconds.h"
#include "process/open_proc_file.h"

namespace pystack::sampling {

namespace {

using cpython::RawTask;
using model::TaskState;
using model::TaskWaitKind;
using model::WaitKind;

/// Of the time, for reading tasks.
constexpr double kShare = 0.03;

/// Many tasks do the same, and a number at the end of their names tells them apart: "Task-17". They
/// have one frame, "Task-*".
std::string common_name(const std::string& name) {
    const std::size_t end = name.find_last_not_of("0123456789");
    if (end == std::string::npos || end + 1 == name.size()) return name;
    return name.substr(0, end + 1) + "*";
}

WaitKind wait_kind(TaskWaitKind kind) {
    switch (kind) {
        case TaskWaitKind::kTask:
            return WaitKind::kTask;
        case TaskWaitKind::kFuture:
        case TaskWaitKind::kExecutor:
            return WaitKind::kFuture;
        case TaskWaitKind::kGather:
        case TaskWaitKind::kWait:
        case TaskWaitKind::kTaskGroup:
            return WaitKind::kTasks;
        case TaskWaitKind::kSleep:
            return WaitKind::kTimer;
        case TaskWaitKind::kLock:
            return WaitKind::kLock;
        case TaskWaitKind::kSemaphore:
            return WaitKind::kSemaphore;
        case TaskWaitKind::kCondition:
            return WaitKind::kCondition;
        case TaskWaitKind::kEvent:
            return WaitKind::kEvent;
        case TaskWaitKind::kBarrier:
            return WaitKind::kBarrier;
        case TaskWaitKind::kQueueGet:
            return WaitKind::kQueueItem;
        case TaskWaitKind::kQueuePut:
            return WaitKind::kQueueSpace;
        case TaskWaitKind::kQueueJoin:
            return WaitKind::kQueueTasks;
        case TaskWaitKind::kStreamRead:
        case TaskWaitKind::kStreamWrite:
            return WaitKind::kSocket;
        case TaskWaitKind::kProcess:
            return WaitKind::kProcess;
        case TaskWaitKind::kOther:
            break;
    }
    return WaitKind::kAwaitable;
}

/// What stands for WaitRow::type where the object has no class of its own.
std::string_view type_of(const model::TaskWait& wait) {
    if (wait.kind == TaskWaitKind::kGather) return "gather()";
    if (wait.kind == TaskWaitKind::kWait) return "wait()";
    if (wait.kind == TaskWaitKind::kTaskGroup) return "TaskGroup";
    if (wait.kind == TaskWaitKind::kExecutor) return "executor";
    return wait.type_name ? std::string_view(*wait.type_name) : std::string_view();
}

/// A frame in place of the calls, or of a part of them, that are not shown; "": they all are.
std::string_view marker_of(const RawTask& task) {
    using End = cpython::AwaitChain::End;
    const End end = task.chain.end;
    if (end == End::kUnreadable || end == End::kRing || end == End::kTooLong)
        return "<calls that could not be read>";
    if (task.state == TaskState::kRunning) return "<running>";
    if (task.state == TaskState::kReady) return "<ready>";
    return task.state == TaskState::kCreated ? "<not started>" : "";
}

}  // namespace

TaskSampling::TaskSampling(const ProgramReaders& program, ThreadTable& threads, WaitInterner& waits,
                           const BatchWriter& writer)
    : program_(program),
      threads_(threads),
      waits_(waits),
      tasks_(program),
      rows_(threads.identities(), writer),
      share_(kShare),
      random_(std::random_device{}()) {}

void TaskSampling::begin_program() {
    tasks_.begin_program();
    has_read_ = false;
    forget_rows();
}

void TaskSampling::forget_rows() {
    rows_.clear();
    loops_.clear();
    rested_.reset();
    end_ns_ = 0;  // The next tick looks.
    is_looked_ = false;
}

void TaskSampling::sample(const Tick& tick) {
    const std::uint64_t since_last = tick.until_ns - std::min(tick.until_ns, previous_ns_);
    previous_ns_ = tick.until_ns;
    unsaid_ns_ += std::min(since_last, tick.most_weight_ns);
    if (!tasks_.find_libraries(tick.now_ns)) {
        unsaid_ns_ = 0;
        return;
    }
    const bool is_over = tick.until_ns >= end_ns_;
    if (!is_looked_ && (is_over || tick.now_ns >= look_at_ns_)) {
        look();
        is_looked_ = true;
    }
    if (!is_over) return;
    rows_.write(tick, std::exchange(unsaid_ns_, 0));
    begin_stretch(tick.until_ns);
}

/// Chooses when to look before anything of that time is known.
void TaskSampling::begin_stretch(std::uint64_t begin_ns) {
    is_looked_ = false;
    end_ns_ = std::max(begin_ns, share_.next_ns());
    look_at_ns_ = std::uniform_int_distribution(begin_ns, end_ns_)(random_);
}

void TaskSampling::look() {
    if (rested_ && table_changes_ == threads_.changes() && rested_ == run_times()) return;
    const std::uint64_t begin = monotonic_ns();
    read();
    // The first reading takes many times as long: it finds out where everything is.
    if (std::exchange(has_read_, true)) share_.worked_since(begin);
}

TaskSampling::RunTimes TaskSampling::run_times() const {
    std::vector<std::uint64_t> times;
    for (const cpython::RawEventLoop& loop : loops_) {
        if (!loop.thread || *loop.thread >= threads_.size()) return std::nullopt;
        TrackedThread& thread = threads_[*loop.thread];
        // While it is blocked, the kernel's count of its time is up to date.
        if (!thread.activity.call_now()) return std::nullopt;
        const auto time = process::read_run_time_ns(thread.waiting.run_time);
        if (!time) return std::nullopt;
        times.push_back(*time);
    }
    return times;
}

void TaskSampling::read() {
    const RunTimes before = run_times();
    const bool is_same_table = table_changes_ == threads_.changes();
    ProvedTasks::Reading reading = tasks_.read();
    const auto is_same_loop = [](const auto& one, const auto& other) {
        return one.thread == other.thread && one.address == other.address;
    };
    const bool is_same = is_same_table && !reading.loops.empty() && reading.moved.empty() &&
                         std::ranges::equal(loops_, reading.loops, is_same_loop);
    loops_ = std::move(reading.loops);
    table_changes_ = threads_.changes();
    rested_ = is_same && before == run_times() ? before : std::nullopt;

    rows_.begin();
    program_.interner().set_stopped(true);
    for (const RawTask& task : reading.proved) {
        rows_.add(task.address, owner_of(task), {.stack = stack_of(task), .wait = wait_of(task)});
    }
    program_.interner().set_stopped(program_.stops());
    for (const RemoteAddr task : reading.moved) rows_.lose(task);
    rows_.end();
}

TaskRows::Owner TaskSampling::owner_of(const RawTask& task) const {
    TaskRows::Owner owner{
        .pid = program_.target().pid(),
        .interpreter_id = program_.interpreters().interpreters()[task.interpreter].id};
    for (const cpython::RawEventLoop& loop : loops_) {
        if (loop.address == task.loop && loop.thread && *loop.thread < threads_.size())
            owner.tid = threads_.tid(*loop.thread);
    }
    return owner;
}

model::StackId TaskSampling::stack_of(const RawTask& task) {
    FrameInterner& interner = program_.interner();
    model::StackId stack =
        interner.push(0, interner.task_frame(common_name(task.name.value_or("without a name"))));
    for (const cpython::AwaitingFrame& awaiting : task.chain.frames) {
        if (const auto frame = interner.stopped_frame(awaiting.frame))
            stack = interner.push(stack, frame->frame);
    }
    const std::string_view marker = marker_of(task);
    return marker.empty() ? stack : interner.push(stack, interner.marker_frame(marker));
}

model::WaitId TaskSampling::wait_of(const RawTask& task) {
    if (task.state != TaskState::kWaiting || !task.wait) return 0;
    const model::TaskWait& wait = *task.wait;
    return waits_.intern(program_.interner(), wait_kind(wait.kind), type_of(wait), wait.target, 0);
}

}  // namespace pystack::sampling
