#include "cpython/runtime/thread_matching.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <set>

#include "cpython/runtime/nested_states.h"

namespace pystack::cpython {

namespace {

using Matches = std::vector<std::optional<std::size_t>>;

/// Where the tid can stand in struct pthread, from its start: 720 on x86-64 glibc, 48 on musl.
constexpr std::size_t kPthreadBytes = 1024;

std::int64_t inner_tid(const target::ThreadInfo& info) {
    return info.namespace_tid.value_or(info.tid);
}

void match_native_ids(std::span<const ThreadState> states,
                      const std::unordered_map<std::int64_t, std::size_t>& by_tid,
                      Matches& matches) {
    for (std::size_t i = 0; i < states.size(); ++i) {
        if (!states[i].native_thread_id) continue;
        const auto known = by_tid.find(static_cast<std::int64_t>(*states[i].native_thread_id));
        if (known != by_tid.end()) matches[i] = known->second;
    }
}

void match_thread_pointers(std::span<const ThreadState> states,
                           std::span<const target::ThreadInfo> infos,
                           const std::unordered_map<std::int32_t, RemoteAddr>& thread_pointers,
                           Matches& matches) {
    std::unordered_map<std::uint64_t, std::size_t> by_pointer;
    for (std::size_t i = 0; i < infos.size(); ++i) {
        const auto pointer = thread_pointers.find(infos[i].tid);
        if (pointer != thread_pointers.end()) by_pointer.emplace(pointer->second.value, i);
    }
    for (std::size_t i = 0; i < states.size(); ++i) {
        if (matches[i]) continue;
        const auto known = by_pointer.find(states[i].python_thread_id);
        if (known != by_pointer.end()) matches[i] = known->second;
    }
}

/// The C library's own record: the one offset at which every thread's structure holds one of the
/// process's tids, each another.
void match_pthread_structures(std::span<const ThreadState> states,
                              const std::unordered_map<std::int64_t, std::size_t>& by_tid,
                              const memory::MemoryReader& memory, Matches& matches) {
    using Words = std::array<std::int32_t, kPthreadBytes / sizeof(std::int32_t)>;
    std::vector<Words> structures;
    std::vector<std::size_t> owners;
    for (std::size_t i = 0; i < states.size(); ++i) {
        if (matches[i] || states[i].python_thread_id == 0) continue;
        Words words{};
        const auto bytes = std::as_writable_bytes(std::span(words));
        if (memory.read_up_to({states[i].python_thread_id}, bytes) < bytes.size()) continue;
        structures.push_back(words);
        owners.push_back(i);
    }
    if (structures.empty()) return;
    for (std::size_t word = 0; word < Words().size(); ++word) {
        std::set<std::int32_t> tids;
        for (const Words& words : structures) {
            if (by_tid.contains(words[word])) tids.insert(words[word]);
        }
        // Several thread states can belong to one OS thread (subinterpreters): count the
        // structures.
        std::set<std::uint64_t> distinct;
        for (const std::size_t owner : owners) distinct.insert(states[owner].python_thread_id);
        if (tids.size() != distinct.size()) continue;
        for (std::size_t k = 0; k < owners.size(); ++k) {
            // Not there: a structure that was read twice and freed in between.
            const auto known = by_tid.find(structures[k][word]);
            if (known != by_tid.end()) matches[owners[k]] = known->second;
        }
        return;
    }
}

/// A thread state is made by the thread that starts another, and bears its creator's ids until the
/// new thread has set its own, one after the other [Modules/_threadmodule.c: thread_run]. Of
/// several states of one interpreter with the same id, the oldest is the thread's own; states are
/// listed oldest first.
void forget_starting_threads(std::span<const ThreadState> states, Matches& matches) {
    std::set<std::pair<std::size_t, std::uint64_t>> seen_ids;
    std::set<std::pair<std::size_t, std::size_t>> seen_threads;
    for (std::size_t i = 0; i < states.size(); ++i) {
        const std::size_t interpreter = states[i].interpreter;
        const bool has_own_id = seen_ids.emplace(interpreter, states[i].python_thread_id).second;
        const bool has_own_thread =
            !matches[i] || seen_threads.emplace(interpreter, *matches[i]).second;
        if (!has_own_id || !has_own_thread) matches[i].reset();
    }
}

}  // namespace

void correct_by_c_stacks(std::span<const ThreadState> states,
                         std::span<const std::optional<RemoteAddr>> places,
                         std::optional<std::size_t> main_thread,
                         std::span<std::optional<std::size_t>> threads) {
    CStacks stacks;
    std::map<std::size_t, std::set<std::size_t>> interpreters;  // By thread that is claimed.
    for (std::size_t i = 0; i < states.size(); ++i) {
        if (!threads[i]) continue;
        stacks.add({states[i].python_thread_id}, *threads[i], threads[i] == main_thread);
        interpreters[*threads[i]].insert(states[i].interpreter);
    }
    for (std::size_t i = 0; i < places.size(); ++i) {
        const bool is_sure = threads[i] && interpreters[*threads[i]].size() == 1;
        if (is_sure || !places[i]) continue;
        if (const auto owner = stacks.find(*places[i])) threads[i] = owner;
    }
}

std::vector<std::optional<std::size_t>> match_threads(
    std::span<const ThreadState> states, std::span<const target::ThreadInfo> infos,
    const std::unordered_map<std::int32_t, RemoteAddr>& thread_pointers,
    const memory::MemoryReader& memory, const PlacesOnStacks& places) {
    Matches matches(states.size());
    std::unordered_map<std::int64_t, std::size_t> by_tid;
    for (std::size_t i = 0; i < infos.size(); ++i) by_tid.emplace(inner_tid(infos[i]), i);
    match_thread_pointers(states, infos, thread_pointers, matches);
    match_native_ids(states, by_tid, matches);
    match_pthread_structures(states, by_tid, memory, matches);
    forget_starting_threads(states, matches);
    if (!places.of_states.empty()) {
        const auto main = std::ranges::find(infos, places.main_tid, &target::ThreadInfo::tid);
        const auto number = main != infos.end()
                                ? std::optional(static_cast<std::size_t>(main - infos.begin()))
                                : std::nullopt;
        correct_by_c_stacks(states, places.of_states, number, matches);
    }
    return matches;
}

}  // namespace pystack::cpython
