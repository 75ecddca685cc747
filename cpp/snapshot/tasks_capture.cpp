#include "snapshot/tasks_capture.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "cpython/tasks/greenlet_reader.h"
#include "cpython/tasks/task_lists.h"
#include "cpython/tasks/task_reader.h"
#include "cpython/tasks/trio_reader.h"

namespace pystack::snapshot {

namespace {

/// 32 MiB: ten thousand tasks take a third of it.
constexpr std::size_t kMostCopiedPages = 8192;

void append(cpython::RawTasks more, cpython::RawTasks& tasks) {
    tasks.bytes += more.bytes;
    std::ranges::move(more.tasks, std::back_inserter(tasks.tasks));
    std::ranges::move(more.loops, std::back_inserter(tasks.loops));
    std::ranges::move(more.problems, std::back_inserter(tasks.problems));
}

}  // namespace

/// Once for all readings. False: nobody has imported one.
bool TasksCapture::find_libraries(RawSnapshot& raw, const cpython::WalkedInterpreters& walked) {
    const cpython::Layout& layout = raw.runtime.layout;
    const auto is_in_any = [&](auto is_imported) {
        return std::ranges::any_of(walked.interpreters, [&](const auto& interpreter) {
            return is_imported(pages_, layout, interpreter.address);
        });
    };
    if (!has_asyncio_) {
        has_asyncio_ = is_in_any(cpython::has_asyncio);
        if (has_asyncio_ && layout.llist_node.next)
            offsets_ = cpython::find_asyncio(raw.target, raw.runtime);
    }
    if (!has_trio_) has_trio_ = is_in_any(cpython::has_trio);
    if (!has_greenlet_) has_greenlet_ = is_in_any(cpython::has_greenlet);
    if (has_greenlet_ && !greenlets_) find_greenlets(raw);
    if (!has_library()) raw.tasks.emplace();
    return has_library();
}

void TasksCapture::find_greenlets(const RawSnapshot& raw) {
    greenlets_.emplace();
    const auto map = raw.target.memory_map();
    if (!map) return;
    greenlets_ = cpython::search_greenlets(raw.target.memory(), raw.runtime.layout, map->mappings,
                                           map->modules, raw.target.limits());
}

/// Remembers the code objects of their frames, each once.
void TasksCapture::note_code(const cpython::RawTasks& tasks) {
    for (const cpython::RawTask& task : tasks.tasks) {
        for (const cpython::AwaitingFrame& frame : task.chain.frames) {
            if (seen_code_.insert(frame.frame.code).second) code_frames_.push_back(frame.frame);
        }
    }
}

bool TasksCapture::read_pages(RawSnapshot& raw, const cpython::WalkedInterpreters& walked,
                              WorkLimits& limits, bool may_load) {
    const cpython::Layout& layout = raw.runtime.layout;
    cpython::TaskReader reader(pages_, layout, limits, offsets_);
    cpython::TrioReader trio_reader(pages_, layout, limits);
    cpython::RawTasks tasks = reader.read(walked);
    cpython::RawTasks trio = trio_reader.read(walked);
    cpython::RawTasks greenlets = read_greenlets(raw, limits);
    code_frames_.clear();
    seen_code_.clear();
    note_code(tasks);
    note_code(trio);
    note_code(greenlets);
    if (may_load) raw.codes.load(code_frames_);
    const bool all_known = std::ranges::all_of(
        code_frames_, [&](const auto& frame) { return raw.codes.find(frame.code) != nullptr; });
    reader.explain(tasks, raw.codes);
    trio_reader.explain(trio, raw.codes);
    if (has_asyncio_ && layout.llist_node.next && !offsets_) {
        tasks.problems.emplace_back(
            "the layout of asyncio tasks was not found: those made in C are missing");
    }
    add_threads(tasks, trio);
    append(std::move(trio), tasks);
    append(std::move(greenlets), tasks);
    raw.tasks = std::move(tasks);
    return all_known;
}

cpython::RawTasks TasksCapture::read_greenlets(const RawSnapshot& raw, WorkLimits& limits) const {
    if (!greenlets_) return {};
    cpython::GreenletReader reader(pages_, raw.runtime.layout, limits);
    cpython::RawTasks found = reader.read(greenlets_->objects);
    if (greenlets_->is_cut) {
        found.problems.emplace_back(
            "greenlets may be missing: not all of the memory was searched for them");
    }
    return found;
}

/// What the frames of threads say of their loops.
void TasksCapture::add_threads(cpython::RawTasks& asyncio, cpython::RawTasks& trio) const {
    for (cpython::RawEventLoop& loop : asyncio.loops) {
        const auto returned = loop.thread ? returned_s_.find(*loop.thread) : returned_s_.end();
        if (returned != returned_s_.end()) loop.returned_s = returned->second;
    }
    for (cpython::RawEventLoop& loop : trio.loops) {
        for (const auto& [thread, runner] : trio_runners_) {
            if (runner == loop.address) loop.thread = thread;
        }
    }
}

void TasksCapture::find_code(RawSnapshot& raw) {
    loop_times_.find_code(raw);
    runners_.find_code(raw);
}

void TasksCapture::read_threads(RawSnapshot& raw) {
    returned_s_ = loop_times_.read(raw);
    trio_runners_ = runners_.read(raw);
}

void TasksCapture::rehearse(RawSnapshot& raw) {
    const auto walked = cpython::walk_interpreters(
        raw.target.memory(), raw.runtime, cpython::most_thread_states(raw.target.thread_count()));
    if (!find_libraries(raw, walked)) return;
    find_code(raw);
    read_threads(raw);
    WorkLimits limits;  // What is read now is forgotten.
    read_pages(raw, walked, limits, true);
    raw.tasks->bytes = 0;
}

void TasksCapture::copy(RawSnapshot& raw) {
    if (!has_library()) return;
    pages_.copy_again(kMostCopiedPages);
    read_threads(raw);
    // Those that have changed are not known any more.
    raw.codes.verify(code_frames_);
}

bool TasksCapture::read_copy(RawSnapshot& raw) {
    if (!has_library()) {
        raw.tasks.emplace();
        return true;
    }
    pages_.freeze(true);
    const bool all_known = read_pages(raw, raw.walked, raw.target.limits(), false);
    pages_.freeze(false);
    return all_known && pages_.misses() == 0;
}

void TasksCapture::read(RawSnapshot& raw) {
    if (!find_libraries(raw, raw.walked)) return;
    pages_.copy_again(kMostCopiedPages);
    find_code(raw);
    read_threads(raw);
    raw.codes.verify(code_frames_);
    read_pages(raw, raw.walked, raw.target.limits(), true);
}

}  // namespace pystack::snapshot
