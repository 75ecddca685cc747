#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/work_limits.h"
#include "cpython/runtime/cached_interpreters.h"
#include "sampling/thread_identities.h"
#include "sampling/tick.h"
#include "sampling/tracked_thread.h"
#include "target/target.h"

namespace pystack::sampling {

/// The threads of a recording, in the order of the interpreters' lists. What is known of a thread
/// is kept as long as its thread state is in them.
class ThreadTable {
  public:
    /// `limits`: of the tables, which only grow.
    ThreadTable(const target::Target& target, std::shared_ptr<WorkLimits> limits)
        : identities_(target, std::move(limits)) {}

    /// Follows the lists if they have changed.
    void update(const cpython::CachedInterpreters& interpreters, const Tick& tick);
    /// Asks who the threads are, of those whose time has come.
    void identify(const cpython::Runtime& runtime, const cpython::CachedInterpreters& interpreters,
                  std::uint64_t now_ns);
    /// The process executes another program: no thread state means what it did.
    void clear();
    /// Numbers the threads anew, so that those that have ended need no memory any more.
    void renumber(std::uint64_t now_ns);

    std::size_t size() const { return order_.size(); }
    /// The thread of interpreters.threads()[index].
    TrackedThread& operator[](std::size_t index) const { return *order_[index]; }
    auto begin() const { return order_.begin(); }
    auto end() const { return order_.end(); }
    /// 0: not known.
    std::int32_t tid(std::size_t index) const {
        return corrected_.empty() ? identities_.of(indices_[index]).tid : corrected_[index];
    }
    /// Corrects what states say of their threads by where they were seen to run: see
    /// cpython::correct_by_c_stacks. After identify(), where there are several interpreters.
    void correct_tids(const cpython::CachedInterpreters& interpreters, std::int32_t main_tid);
    /// The one with this thread state; null: not known.
    const TrackedThread* find(RemoteAddr thread_state) const;
    /// As often as the lists have changed, and the table with them.
    std::uint64_t changes() const { return changes_; }

    ThreadIdentities& identities() { return identities_; }

  private:
    ThreadIdentities identities_;
    std::unordered_map<RemoteAddr, std::unique_ptr<TrackedThread>> by_state_;
    std::vector<TrackedThread*> order_;
    std::vector<std::uint32_t> indices_;   ///< Their identities.
    std::vector<std::int32_t> corrected_;  ///< Their tids; empty if there is one interpreter.
    std::uint64_t followed_ = 0;           ///< The changes() of the interpreters that order_ is of.
    std::uint64_t changes_ = 0;
};

}  // namespace pystack::sampling
