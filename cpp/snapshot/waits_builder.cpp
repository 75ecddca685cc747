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

void add_owner_thread(const RawSnapshot& raw, std::int32_t tid, model::Wait& wait) {
    const auto is_owner = [&](const RawThread& thread) {
        return thread.info && raw.infos[*thread.info].tid == tid;
    };
    const auto thread = std::ranges::find_if(raw.threads, is_owner);
    if (thread != raw.threads.end()) {
        wait.holders.push_back(to_holder(raw, *thread, HolderProof::kOwner));
    } else {
        // Python does not know it.
        wait.holders.push_back({.tid = tid,
                                .python_thread_id = {},
                                .proof = HolderProof::kOwner,
                                .file = {},
                                .line = {}});
    }
}

void add_with_block(RawSnapshot& raw, const BlockPlace& block, model::Wait& wait) {
    const RawThread& thread = raw.threads[block.thread];
    const cpython::RawFrame& frame = thread.frames[block.frame];
    model::Holder holder = to_holder(raw, thread, HolderProof::kWithBlock);
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

bool can_block_for_ever(const model::Wait& wait) {
    switch (wait.kind) {
        case WaitKind::kLock:
        case WaitKind::kMutex:
        case WaitKind::kThread:
        case WaitKind::kImportLock:
            return !wait.is_timed && wait.holders.size() == 1;
        default:
            return false;
    }
}

/// For which other thread each thread waits.
std::vector<std::optional<std::size_t>> find_edges(const std::vector<model::Thread>& threads) {
    std::vector<std::optional<std::size_t>> next(threads.size());
    for (std::size_t i = 0; i < threads.size(); ++i) {
        if (threads[i].waits_for && threads[i].waits_for->is_process_circle) next[i] = i;
        if (!threads[i].waits_for || !can_block_for_ever(*threads[i].waits_for)) continue;
        const model::Holder& holder = threads[i].waits_for->holders.front();
        const auto is_holder = [&](const model::Thread& thread) {
            if (holder.python_thread_id)
                return thread.python_thread_id == holder.python_thread_id &&
                       thread.tid == holder.tid;
            return holder.tid && thread.tid == holder.tid;
        };
        const auto found = std::ranges::find_if(threads, is_holder);
        if (found != threads.end()) next[i] = static_cast<std::size_t>(found - threads.begin());
    }
    return next;
}

}  // namespace

model::Boxed<model::Wait> build_wait(RawSnapshot& raw, const RawThread& read, model::GilState gil) {
    if (gil == model::GilState::kWaits) return gil_wait(raw, read);
    if (!read.wait) return {};
    model::Wait wait = read.wait->wait;
    if (read.wait->holder_ident) add_owner(raw, read, wait);
    if (read.wait->holder_tid) add_owner_thread(raw, *read.wait->holder_tid, wait);
    for (const BlockPlace& block : read.wait->with_blocks) add_with_block(raw, block, wait);
    return wait;
}

std::vector<std::vector<std::size_t>> find_deadlocks(const std::vector<model::Thread>& threads) {
    const auto next = find_edges(threads);
    std::vector<std::vector<std::size_t>> circles;
    std::vector<std::size_t> reached_from(threads.size(), threads.size());
    for (std::size_t start = 0; start < threads.size(); ++start) {
        std::optional<std::size_t> at = start;
        // Until it ends, or meets what was seen: on this walk, then it is a circle, or before.
        while (at && reached_from[*at] == threads.size()) {
            reached_from[*at] = start;
            at = next[*at];
        }
        if (!at || reached_from[*at] != start) continue;
        std::vector<std::size_t>& circle = circles.emplace_back();
        const std::size_t first = *at;
        do {
            circle.push_back(*at);
            at = next[*at];
        } while (*at != first);
        std::ranges::rotate(circle, std::ranges::min_element(circle));
    }
    return circles;
}

}  // namespace pystack::snapshot
