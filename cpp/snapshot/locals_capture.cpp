#include "snapshot/locals_capture.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "memory/memory_copy.h"
#include "snapshot/task_choice.h"

namespace pystack::snapshot {

namespace {

using cpython::LocalsReader;
using cpython::RawFrame;

/// Of which variables are read: rendering them can take as long as it takes for a thread.
constexpr std::size_t kMostTasks = 200;
/// The part of a thread's byte budget that each of them has.
constexpr double kTaskShare = 0.125;
/// Variables of one stack that are shown, at its innermost and at its outermost end. Nobody reads
/// more, and a stack can be a million frames deep.
constexpr std::size_t kMostInner = 4000;
constexpr std::size_t kMostOuter = 1000;
/// Frames that are copied at once to count their variables.
constexpr std::size_t kCountedAtOnce = 1024;

std::uint64_t size_of(const model::FrameVariables& frame) {
    std::uint64_t bytes = frame.variables.size() * sizeof(model::Variable);
    for (const model::Variable& variable : frame.variables) {
        bytes +=
            variable.name.size() + variable.value.size() + variable.type_name.value_or("").size();
    }
    return bytes;
}

}  // namespace

LocalsCapture::LocalsCapture(const memory::MemoryReader& memory, const cpython::Layout& layout,
                             const LocalsOptions& options)
    : memory_(memory),
      reader_(memory, layout),
      renderer_(memory, layout, options.limits, options.redaction) {}

void LocalsCapture::rehearse(RawSnapshot& raw, std::vector<RawFrame>& frames) {
    const FoundThread found = find(raw, frames, memory_);
    LocalsReader::render(found.frames, renderer_);
}

void LocalsCapture::rehearse_tasks(RawSnapshot& raw) {
    if (!raw.tasks) return;
    // When they are rendered, the names of their variables can no longer be read.
    std::unordered_set<const cpython::Code*> codes;
    for (const cpython::RawTask& task : raw.tasks->tasks) {
        for (const cpython::AwaitingFrame& frame : task.chain.frames)
            codes.insert(raw.codes.find(frame.frame.code));
    }
    reader_.load(std::vector(codes.begin(), codes.end()));
    for (const std::size_t i : choose_tasks(raw.tasks->tasks, kMostTasks).chosen) {
        if (raw.target.limits().cancelled()) return;
        LocalsReader::render(find(raw, raw.tasks->tasks[i]).frames, renderer_, kTaskShare);
    }
}

void LocalsCapture::copy(RawSnapshot& raw) {
    renderer_.reset();
    found_.clear();
    for (const RawThread& thread : raw.threads) found_.push_back(find(raw, thread.frames, memory_));
}

bool LocalsCapture::render(RawSnapshot& raw) {
    renderer_.freeze();
    render_all(raw);
    const bool complete = renderer_.misses() == 0;
    renderer_.unfreeze();
    return complete;
}

void LocalsCapture::read(RawSnapshot& raw) {
    copy(raw);
    render_all(raw);
}

void LocalsCapture::render_all(RawSnapshot& raw) {
    for (std::size_t i = 0; i < found_.size() && i < raw.threads.size(); ++i) {
        RawThread& thread = raw.threads[i];
        take(raw, found_[i], LocalsReader::render(found_[i].frames, renderer_),
             thread.frames.size(), thread.variables);
    }
    if (raw.tasks) render_tasks(raw);
}

void LocalsCapture::render_tasks(RawSnapshot& raw) {
    std::vector<cpython::RawTask>& tasks = raw.tasks->tasks;
    const TaskChoice choice = choose_tasks(tasks, kMostTasks);
    for (const std::size_t i : choice.chosen) {
        if (raw.target.limits().cancelled()) return;
        const FoundThread found = find(raw, tasks[i]);
        take(raw, found, LocalsReader::render(found.frames, renderer_, kTaskShare),
             tasks[i].chain.frames.size(), tasks[i].variables);
        std::ranges::reverse(tasks[i].variables);
    }
    if (choice.left_out == 0) return;
    raw.tasks->problems.push_back("the variables of " + std::to_string(choice.left_out) +
                                  " tasks were not read: those of at most " +
                                  std::to_string(kMostTasks) + " tasks are");
}

/// Innermost first, as those of threads. Through the copy of the renderer: when the chain is known
/// the target may run again.
LocalsCapture::FoundThread LocalsCapture::find(RawSnapshot& raw, const cpython::RawTask& task) {
    std::vector<RawFrame> frames;
    for (const cpython::AwaitingFrame& frame : task.chain.frames) frames.push_back(frame.frame);
    std::ranges::reverse(frames);
    return find(raw, frames, renderer_.memory());
}

/// Makes `variables` of what was rendered, if the limits allow it.
void LocalsCapture::take(RawSnapshot& raw, const FoundThread& found,
                         std::vector<model::FrameVariables> rendered, std::size_t frame_count,
                         std::vector<model::FrameVariables>& variables) {
    std::uint64_t bytes = frame_count * sizeof(model::FrameVariables);
    for (const model::FrameVariables& frame : rendered) bytes += size_of(frame);
    if (!raw.take_variables(bytes)) return;
    variables.assign(frame_count, {});
    for (std::size_t k = 0; k < rendered.size(); ++k)
        variables[found.places[k]] = std::move(rendered[k]);
    for (const LeftOut& frame : found.left_out) variables[frame.place].omitted = frame.count;
}

LocalsCapture::FoundThread LocalsCapture::find(RawSnapshot& raw, std::span<const RawFrame> frames,
                                               const memory::MemoryReader& memory) {
    // Only frames that run code that is known.
    std::vector<LocalsReader::Frame> readable;
    std::vector<const cpython::Code*> codes;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const cpython::Code* code = frames[i].shim ? nullptr : raw.codes.find(frames[i].code);
        if (code == nullptr || code->problem) continue;
        readable.push_back({&frames[i], code});
        codes.push_back(code);
        places.push_back(i);
    }
    reader_.load(codes);
    const std::vector<bool> is_shown = choose(readable);
    FoundThread found;
    std::vector<LocalsReader::Frame> shown;
    std::vector<LocalsReader::Frame> others;
    std::vector<std::size_t> other_places;
    std::vector<RemoteRange> ranges;
    for (std::size_t i = 0; i < readable.size(); ++i) {
        if (!is_shown[i]) {
            others.push_back(readable[i]);
            other_places.push_back(places[i]);
            continue;
        }
        shown.push_back(readable[i]);
        found.places.push_back(places[i]);
        ranges.push_back(reader_.range(*readable[i].code, *readable[i].raw));
    }
    memory::MemoryCopy copy(memory);
    copy.fetch(ranges);
    found.frames = reader_.find(shown, copy, renderer_);
    count(others, other_places, memory, found);
    return found;
}

