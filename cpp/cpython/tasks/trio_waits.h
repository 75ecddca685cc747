#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "cpython/frames/code_reader.h"
#include "cpython/frames/coroutine_reader.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/attributes.h"
#include "cpython/objects/value_types.h"
#include "cpython/tasks/raw_task.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Finds out what tasks of trio wait for: by the innermost function of trio's in their chains, and
/// the object of its class among its variables.
class TrioWaits {
  public:
    TrioWaits(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types,
              const CoroutineReader& coroutines, const CodeReader& codes);

    /// Of a task whose code objects are known.
    void find(RawTask& task);

    /// Adds the tasks that own the locks, or have the tokens, that others wait for.
    void add_holders(std::vector<RawTask>& tasks);

  private:
    bool is_in(const AwaitingFrame& frame, std::string_view file) const;
    bool is_function(const AwaitingFrame& frame, std::string_view file,
                     std::string_view name) const;
    /// How many frames are left without those by which trio suspends a task.
    std::size_t without_traps(const std::vector<AwaitingFrame>& frames) const;
    std::optional<model::TaskWait> by_function(const AwaitingFrame& frame);
    model::TaskWait of_object(model::TaskWaitKind kind, RemoteAddr object);
    std::optional<model::TaskWait> of_lock(const AwaitingFrame& frame);
    std::optional<model::TaskWaitKind> kind_of_lock(RemoteAddr object);
    /// The first object of a class of trio's with that name among the variables.
    RemoteAddr find_object(const AwaitingFrame& frame, std::string_view class_name);
    std::vector<RemoteAddr> variables(const AwaitingFrame& frame);
    bool is_of_class(RemoteAddr object, std::string_view class_name);
    std::optional<double> wake_up_time(const RawTask& task, const AwaitingFrame& sleep_until);
    std::vector<RemoteAddr> owners(RemoteAddr lock);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    TypeCache& types_;
    const CoroutineReader& coroutines_;
    const CodeReader& codes_;
    Attributes attributes_;
};

}  // namespace pystack::cpython
