#pragma once

#include <cstdint>
#include <optional>

#include "base/address.h"
#include "cpython/layout/layout.h"

namespace pystack::cpython {

/// What a word of a frame holds: nothing, an object, or (3.14+) an int without an object.
struct SlotContent {
    RemoteAddr object;
    std::optional<std::int64_t> tagged_int;

    bool bound() const { return object || tagged_int.has_value(); }
};
SlotContent decode_slot(StackRef format, std::uint64_t word);

}  // namespace pystack::cpython
