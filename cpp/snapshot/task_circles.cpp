#include "snapshot/task_circles.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <unordered_map>
#include <utility>

namespace pystack::snapshot {

namespace {

using model::Task;
using model::TaskWaitKind;

/// Of each task, those that all must go on before it can.
using Edges = std::vector<std::vector<std::size_t>>;
using Places = std::unordered_map<std::uint64_t, std::size_t>;

bool awaits_all(const Task& task) {
    return task.waits_for && (task.waits_for->kind == TaskWaitKind::kGather ||
                              task.waits_for->kind == TaskWaitKind::kTaskGroup);
}

Edges find_edges(const std::vector<Task>& tasks, const Places& places) {
    Edges edges(tasks.size());
    const auto add = [&](std::size_t from, std::uint64_t id) {
        if (const auto place = places.find(id); place != places.end())
            edges[from].push_back(place->second);
    };
    for (std::size_t i = 0; i < tasks.size(); ++i) {
        for (const std::uint64_t awaiter : tasks[i].awaited_by) {
            const auto place = places.find(awaiter);
            if (place != places.end() && awaits_all(tasks[place->second]))
                edges[place->second].push_back(i);
        }
        if (!tasks[i].waits_for) continue;
        const model::TaskWait& wait = *tasks[i].waits_for;
        if (wait.kind == TaskWaitKind::kTask) add(i, wait.object);
        if (wait.kind == TaskWaitKind::kLock && wait.holders.size() == 1)
            add(i, wait.holders.front());
    }
    return edges;
}

/// Those that a timeout may let go on: their own, or of who awaits them, which cancels them.
std::vector<bool> find_timed(const std::vector<Task>& tasks, const Places& places) {
    std::vector<std::vector<std::size_t>> awaited(tasks.size());
    std::vector<std::size_t> next;
    std::vector<bool> timed(tasks.size());
    for (std::size_t i = 0; i < tasks.size(); ++i) {
        for (const std::uint64_t awaiter : tasks[i].awaited_by) {
            if (const auto place = places.find(awaiter); place != places.end())
                awaited[place->second].push_back(i);
        }
        if (tasks[i].waits_for && tasks[i].waits_for->may_time_out) next.push_back(i);
    }
    while (!next.empty()) {
        const std::size_t at = next.back();
        next.pop_back();
        if (timed[at]) continue;
        timed[at] = true;
        next.insert(next.end(), awaited[at].begin(), awaited[at].end());
    }
    return timed;
}

}  // namespace

std::vector<std::vector<std::uint64_t>> find_task_deadlocks(const std::vector<Task>& tasks) {
    Places places;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
        // Other libraries cancel tasks in ways that are not seen.
        if (tasks[i].library == model::TaskLibrary::kAsyncio) places.emplace(tasks[i].id, i);
    }
    const Edges edges = find_edges(tasks, places);
    const std::vector<bool> timed = find_timed(tasks, places);

    std::vector<std::vector<std::uint64_t>> circles;
    std::vector<bool> seen = timed;
    std::vector<bool> in_circle(tasks.size());
    std::vector<std::size_t> place_on_way(tasks.size(), tasks.size());  // The size: not on it.
    for (std::size_t start = 0; start < tasks.size(); ++start) {
        // The way from there, and which edge is the next one of each task on it.
        std::vector<std::pair<std::size_t, std::size_t>> way;
        const auto enter = [&](std::size_t task) {
            if (seen[task]) return;
            seen[task] = true;
            place_on_way[task] = way.size();
            way.emplace_back(task, 0);
        };
        enter(start);
        while (!way.empty()) {
            auto& [at, edge] = way.back();
            if (edge == edges[at].size()) {
                place_on_way[at] = tasks.size();
                way.pop_back();
                continue;
            }
            const std::size_t to = edges[at][edge++];
            if (place_on_way[to] == tasks.size()) {
                enter(to);
                continue;
            }
            const auto circle = std::span(way).subspan(place_on_way[to]);
            if (std::ranges::any_of(circle, [&](const auto& one) { return in_circle[one.first]; }))
                continue;
            std::vector<std::uint64_t>& ids = circles.emplace_back();
            for (const auto& [task, _] : circle) {
                in_circle[task] = true;
                ids.push_back(tasks[task].id);
            }
        }
    }
    return circles;
}

}  // namespace pystack::snapshot
