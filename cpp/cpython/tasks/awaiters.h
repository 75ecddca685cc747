#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "base/work_limits.h"
#include "cpython/frames/code_reader.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/attributes.h"
#include "cpython/objects/callbacks.h"
#include "cpython/objects/value_types.h"
#include "cpython/tasks/futures.h"
#include "cpython/tasks/raw_task.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Finds out who awaits whom. From 3.14 on tasks say so. Below, a task is awaited by those that are
/// suspended on it, and by those that are suspended on what its callbacks, which are asyncio's own,
/// will finish: gather(), wait(), shield(), as_completed(), task groups.
class Awaiters {
  public:
    Awaiters(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types,
             Futures& futures, const CodeReader& codes, WorkLimits& limits);

    /// Fills RawTask::awaited_by with tasks among these. False: some may be missing, because the
    /// limits were reached.
    bool find(std::vector<RawTask>& tasks);

  private:
    using Tasks = std::vector<std::uint32_t>;  ///< Indexes.

    void note_what_is_waited_for(const std::vector<RawTask>& tasks);
    void add_published(const FutureParts& parts, RawTask& task);
    void add_by_callbacks(const FutureParts& parts, RawTask& task);
    void add(RemoteAddr awaiter, RawTask& task);
    void add_waiters(RemoteAddr object, const std::vector<RawTask>& tasks, RawTask& task);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    TypeCache& types_;
    Futures& futures_;
    const CodeReader& codes_;
    WorkLimits& limits_;
    Callbacks callbacks_;
    Attributes attributes_;
    std::unordered_map<RemoteAddr, std::uint32_t> index_of_;  ///< Of tasks.
    /// The tasks that wait for an object: a future, or the `self` of a function of asyncio.
    std::unordered_map<RemoteAddr, Tasks> waiters_;
    const std::vector<RawTask>* tasks_ = nullptr;
    std::size_t left_ = 0;  ///< How many awaiters may be added.
    bool is_cut_ = false;
};

}  // namespace pystack::cpython
