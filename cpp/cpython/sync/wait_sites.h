#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "cpython/frames/code_reader.h"
#include "cpython/objects/value_types.h"
#include "cpython/sync/frame_objects.h"
#include "memory/memory_reader.h"
#include "model/wait.h"

namespace pystack::cpython {

/// A call of the standard library that says more about a wait than the lock that it is blocked in.
struct WaitSite {
    model::WaitKind kind = model::WaitKind::kLock;
    RemoteAddr object;      ///< Its self.
    std::size_t frame = 0;  ///< Index of its frame.
};

/// The outermost of such calls, if the innermost Python frame is one or belongs to one:
/// Queue.get() rather than the Condition.wait() that it calls. A call is known by the name of its
/// function and the class of its self. `frames`: innermost first.
std::optional<WaitSite> find_wait_site(const memory::MemoryReader& memory,
                                       std::span<const RawFrame> frames, const CodeReader& codes,
                                       const FrameObjects& objects, TypeCache& types);

/// The condition, if the frame is a call of Condition.wait(), which releases its lock while it
/// waits; null if it is another call, nullopt if that cannot be told.
std::optional<RemoteAddr> condition_of_wait(const memory::MemoryReader& memory,
                                            const RawFrame& frame, const CodeReader& codes,
                                            const FrameObjects& objects, TypeCache& types);

/// Whether a function of this name may be one of the calls above.
bool may_be_wait_site(std::string_view function);

}  // namespace pystack::cpython
