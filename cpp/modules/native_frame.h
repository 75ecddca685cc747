#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/address.h"

namespace pystack::modules {

/// How the unwinder knew of a frame. The first two are certain; the rest are guesses, checked as
/// far as they can be.
enum class FrameOrigin : std::uint8_t {
    kRegisters,      ///< The innermost frame: its pc was in the registers.
    kCallFrameInfo,  ///< From the tables of the frame below it (.eh_frame or .debug_frame), or
                     ///< because that is code which is known to the byte.
    kPrologue,       ///< There were no tables; the function's first or last instructions were
                     ///< followed.
    kFramePointer,   ///< There were no tables; rbp looked like a frame pointer.
    kReturnAddress,  ///< There were no tables; a word on the stack looked like its return address.
};

/// No module: CodeMap::module() has none for it.
inline constexpr std::uint32_t kNoModule = UINT32_MAX;

/// One frame of a native stack, without names. Stacks are lists of these, innermost first.
struct NativeFrame {
    RemoteAddr pc;
    /// The stack pointer in this frame. The frame owns the stack [sp, sp of its caller).
    RemoteAddr sp;
    /// Of CodeMap; names are looked up later, when another module may be at this address.
    std::uint32_t module = kNoModule;
    /// pc is the next instruction to run here (innermost frame, interrupted by a signal, or what
    /// returns from a signal handler), not one behind a call.
    bool is_activation = false;
    /// CPython's `-X perf`: the code through which it calls the loop for one Python function.
    bool is_perf_trampoline = false;
    FrameOrigin origin = FrameOrigin::kCallFrameInfo;
    /// Where the handler of a signal returns to; the kernel interrupted the next frame.
    bool returns_from_signal = false;
    /// Of such a frame: the last address for whose use the thread got a signal, if there was one.
    std::optional<RemoteAddr> fault_address{};

    /// An address inside the instruction that this frame is at: a return address may already belong
    /// to the next function or to another inlined call.
    RemoteAddr lookup_address() const { return is_activation ? pc : pc - 1; }
};

/// Why there is no further frame. The frames found so far are right in every case.
enum class UnwindEnd : std::uint8_t {
    kComplete,      ///< The outermost frame of the thread.
    kNoUnwindInfo,  ///< Nothing is known of the code at the last pc, and no guess held.
    kCutStack,      ///< The next word lies outside the stack bytes that were given.
    kDepthLimit,
    kLoop,  ///< The next frame would not be further out than this one: the stack is garbage.
};

struct UnwindResult {
    UnwindEnd end = UnwindEnd::kComplete;
    RemoteAddr address{};  ///< kCutStack: the word that was wanted. Else the last pc.
};

struct UnwindLimits {
    std::size_t max_frames = 16'384;
};

}  // namespace pystack::modules
