#include "sampling/task_rows.h"

#include <algorithm>
#include <string>

namespace pystack::sampling {

void TaskRows::begin() {
    ++round_;
    left_out_ = lost_ = 0;
}

void TaskRows::add(RemoteAddr task, const Owner& owner, const What& what) {
    auto place = tasks_.find(task);
    if (place == tasks_.end()) {
        const std::size_t row = free_row(owner);
        if (row == SIZE_MAX) {
            ++left_out_;
            return;
        }
        place = tasks_.emplace(task, Placed{.row = row}).first;
    }
    place->second.round = round_;
    place->second.is_known = true;
    place->second.what = what;
}

void TaskRows::lose(RemoteAddr task) {
    const auto place = tasks_.find(task);
    if (place == tasks_.end()) {
        ++lost_;
        return;
    }
    place->second.round = round_;
    place->second.is_known = false;
}

void TaskRows::end() {
    std::erase_if(tasks_, [&](const auto& entry) {
        const Placed& placed = entry.second;
        if (placed.round == round_) return false;
        free_[rows_[placed.row].tid].push_back(placed.row);
        return true;
    });
}

void TaskRows::write(const Tick& tick, std::uint64_t weight_ns) {
    tick.stats.tasks_left_out += left_out_;
    tick.stats.tasks_unproved += lost_;
    for (const auto& [task, placed] : tasks_) {
        if (!placed.is_known) {
            ++tick.stats.tasks_unproved;
            continue;
        }
        Row& row = rows_[placed.row];
        ++tick.stats.task_samples;
        writer_.add_row(tick, weight_ns, row.thread, row.place, placed.what.stack, 0,
                        placed.what.wait);
    }
}

void TaskRows::clear() {
    rows_.clear();
    free_.clear();
    tasks_.clear();
    left_out_ = lost_ = 0;
}

std::size_t TaskRows::free_row(const Owner& owner) {
    std::vector<std::size_t>& free = free_[owner.tid];
    if (!free.empty()) {
        const std::size_t row = free.back();
        free.pop_back();
        return row;
    }
    if (rows_.size() >= kMost) return SIZE_MAX;
    const auto of_thread = std::ranges::count(rows_, owner.tid, &Row::tid);
    const std::uint32_t thread =
        identities_.add_known({.pid = owner.pid,
                               .tid = owner.tid,
                               .interpreter_id = owner.interpreter_id,
                               .name = "tasks " + std::to_string(of_thread + 1),
                               .is_of_tasks = true});
    if (identities_.is_left_out(thread)) return SIZE_MAX;
    rows_.push_back({.thread = thread, .tid = owner.tid});
    return rows_.size() - 1;
}

}  // namespace pystack::sampling
