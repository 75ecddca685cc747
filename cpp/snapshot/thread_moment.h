#pragma once

#include <cstdint>
#include <optional>

#include "arch/registers.h"
#include "target/live_target.h"

namespace pystack::snapshot {

/// What a thread does at a moment. If it is the same at two moments, with both known, the thread
/// was blocked in this call all the time between them.
struct ThreadMoment {
    std::optional<arch::Syscall> call;
    std::optional<std::uint64_t> run_ns;

    static ThreadMoment now(const target::LiveTarget& target, std::int32_t tid) {
        return {.call = target.blocked_syscall(tid), .run_ns = target.run_time_ns(tid)};
    }

    bool operator==(const ThreadMoment&) const = default;
};

}  // namespace pystack::snapshot
