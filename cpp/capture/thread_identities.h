#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "capture/interpreter_watch.h"
#include "cpython/runtime_locator.h"
#include "model/sample.h"
#include "target/target.h"

namespace pystack::capture {

/// Who the threads of a recording are. A thread that has just started is known by its creator's id,
/// and the main one has no name before `threading` is imported: so each is asked about again, less
/// and less often.
class ThreadIdentities {
  public:
    explicit ThreadIdentities(const target::Target& target) : target_(target) {}

    /// A new thread, to be found out about from `now_ns` on. Its index stays its own.
    std::uint32_t add(std::uint64_t now_ns);

    /// A thread that is never asked about.
    std::uint32_t add_known(model::SampledThread who);

    /// Asks about those whose time has come; `threads[i]` is the index of the watch's thread i.
    /// False when nobody is known better than before.
    bool update(std::uint64_t now_ns, const cpython::Runtime& runtime,
                const InterpreterWatch& watch, std::span<const std::uint32_t> threads);

    const model::SampledThread& of(std::uint32_t thread) const { return threads_[thread].who; }

    /// Those that are new or known better since the last call, by rising index.
    std::vector<std::pair<std::uint32_t, model::SampledThread>> take_changed();

  private:
    struct Thread {
        model::SampledThread who;
        std::uint64_t ask_at_ns = 0;
        std::uint64_t pause_ns = 0;  ///< How long to wait after that.
    };

    std::vector<std::size_t> take_due(std::uint64_t now_ns, std::span<const std::uint32_t> threads);

    const target::Target& target_;
    std::vector<Thread> threads_;
    std::vector<std::uint32_t> changed_;
    std::uint64_t ask_at_ns_ = 0;  ///< The earliest of all.
};

}  // namespace pystack::capture
