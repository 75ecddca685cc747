#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "base/address.h"
#include "cpython/frames/stack_reader.h"

namespace pystack::snapshot {

/// What two proofs of one thread have seen is believed. A program that comes round within the few
/// microseconds of one proof can look the same at both of its ends, with another call in between;
/// that it does so twice with the same wrong call is so rare that it has not been seen.
class SeenCalls {
  public:
    /// Notes the calls of a stack. True when each has been seen before.
    bool confirm(std::span<const cpython::RawFrame> innermost_first) {
        std::vector<Call> calls;
        for (std::size_t i = 1; i < innermost_first.size(); ++i) {
            const cpython::RawFrame& caller = innermost_first[i];
            const Call call{caller.code, caller.instruction, caller.line,
                            innermost_first[i - 1].code};
            // Recursion: the same call many times in a row.
            if (calls.empty() || calls.back() != call) calls.push_back(call);
        }
        // A compiled frame that has returned has lost its caller, and looks like one that nobody
        // called.
        if (!innermost_first.empty() && innermost_first.back().compiled)
            calls.push_back({RemoteAddr{}, 0, 0, innermost_first.back().code});
        std::sort(calls.begin(), calls.end());
        calls.erase(std::unique(calls.begin(), calls.end()), calls.end());
        if (std::includes(seen_.begin(), seen_.end(), calls.begin(), calls.end())) return true;
        std::vector<Call> all;
        std::set_union(seen_.begin(), seen_.end(), calls.begin(), calls.end(),
                       std::back_inserter(all));
        seen_ = std::move(all);
        return false;
    }

  private:
    /// Caller, its instruction and line, callee.
    using Call = std::tuple<RemoteAddr, std::uint64_t, std::int32_t, RemoteAddr>;
    std::vector<Call> seen_;  ///< Sorted.
};

}  // namespace pystack::snapshot
