#include "snapshot/task_builder.h"

#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cpython/objects/repr_strings.h"
#include "cpython/runtime/nested_states.h"

namespace pystack::snapshot {

namespace {

using cpython::AwaitChain;
using cpython::RawFrame;
using cpython::RawTask;

/// What a frame takes here, in Python and as text, about.
constexpr std::uint64_t kFrameBytes = 768;

using Frames = std::shared_ptr<const std::vector<model::Frame>>;

/// Makes the frames of tasks. Thousands of tasks are at the same place: these share theirs, unless
/// these have variables.
class TaskFrames {
  public:
    TaskFrames(RawSnapshot& raw, FrameMaker& maker) : raw_(raw), maker_(maker) {
        for (const RawThread& thread : raw.threads) {
            for (std::size_t i = 0; i < thread.frames.size(); ++i)
                places_.try_emplace(thread.frames[i].address, Place{&thread, i});
        }
    }

    /// `lacks_calls` is set if what a running task has called is not known.
    Frames of(RawTask& task, bool& lacks_calls) {
        lacks_calls = false;
        if (task.state == model::TaskState::kRunning && !task.chain.frames.empty()) {
            const auto place = places_.find(task.chain.frames.front().frame.address);
            if (place != places_.end()) {
                // From its coroutine to the innermost call of its thread.
                const auto& [thread, index] = place->second;
                outermost_first_.assign(
                    thread->frames.rend() - static_cast<std::ptrdiff_t>(index) - 1,
                    thread->frames.rend());
                return shared();
            }
            lacks_calls = true;
        }
        outermost_first_.clear();
        for (const cpython::AwaitingFrame& frame : task.chain.frames)
            outermost_first_.push_back(frame.frame);
        return task.variables.empty() ? shared() : with_variables(task.variables);
    }

  private:
    struct Place {
        const RawThread* thread;
        std::size_t index;
    };
    using Key = std::vector<std::pair<std::uint64_t, std::uint64_t>>;  ///< Code, instruction.

    Frames shared() {
        Key key;
        key.reserve(outermost_first_.size());
        for (const RawFrame& frame : outermost_first_)
            key.emplace_back(frame.code.value, frame.instruction);
        Frames& known = made_[std::move(key)];
        if (known) return known;
        std::vector<model::Frame> frames;
        if (raw_.target.limits().charge_bytes(outermost_first_.size() * kFrameBytes)) {
            for (const RawFrame& raw_frame : outermost_first_) {
                if (const model::Frame* frame = maker_.make(raw_frame)) frames.push_back(*frame);
            }
        }
        known = std::make_shared<const std::vector<model::Frame>>(std::move(frames));
        return known;
    }

    Frames with_variables(std::vector<model::FrameVariables>& variables) {
        std::vector<model::Frame> frames;
        if (raw_.target.limits().charge_bytes(outermost_first_.size() * kFrameBytes)) {
            for (std::size_t i = 0; i < outermost_first_.size(); ++i) {
                const model::Frame* frame = maker_.make(outermost_first_[i]);
                if (frame == nullptr) continue;
                frames.push_back(*frame);
                frames.back().variables = std::move(variables[i]);
            }
        }
        return std::make_shared<const std::vector<model::Frame>>(std::move(frames));
    }

    RawSnapshot& raw_;
    FrameMaker& maker_;
    std::unordered_map<RemoteAddr, Place> places_;  ///< Of frames of threads.
    std::map<Key, Frames> made_;
    std::vector<RawFrame> outermost_first_;
};

/// The threads that greenlets belong to, by their C stacks.
class GreenletThreads {
  public:
    explicit GreenletThreads(const RawSnapshot& raw) : raw_(raw) {
        for (std::size_t i = 0; i < raw.threads.size(); ++i) {
            const RawThread& thread = raw.threads[i];
            const bool is_main = thread.info && raw.infos[*thread.info].tid == raw.target.pid();
            stacks_.add({thread.state.python_thread_id}, i, is_main);
        }
    }

    void find(const RawTask& read, model::Task& task) const {
        if (!read.c_stack) return;
        const auto thread = stacks_.find(read.c_stack);
        if (thread) task.python_thread_id = raw_.threads[*thread].state.python_thread_id;
    }

  private:
    const RawSnapshot& raw_;
    cpython::CStacks stacks_;
};

std::string problem_of_greenlet(const AwaitChain& frames) {
    using End = AwaitChain::End;
    switch (frames.end) {
        case End::kUnreadable:
            return "a frame could not be read";
        case End::kRing:
            return "the chain of frames is a ring";
        case End::kTooLong:
            return "the stack is too deep";
        case End::kAwaited:
        case End::kYields:
        case End::kRunning:
            break;
    }
    return "";
}

std::string problem_of(const RawTask& task) {
    using End = AwaitChain::End;
    if (task.library == model::TaskLibrary::kGreenlet) return problem_of_greenlet(task.chain);
    switch (task.chain.end) {
        case End::kUnreadable:
            return "an awaited object could not be read";
        case End::kRing:
            return "the chain of awaits is a ring";
        case End::kTooLong:
            return "the chain of awaits is too long";
        case End::kAwaited:
        case End::kYields:
        case End::kRunning:
            break;
    }
    return task.chain.frames.empty() ? "its coroutine is not made by Python" : "";
}

}  // namespace

void build_tasks(RawSnapshot& raw, FrameMaker& maker, model::Snapshot& snapshot) {
    if (!raw.tasks) return;
    TaskFrames frames(raw, maker);
    const GreenletThreads greenlet_threads(raw);
    std::vector<model::Task>& tasks = snapshot.tasks.emplace();
    tasks.reserve(raw.tasks->tasks.size());
    for (RawTask& read : raw.tasks->tasks) {
        if (raw.target.limits().cancelled()) return;
        model::Task& task = tasks.emplace_back();
        task.library = read.library;
        task.id = read.address.value;
        task.interpreter_id = raw.walked.interpreters[read.interpreter].id;
        task.name = std::move(read.name);
        task.state = read.state;
        if (read.loop) task.loop = read.loop.value;
        greenlet_threads.find(read, task);
        bool lacks_calls = false;
        task.frames = frames.of(read, lacks_calls);
        task.problem = problem_of(read);
        if (lacks_calls && task.problem.empty())
            task.problem = "its calls are missing, as the stack of its thread is";
        task.waits_for = std::move(read.wait);
        if (task.waits_for && read.wakes_at_s && raw.monotonic_s)
            task.waits_for->remaining_s = *read.wakes_at_s - *raw.monotonic_s;
        task.awaited_by = std::move(read.awaited_by);
    }
    for (std::string& problem : raw.tasks->problems)
        snapshot.problems.push_back(std::move(problem));
}

std::optional<model::EventLoop> event_loop_of(const RawSnapshot& raw,
                                              std::span<const std::size_t> states) {
    if (!raw.tasks) return std::nullopt;
    const auto& loops = raw.tasks->loops;
    const auto loop = std::ranges::find_if(loops, [states](const auto& one) {
        return one.thread && std::ranges::find(states, *one.thread) != states.end();
    });
    if (loop == loops.end()) return std::nullopt;
    model::EventLoop found{.id = loop->address.value, .type_name = loop->type_name};
    if (loop->running_task) found.running_task = loop->running_task.value;
    if (loop->returned_s && raw.monotonic_s && *loop->returned_s <= *raw.monotonic_s)
        found.busy_s = *raw.monotonic_s - *loop->returned_s;
    return found;
}

}  // namespace pystack::snapshot
