#pragma once

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "base/result.h"

namespace pystack {

/// Calls `work`, which returns a Result, and turns what it throws into an error: memory that the
/// system refuses (kOutOfMemory), or a thread (kSystem). For the functions that threads begin with
/// and the border to Python; no other function of cpp/ lets an exception out.
template <class Work>
auto guarded(Work work) -> decltype(work()) {
    try {
        return work();
    } catch (const std::bad_alloc&) {
        return fail(Error{.code = ErrorCode::kOutOfMemory, .what = "out of memory"});
    } catch (const std::exception& error) {
        return fail(Error{.code = ErrorCode::kSystem, .what = "internal", .detail = error.what()});
    }
}

}  // namespace pystack
