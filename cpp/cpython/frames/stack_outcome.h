#pragma once

#include <optional>
#include <utility>

#include "base/address.h"
#include "base/error.h"
#include "model/snapshot.h"

namespace pystack::cpython {

/// What one read of a stack came to.
struct StackOutcome {
    model::StackEnd end = model::StackEnd::kComplete;
    std::optional<Error> problem;
    int attempts = 1;
    /// 3.11, 3.12: an address in the C frame of the innermost activation, which lies on the C
    /// stack; null where there is none, or it is not known.
    RemoteAddr c_frame{};

    static StackOutcome unreadable(Error problem) {
        return {.end = model::StackEnd::kUnreadable, .problem = std::move(problem)};
    }
};

}  // namespace pystack::cpython
