#include "snapshot/tasks_capture.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <unordered_set>
#include <utility>

#include "cpython/tasks/task_lists.h"
#include "cpython/tasks/task_reader.h"
#include "process/process_clock.h"

namespace pystack::snapshot {

namespace {

using Clock = std::chrono::steady_clock;

/// 32 MiB: ten thousand tasks take a third of it.
constexpr std::size_t kMostCopiedPages = 8192;
/// How long a running target is looked at until it stands still by itself.
constexpr auto kStillBudget = std::chrono::milliseconds(300);
constexpr auto kStillPause = std::chrono::milliseconds(2);

/// Whether no thread of a process ran between the making of this and a later question. A thread
/// that ran is charged for it by the kernel when it leaves its CPU; until then it is runnable.
class Stillness {
  public:
    explicit Stillness(const target::LiveTarget& target)
        : target_(target), before_(run_time_if_none_runs()) {}

    bool began() const { return before_.has_value(); }
    bool lasted() const { return before_ && run_time_if_none_runs() == before_; }

  private:
    std::optional<std::uint64_t> run_time_if_none_runs() const {
        const auto infos = target_.threads();
        if (!infos) return std::nullopt;
        const bool any_runs = std::ranges::any_of(
            *infos, [](const target::ThreadInfo& info) { return info.run_state == 'R'; });
        return any_runs ? std::nullopt : process::process_run_time_ns(target_.pid());
    }

    const target::LiveTarget& target_;
    std::optional<std::uint64_t> before_;
};

}  // namespace

/// Once for all readings. False: nobody has imported it.
bool TasksCapture::find_asyncio(RawSnapshot& raw, const cpython::WalkedInterpreters& walked) {
    if (has_asyncio_) return true;
    const cpython::Layout& layout = raw.runtime.layout;
    has_asyncio_ = std::ranges::any_of(walked.interpreters, [&](const auto& interpreter) {
        return cpython::has_asyncio(pages_, layout, interpreter.address);
    });
    if (!has_asyncio_) {
        raw.tasks.emplace();
        return false;
    }
    if (layout.llist_node.next) offsets_ = cpython::find_asyncio(raw.target, raw.runtime);
    return true;
}

bool TasksCapture::read_pages(RawSnapshot& raw, const cpython::WalkedInterpreters& walked,
                              WorkLimits& limits, bool may_load) {
    cpython::TaskReader reader(pages_, raw.runtime.layout, limits, offsets_);
    cpython::RawTasks tasks = reader.read(walked);
    std::unordered_set<RemoteAddr> seen;
    code_frames_.clear();
    for (const cpython::RawTask& task : tasks.tasks) {
        for (const cpython::AwaitingFrame& frame : task.chain.frames) {
            if (seen.insert(frame.frame.code).second) code_frames_.push_back(frame.frame);
        }
    }
    if (may_load) raw.codes.load(code_frames_);
    const bool all_known = std::ranges::all_of(
        code_frames_, [&](const auto& frame) { return raw.codes.find(frame.code) != nullptr; });
    reader.explain(tasks, raw.codes);
    if (raw.runtime.layout.llist_node.next && !offsets_) {
        tasks.problems.emplace_back(
            "the layout of asyncio tasks was not found: those made in C are missing");
    }
    for (cpython::RawEventLoop& loop : tasks.loops) {
        const auto returned = returned_s_.find(loop.thread);
        if (returned != returned_s_.end()) loop.returned_s = returned->second;
    }
    raw.tasks = std::move(tasks);
    return all_known;
}

void TasksCapture::rehearse(RawSnapshot& raw) {
    const auto walked = cpython::walk_interpreters(
        raw.target.memory(), raw.runtime, cpython::most_thread_states(raw.target.thread_count()));
    if (!find_asyncio(raw, walked)) return;
    loop_times_.find_code(raw);
    WorkLimits limits;  // What is read now is forgotten.
    read_pages(raw, walked, limits, true);
    raw.tasks.reset();
}

void TasksCapture::copy(RawSnapshot& raw) {
    if (!has_asyncio_) return;
    pages_.copy_again(kMostCopiedPages);
    returned_s_ = loop_times_.read(raw);
    // Those that have changed are not known any more.
    raw.codes.verify(code_frames_);
}

bool TasksCapture::read_copy(RawSnapshot& raw) {
    if (!has_asyncio_) {
        raw.tasks.emplace();
        return true;
    }
    pages_.freeze(true);
    const bool all_known = read_pages(raw, raw.walked, raw.target.limits(), false);
    pages_.freeze(false);
    return all_known && pages_.misses() == 0;
}

void TasksCapture::read(RawSnapshot& raw) {
    if (!find_asyncio(raw, raw.walked)) return;
    pages_.copy_again(kMostCopiedPages);
    loop_times_.find_code(raw);
    returned_s_ = loop_times_.read(raw);
    raw.codes.verify(code_frames_);
    read_pages(raw, raw.walked, raw.target.limits(), true);
}

void TasksCapture::read_running(RawSnapshot& raw, const target::LiveTarget& target) {
    rehearse(raw);
    if (!has_asyncio_) return;
    const auto end = Clock::now() + kStillBudget;
    do {
        const Stillness still(target);
        if (still.began()) {
            read(raw);
            if (still.lasted()) return;
            raw.clear_tasks();
        }
        std::this_thread::sleep_for(kStillPause);
    } while (Clock::now() < end && !raw.target.limits().cancelled());
}

}  // namespace pystack::snapshot
