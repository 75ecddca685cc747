#include "snapshot/task_choice.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

namespace pystack::snapshot {

namespace {

using Place = std::vector<std::pair<std::uint64_t, std::uint64_t>>;  ///< Code, instruction.

Place place_of(const cpython::RawTask& task) {
    Place place;
    place.reserve(task.chain.frames.size());
    for (const cpython::AwaitingFrame& frame : task.chain.frames)
        place.emplace_back(frame.frame.code.value, frame.frame.instruction);
    return place;
}

}  // namespace

TaskChoice choose_tasks(std::span<const cpython::RawTask> tasks, std::size_t most) {
    /// A task, and how many before it are at the same place.
    struct Candidate {
        std::size_t before;
        std::size_t index;
    };
    std::vector<Candidate> candidates;
    std::map<Place, std::size_t> seen;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
        const bool is_running = tasks[i].state == model::TaskState::kRunning;
        if (is_running || tasks[i].chain.frames.empty()) continue;
        candidates.push_back({seen[place_of(tasks[i])]++, i});
    }
    std::ranges::stable_sort(candidates, {}, &Candidate::before);
    TaskChoice choice;
    for (const Candidate& one : candidates) {
        if (choice.chosen.size() == most) break;
        choice.chosen.push_back(one.index);
    }
    choice.left_out = candidates.size() - choice.chosen.size();
    return choice;
}

}  // namespace pystack::snapshot
