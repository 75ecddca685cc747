#pragma once

#include <cstdint>
#include <optional>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

/// What a word of localsplus holds: nothing, an object, or (3.14+) an int without an object.
struct SlotContent {
    RemoteAddr object;
    std::optional<std::int64_t> tagged_int;

    bool bound() const { return object || tagged_int.has_value(); }
};
SlotContent decode_slot(StackRef format, std::uint64_t word);

/// The end of the value stack that a frame has saved: the address behind the topmost value. nullopt
/// if the frame has saved none, because it runs, or `frame`, which begins with the frame's first
/// byte, does not reach that far.
std::optional<RemoteAddr> saved_stack_top(const Layout& layout, const memory::RemoteStruct& frame);

}  // namespace pystack::cpython