/// Which frames are shown: those of the ends, as far as they have no more variables than that.
std::vector<bool> LocalsCapture::choose(std::span<const LocalsReader::Frame> frames) {
    std::vector<bool> shown(frames.size());
    std::size_t outermost = frames.size();
    for (std::size_t left = kMostOuter; outermost > 0; --outermost) {
        // A frame without variables takes its place as well.
        const std::size_t most = reader_.most_variables(*frames[outermost - 1].code) + 1;
        if (most > left) break;
        left -= most;
        shown[outermost - 1] = true;
    }
    std::size_t left = kMostInner;
    for (std::size_t i = 0; i < outermost; ++i) {
        const std::size_t most = reader_.most_variables(*frames[i].code) + 1;
        if (most > left) break;
        left -= most;
        shown[i] = true;
    }
    return shown;
}

void LocalsCapture::count(std::span<const LocalsReader::Frame> frames,
                          std::span<const std::size_t> places, const memory::MemoryReader& memory,
                          FoundThread& found) {
    memory::MemoryCopy copy(memory);
    std::vector<RemoteRange> ranges;
    for (std::size_t first = 0; first < frames.size(); first += kCountedAtOnce) {
        const auto some = frames.subspan(first, std::min(kCountedAtOnce, frames.size() - first));
        ranges.clear();
        for (const LocalsReader::Frame& frame : some)
            ranges.push_back(reader_.range(*frame.code, *frame.raw));
        copy.clear();
        copy.fetch(ranges);
        for (std::size_t i = 0; i < some.size(); ++i)
            found.left_out.push_back({places[first + i], reader_.count(some[i], copy)});
    }
}

}  // namespace pystack::snapshot
