#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "cpython/frames/code_reader.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "cpython/tasks/futures.h"
#include "cpython/tasks/raw_task.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Finds out what tasks wait for: by the functions of asyncio at the end of their chains, whose
/// `self` is the object that they wait for, or by the future that they are suspended on.
class WaitReasons {
  public:
    WaitReasons(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types,
                Futures& futures, const CoroutineReader& coroutines, const CodeReader& codes);

    /// Of a task whose code objects are known.
    void find(RawTask& task);

    /// Adds the tasks that are inside an `async with` of the locks that others wait for.
    void add_holders(std::vector<RawTask>& tasks);
    /// Says of those that wait for locks and other tasks whether a timeout may end that.
    void find_timeouts(std::vector<RawTask>& tasks);

  private:
    const Code* code_in(const AwaitingFrame& frame, std::string_view file) const;
    bool is_named(RemoteAddr object, std::string_view class_name);
    bool is_of_library(const AwaitingFrame& frame) const;
    std::optional<model::TaskWait> by_function(const RawTask& task, const AwaitingFrame& frame);
    model::TaskWait by_future(RemoteAddr future);
    model::TaskWait describe(model::TaskWaitKind kind, RemoteAddr object);
    std::optional<model::TaskWaitKind> kind_of_lock(RemoteAddr object);
    bool waits_for_executor(RemoteAddr future);
    std::optional<double> wake_up_time(const AwaitingFrame& sleep);
    bool is_method(RemoteAddr function, std::span<const std::string_view> names);
    /// Objects whose exit method, of one of these names, is on the stack of the frame.
    std::vector<RemoteAddr> entered(const AwaitingFrame& frame,
                                    std::span<const std::string_view> exit_methods);
    /// Tasks, by the lock that they hold.
    using Holders = std::unordered_map<std::uint64_t, std::vector<std::uint64_t>>;
    void use_recorded_owners(const std::vector<RawTask>& tasks, Holders& holders);
    bool may_time_out(const AwaitingFrame& frame);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    TypeCache& types_;
    Futures& futures_;
    const CoroutineReader& coroutines_;
    const CodeReader& codes_;
};

}  // namespace pystack::cpython
