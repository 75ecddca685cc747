#include "snapshot/waits_builder.h"

#include <algorithm>
#include <optional>

namespace pystack::snapshot {

namespace {

using model::HolderProof;
using model::WaitKind;

model::Holder to_holder(const RawSnapshot& raw, const RawThread& thread, HolderProof proof) {
    model::Holder holder{.tid = {},
                         .python_thread_id = thread.state.python_thread_id,
                         .proof = proof,
                         .file = {},
                         .line = {}};
    if (thread.info) holder.tid = raw.infos[*thread.info].tid;
    return holder;
}

/// One OS thread can have states in several interpreters.
const RawThread* find_thread(const RawSnapshot& raw, std::uint64_t ident, std::size_t interpreter) {
    const RawThread* found = nullptr;
    for (const RawThread& thread : raw.threads) {
        if (thread.state.python_thread_id != ident) continue;
        if (thread.state.interpreter == interpreter) return &thread;
        if (found == nullptr) found = &thread;
    }
    return found;
}

void add_owner(const RawSnapshot& raw, const RawThread& read, model::Wait& wait) {
    const std::uint64_t ident = *read.wait->holder_ident;
    if (const RawThread* thread = find_thread(raw, ident, read.state.interpreter)) {
        wait.holders.push_back(to_holder(raw, *thread, read.wait->proof));
    } else {
        // It has ended, or Python does not know it any more.
        wait.holders.push_back({.tid = {},
                                .python_thread_id = ident,
                                .proof = read.wait->proof,
                                .file = {},
                                .line = {}});
    }
}

void add_owner_thread(const RawSnapshot& raw, const RawThread& read, model::Wait& wait) {
    const std::int32_t tid = *read.wait->holder_tid;
    const auto is_owner = [&](const RawThread& thread) {
        return thread.info && raw.infos[*thread.info].tid == tid;
    };
    const auto thread = std::ranges::find_if(raw.threads, is_owner);
    if (thread != raw.threads.end()) {
        wait.holders.push_back(to_holder(raw, *thread, read.wait->proof));
    } else {
        // Python does not know it.
        wait.holders.push_back({.tid = tid,
                                .python_thread_id = {},
                                .proof = read.wait->proof,
                                .file = {},
                                .line = {}});
    }
}

void add_with_block(RawSnapshot& raw, const BlockPlace& block, model::Wait& wait) {
    const RawThread& thread = raw.threads[block.thread];
    model::Holder holder = to_holder(raw, thread, HolderProof::kWithBlock);
    const cpython::RawTask* task = block.task ? &raw.tasks->tasks[*block.task] : nullptr;
    if (task != nullptr) holder.task = task->address.value;
    const cpython::RawFrame& frame =
        task != nullptr ? task->chain.frames[block.frame].frame : thread.frames[block.frame];
    const cpython::Code* code = raw.codes.find(frame.code);
    const auto place =
        code != nullptr ? raw.codes.place(*code, frame) : std::optional<std::int64_t>();
    if (place) {
        holder.file = code->file;
        holder.line = raw.codes.position(*code, *place).line;
    }
    wait.holders.push_back(std::move(holder));
}

model::Wait gil_wait(const RawSnapshot& raw, const RawThread& read) {
    model::Wait wait{.kind = WaitKind::kGil, .call = {}, .address = {}};
    const auto& gil = raw.gils[read.state.interpreter];
    if (!gil || !gil->locked || !gil->holder) return wait;
    for (const RawThread& thread : raw.threads) {
        if (thread.state.address == gil->holder && thread.state.address != read.state.address)
            wait.holders.push_back(to_holder(raw, thread, HolderProof::kOwner));
    }
    return wait;
}

/// Whether nobody else than its holders can end a wait.
bool needs_holders(const model::Wait& wait) {
    if (wait.is_timed || wait.holders.empty()) return false;
    switch (wait.kind) {
        case WaitKind::kLock:
        case WaitKind::kMutex:
        case WaitKind::kThread:
        case WaitKind::kImportLock:
            return wait.holders.size() == 1;
        case WaitKind::kFuture:
            return wait.pool_is_full || wait.holders.front().proof != HolderProof::kPool;
        default:
            return false;
    }
}

/// Of each thread, those of which one must go on before it can.
using Edges = std::vector<std::vector<std::size_t>>;

Edges find_edges(const std::vector<model::Thread>& threads) {
    Edges edges(threads.size());
    for (std::size_t i = 0; i < threads.size(); ++i) {
        if (!threads[i].waits_for) continue;
        const model::Wait& wait = *threads[i].waits_for;
        if (!wait.process_circle.empty()) edges[i] = {i};
        if (!needs_holders(wait)) continue;
        for (const model::Holder& holder : wait.holders) {
            const auto is_holder = [&](const model::Thread& thread) {
                if (holder.python_thread_id)
                    return thread.python_thread_id == holder.python_thread_id &&
                           thread.tid == holder.tid;
                return holder.tid && thread.tid == holder.tid;
            };
            const auto found = std::ranges::find_if(threads, is_holder);
            if (found == threads.end()) {
                edges[i].clear();
                break;
            }
            edges[i].push_back(static_cast<std::size_t>(found - threads.begin()));
        }
    }
    return edges;
}

/// Leaves only those of threads that none can let go on: who does not wait may, and so all that it
/// holds up, and so on.
void remove_free(Edges& edges) {
    std::vector<std::vector<std::size_t>> waiters(edges.size());
    std::vector<std::size_t> free;
    for (std::size_t i = 0; i < edges.size(); ++i) {
        if (edges[i].empty()) free.push_back(i);
        for (const std::size_t holder : edges[i]) waiters[holder].push_back(i);
    }
    while (!free.empty()) {
        const std::size_t one = free.back();
        free.pop_back();
        for (const std::size_t waiter : waiters[one]) {
            if (edges[waiter].empty()) continue;
            edges[waiter].clear();
            free.push_back(waiter);
        }
    }
}

/// All that can be reached, in the order in which they wait for each other.
void add_reached(const Edges& edges, std::size_t first, std::vector<bool>& seen,
                 std::vector<std::size_t>& reached) {
    std::vector<std::size_t> next{first};
    while (!next.empty()) {
        const std::size_t at = next.back();
        next.pop_back();
        if (seen[at]) continue;
        seen[at] = true;
        reached.push_back(at);
        next.insert(next.end(), edges[at].rbegin(), edges[at].rend());
    }
}

}  // namespace

model::Boxed<model::Wait> build_wait(RawSnapshot& raw, const RawThread& read, model::GilState gil) {
    if (gil == model::GilState::kWaits) return gil_wait(raw, read);
    if (!read.wait) return {};
    model::Wait wait = read.wait->wait;
    if (read.wait->holder_ident) add_owner(raw, read, wait);
    if (read.wait->holder_tid) add_owner_thread(raw, read, wait);
    for (const BlockPlace& block : read.wait->with_blocks) add_with_block(raw, block, wait);
    for (const std::size_t worker : read.wait->workers)
        wait.holders.push_back(to_holder(raw, raw.threads[worker], read.wait->worker_proof));
    wait.pool_is_full = read.wait->pool_is_full;
    return wait;
}

std::vector<std::vector<std::size_t>> find_deadlocks(const std::vector<model::Thread>& threads) {
    Edges edges = find_edges(threads);
    remove_free(edges);
    std::vector<std::vector<std::size_t>> circles;
    std::vector<bool> seen(threads.size());
    std::vector<std::size_t> reached_from(threads.size(), threads.size());
    for (std::size_t start = 0; start < threads.size(); ++start) {
        if (edges[start].empty()) continue;
        // Until it meets what was seen: on this walk, then it is a circle, or before.
        std::size_t at = start;
        while (reached_from[at] == threads.size()) {
            reached_from[at] = start;
            at = edges[at].front();
        }
        if (reached_from[at] != start || seen[at]) continue;
        std::vector<std::size_t>& circle = circles.emplace_back();
        add_reached(edges, at, seen, circle);
        std::ranges::rotate(circle, std::ranges::min_element(circle));
    }
    return circles;
}

}  // namespace pystack::snapshot
