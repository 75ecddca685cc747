#include "snapshot/waits_builder.h"

#include <doctest/doctest.h>

using namespace pystack;
using namespace pystack::snapshot;
using model::WaitKind;

namespace {

using Circles = std::vector<std::vector<std::size_t>>;

/// Threads that each wait for the thread of this index, or for nobody.
std::vector<model::Thread> waiting(const std::vector<std::optional<std::uint64_t>>& next,
                                   WaitKind kind = WaitKind::kLock, bool timed = false) {
    std::vector<model::Thread> threads;
    for (std::size_t i = 0; i < next.size(); ++i) {
        model::Thread& thread = threads.emplace_back();
        thread.tid = static_cast<std::int32_t>(100 + i);
        thread.python_thread_id = i;
        if (!next[i]) continue;
        model::Wait& wait = thread.waits_for.emplace();
        wait.kind = kind;
        wait.is_timed = timed;
        model::Holder holder;
        holder.tid = static_cast<std::int32_t>(100 + *next[i]);
        holder.python_thread_id = *next[i];
        wait.holders.push_back(holder);
    }
    return threads;
}

}  // namespace

TEST_CASE("circles of threads that wait for each other") {
    CHECK(find_deadlocks({}).empty());
    CHECK(find_deadlocks(waiting({{}, {}})).empty());
    CHECK(find_deadlocks(waiting({1, {}})).empty());
    CHECK(find_deadlocks(waiting({1, 0})) == Circles{{0, 1}});
    CHECK(find_deadlocks(waiting({0})) == Circles{{0}});
    // Others wait for the circle, and it is one, wherever the walk begins.
    CHECK(find_deadlocks(waiting({2, 0, 3, 2})) == Circles{{2, 3}});
    CHECK(find_deadlocks(waiting({3, 3, 1, 2, 0})) == Circles{{1, 3, 2}});
    CHECK(find_deadlocks(waiting({1, 0, 3, 2})) == Circles{{0, 1}, {2, 3}});
    CHECK(find_deadlocks(waiting({1, 0}, WaitKind::kThread)) == Circles{{0, 1}});
    // Somebody who is not there.
    CHECK(find_deadlocks(waiting({1, 7})).empty());
}

TEST_CASE("waits that are no part of a circle") {
    CHECK(find_deadlocks(waiting({1, 0}, WaitKind::kLock, true)).empty());
    CHECK(find_deadlocks(waiting({1, 0}, WaitKind::kCondition)).empty());
    CHECK(find_deadlocks(waiting({1, 0}, WaitKind::kGil)).empty());
    auto threads = waiting({1, 0});
    // Either of two could end it.
    threads[0].waits_for->holders.push_back({});
    CHECK(find_deadlocks(threads).empty());
}

TEST_CASE("futures are part of a circle if it is sure who completes them") {
    auto threads = waiting({1, 0}, WaitKind::kFuture);
    const auto with_proof = [&](model::HolderProof proof) {
        for (model::Thread& thread : threads) thread.waits_for->holders.front().proof = proof;
        return find_deadlocks(threads);
    };
    CHECK(with_proof(model::HolderProof::kLoop) == Circles{{0, 1}});
    CHECK(with_proof(model::HolderProof::kWorker) == Circles{{0, 1}});
    CHECK(with_proof(model::HolderProof::kPool).empty());
}

TEST_CASE("a thread that waits for processes that wait for it is a circle by itself") {
    auto threads = waiting({{}, {}});
    threads[1].waits_for.emplace().kind = WaitKind::kPipe;
    CHECK(find_deadlocks(threads).empty());
    threads[1].waits_for->process_circle.push_back({.process = {.pid = 7, .command = {}}});
    CHECK(find_deadlocks(threads) == Circles{{1}});
}
