#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "base/work_limits.h"
#include "cpython/frames/coroutine_reader.h"
#include "cpython/frames/frame_format.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// One coroutine, generator or asynchronous generator of a chain of awaits.
struct AwaitingFrame {
    RawFrame frame;
    RemoteAddr first_variable;  ///< As in Coroutine.
    RemoteRange values;         ///< As in Coroutine.
};

/// What a coroutine awaits, what that awaits, and so on.
struct AwaitChain {
    enum class End : std::uint8_t {
        kAwaited,     ///< At `awaited`, which is no coroutine: a future or a foreign awaitable.
        kYields,      ///< In a generator that just yields: it was made by hand.
        kRunning,     ///< The last frame runs, or has not begun.
        kUnreadable,  ///< At `awaited`, which cannot be read.
        kRing,        ///< `awaited` is on the chain already.
        kTooLong,
    };
    std::optional<CoroutineState> state;  ///< Of the outermost; nullopt: it is not known.
    std::vector<AwaitingFrame> frames;    ///< Outermost first.
    End end = End::kRunning;
    RemoteAddr awaited;
};

/// Follows chains of awaits.
class AwaitChains {
  public:
    /// Frames of one chain: more than recursion can make.
    static constexpr std::size_t kMostFrames = 10'000;

    AwaitChains(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types,
                WorkLimits& limits);

    AwaitChain follow(RemoteAddr coroutine);
    const CoroutineReader& coroutines() const { return coroutines_; }

  private:
    /// Which way a chain goes on at an object.
    enum class Link : std::uint8_t {
        kCoroutine,  ///< It has a frame.
        kWrapper,    ///< It awaits the object behind its head.
        kOther,
    };
    Link link_of(RemoteAddr object);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    TypeCache& types_;
    WorkLimits& limits_;
    CoroutineReader coroutines_;
    std::unordered_map<RemoteAddr, Link> links_;  ///< By type.
};

}  // namespace pystack::cpython
