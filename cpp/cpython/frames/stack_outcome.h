#pragma once

#include <optional>
#include <utility>

#include "base/error.h"
#include "model/snapshot.h"

namespace pystack::cpython {

/// What one read of a stack came to.
struct StackOutcome {
    model::StackEnd end = model::StackEnd::kComplete;
    std::optional<Error> problem;
    int attempts = 1;

    static StackOutcome unreadable(Error problem) {
        return {.end = model::StackEnd::kUnreadable, .problem = std::move(problem)};
    }
};

}  // namespace pystack::cpython
