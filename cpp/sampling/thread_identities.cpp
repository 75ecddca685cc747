#include "sampling/thread_identities.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

#include "cpython/runtime/thread_matching.h"
#include "cpython/runtime/thread_names.h"

namespace pystack::sampling {

namespace {

constexpr std::uint64_t kFirstPauseNs = 5'000'000;
constexpr std::uint64_t kLongestPauseNs = 10'000'000'000;
/// Of a thread in a recording, with its track in the profile.
constexpr std::uint64_t kThreadBytes = 1024;

using cpython::ThreadNames;

}  // namespace

/// Nobody is asked about it.
std::uint32_t ThreadIdentities::left_out() {
    if (!left_out_) {
        left_out_ = static_cast<std::uint32_t>(threads_.size());
        threads_.push_back({.who = {.pid = target_.pid(), .name = "<left out: memory limit>"},
                            .ask_at_ns = ~std::uint64_t{0}});
        changed_.push_back(*left_out_);
    }
    return *left_out_;
}

std::uint32_t ThreadIdentities::add(std::uint64_t now_ns) {
    if (!limits_->charge_bytes(kThreadBytes)) return left_out();
    const auto index = static_cast<std::uint32_t>(threads_.size());
    threads_.push_back({.who = {.pid = target_.pid(), .tid = 0, .interpreter_id = 0, .name = {}},
                        .ask_at_ns = now_ns,
                        .pause_ns = kFirstPauseNs});
    changed_.push_back(index);
    ask_at_ns_ = 0;
    return index;
}

std::uint32_t ThreadIdentities::add_known(model::SampledThread who) {
    if (!limits_->charge_bytes(kThreadBytes)) return left_out();
    const auto index = static_cast<std::uint32_t>(threads_.size());
    threads_.push_back({.who = std::move(who)});
    changed_.push_back(index);
    return index;
}

std::vector<std::uint32_t> ThreadIdentities::renumber(std::span<const std::uint32_t> kept,
                                                      std::uint64_t now_ns) {
    const std::vector<Thread> before = std::exchange(threads_, {});
    const auto left_out_before = std::exchange(left_out_, std::nullopt);
    changed_.clear();
    std::vector<std::uint32_t> numbers;
    for (const std::uint32_t old : kept) {
        const std::uint32_t index = add(now_ns);
        if (index != left_out_ && old != left_out_before) threads_[index] = before[old];
        numbers.push_back(index);
    }
    return numbers;
}

/// Their places in `threads`.
std::vector<std::size_t> ThreadIdentities::due_threads(std::uint64_t now_ns,
                                                       std::span<const std::uint32_t> threads) {
    std::vector<std::size_t> due;
    if (now_ns < ask_at_ns_) return due;
    ask_at_ns_ = ~std::uint64_t{0};
    for (std::size_t i = 0; i < threads.size(); ++i) {
        Thread& thread = threads_[threads[i]];
        if (now_ns >= thread.ask_at_ns) {
            thread.ask_at_ns = now_ns + thread.pause_ns;
            thread.pause_ns = std::min(thread.pause_ns * 4, kLongestPauseNs);
            due.push_back(i);
        }
        ask_at_ns_ = std::min(ask_at_ns_, thread.ask_at_ns);
    }
    return due;
}

bool ThreadIdentities::update(std::uint64_t now_ns, const cpython::Runtime& runtime,
                              const cpython::CachedInterpreters& interpreters,
                              std::span<const std::uint32_t> threads) {
    const std::vector<std::size_t> due = due_threads(now_ns, threads);
    if (due.empty()) return false;
    const auto& states = interpreters.threads();
    const auto infos = target_.threads().value_or(std::vector<target::ThreadInfo>{});
    const auto matches = cpython::match_threads(states, infos, {}, target_.memory());
    std::unordered_map<std::size_t, ThreadNames> names;
    bool changed = false;
    for (const std::size_t i : due) {
        const cpython::ThreadState& state = states[i];
        const cpython::InterpreterState& interpreter =
            interpreters.interpreters()[state.interpreter];
        model::SampledThread who{.pid = target_.pid(), .interpreter_id = interpreter.id};
        if (matches[i]) {
            who.tid = infos[*matches[i]].tid;
            who.name = infos[*matches[i]].name.value_or("");
            const auto [place, added] = names.try_emplace(state.interpreter);
            if (added) {
                place->second = cpython::read_thread_names(target_.memory(), runtime.layout,
                                                           interpreter.address)
                                    .value_or(ThreadNames{});
            }
            const bool is_main = who.tid == target_.pid() && interpreter.id == 0;
            if (auto name = cpython::thread_name(place->second, state.python_thread_id, is_main))
                who.name = *std::move(name);
        }
        Thread& thread = threads_[threads[i]];
        if (thread.who == who) continue;
        thread.who = std::move(who);
        changed_.push_back(threads[i]);
        changed = true;
    }
    return changed;
}

std::vector<std::pair<std::uint32_t, model::SampledThread>> ThreadIdentities::consume_changed() {
    std::sort(changed_.begin(), changed_.end());
    const auto end = std::unique(changed_.begin(), changed_.end());
    std::vector<std::pair<std::uint32_t, model::SampledThread>> taken;
    std::vector<std::uint32_t> withheld;
    for (auto index = changed_.begin(); index != end; ++index) {
        if (threads_[*index].is_withheld) {
            withheld.push_back(*index);
        } else {
            taken.emplace_back(*index, threads_[*index].who);
        }
    }
    changed_ = std::move(withheld);
    return taken;
}

}  // namespace pystack::sampling
