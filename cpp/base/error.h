#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/address.h"

namespace pystack {

/// Everything that can go wrong, in one list. The Python exception class of each code is in
/// bindings/error_bindings.cpp, its exit status in pystack/errors.py.
enum class ErrorCode : std::uint8_t {
    // A thread or one stack: retried on live targets, final on cores.
    kReadFault,    ///< `address`, `size`: these bytes of the target cannot be read.
    kCorruptData,  ///< `address`, `what`: the bytes are readable and make no sense.
    // The whole target.
    kNoSuchProcess,
    kTargetExited,  ///< It was there and went away before anything was read.
    kPermissionDenied,
    kNotPython,
    kNotACore,
    kCoreTruncated,
    kMissingBinary,
    kUnsupportedTarget,  ///< Zombie, 32-bit process, foreign architecture: `detail` says
                         ///< which.
    // The interpreter's layout.
    kVersionUnsupported,
    kOffsetsRejected,  ///< `what`: the field of the offset table that cannot be true.
    // Ours.
    kInvalidArgument,
    kOutOfMemory,  ///< The machine refused memory to us.
    kCancelled,    ///< The caller gave up (WorkLimits::cancel).
    kSystem,  ///< A system call of our own failed: `number` is errno, `detail` its name and text.
};

/// A failure with its place. Cheap to make and to move (no allocation unless `detail` is used), so
/// it may be returned on the sampling path.
struct Error {
    ErrorCode code;
    RemoteAddr address{};
    std::uint64_t size = 0;
    int number = 0;         ///< errno of a kSystem; 0: not known.
    const char* what = "";  ///< Static text: the structure or step that failed.
    std::string detail{};   ///< Text that had to be built; empty on hot paths.

    /// One sentence without a full stop, as shown to a user.
    std::string message() const;
};

std::string_view error_code_name(ErrorCode code);

inline Error read_fault(RemoteAddr address, std::uint64_t size) {
    return Error{.code = ErrorCode::kReadFault, .address = address, .size = size, .what = "memory"};
}

inline Error corrupt(const char* what, RemoteAddr address) {
    return Error{.code = ErrorCode::kCorruptData, .address = address, .what = what};
}

/// Captures errno: call it directly after the failed call.
Error system_error(const char* call, std::string_view subject = {});

}  // namespace pystack
