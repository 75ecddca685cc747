#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/work_limits.h"
#include "cpython/runtime/cached_interpreters.h"
#include "cpython/runtime/runtime_locator.h"
#include "model/sample.h"
#include "target/target.h"

namespace pystack::sampling {

/// Who the threads of a recording are. A thread that has just started is known by its creator's id,
/// and the main one has no name before `threading` is imported: so each is asked about again, less
/// and less often.
class ThreadIdentities {
  public:
    ThreadIdentities(const target::Target& target, std::shared_ptr<WorkLimits> limits)
        : target_(target), limits_(std::move(limits)) {}

    /// A new thread, to be found out about from `now_ns` on. Its index stays its own. Past the
    /// limits there is one for all: see is_left_out.
    std::uint32_t add(std::uint64_t now_ns);

    /// A thread that is never asked about.
    std::uint32_t add_known(model::SampledThread who);

    /// Forgets all threads but `kept`. Their new numbers, in this order; all are told of again.
    std::vector<std::uint32_t> renumber(std::span<const std::uint32_t> kept, std::uint64_t now_ns);

    /// The thread is one of those that there was no room for: it has no samples.
    bool is_left_out(std::uint32_t thread) const { return thread == left_out_; }

    /// Asks about those whose time has come; `threads[i]` is the index of thread i of
    /// `interpreters`. False when nobody is known better than before.
    bool update(std::uint64_t now_ns, const cpython::Runtime& runtime,
                const cpython::CachedInterpreters& interpreters,
                std::span<const std::uint32_t> threads);

    const model::SampledThread& of(std::uint32_t thread) const { return threads_[thread].who; }

    /// Whether nobody is told of the thread: what was taken for one is a part of another.
    void withhold(std::uint32_t thread, bool is_withheld) {
        threads_[thread].is_withheld = is_withheld;
    }

    /// Those that are new or known better since the last call, by rising index. What is withheld
    /// follows when it is so no more.
    std::vector<std::pair<std::uint32_t, model::SampledThread>> consume_changed();

  private:
    struct Thread {
        model::SampledThread who;
        std::uint64_t ask_at_ns = 0;
        std::uint64_t pause_ns = 0;  ///< How long to wait after that.
        bool is_withheld = false;
    };

    std::uint32_t left_out();
    std::vector<std::size_t> due_threads(std::uint64_t now_ns,
                                         std::span<const std::uint32_t> threads);

    const target::Target& target_;
    std::shared_ptr<WorkLimits> limits_;
    std::optional<std::uint32_t> left_out_;
    std::vector<Thread> threads_;
    std::vector<std::uint32_t> changed_;
    std::uint64_t ask_at_ns_ = 0;  ///< The earliest of all.
};

}  // namespace pystack::sampling
