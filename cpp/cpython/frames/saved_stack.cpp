#include "cpython/frames/saved_stack.h"

#include <cstdint>

namespace pystack::cpython {

namespace {

constexpr std::uint64_t kWordBytes = 8;
/// Of one frame; the compiler's own limit is far below.
constexpr std::int32_t kMostSlots = 1 << 20;

std::optional<RemoteAddr> top_of(RemoteAddr first, std::optional<std::int32_t> count) {
    if (!count || *count < 0 || *count > kMostSlots) return std::nullopt;
    return first + static_cast<std::uint64_t>(*count) * kWordBytes;
}

}  // namespace

std::optional<RemoteAddr> saved_stack_top(const Layout& layout, const memory::RemoteStruct& frame) {
    const auto& fields = layout.interpreter_frame;
    if (!fields.stackpointer) return std::nullopt;
    switch (layout.stack_top) {
        case StackTop::kPointerIfSuspended:
        case StackTop::kPointer: {
            const auto top = frame.pointer(*fields.stackpointer);
            return top && *top ? top : std::nullopt;
        }
        case StackTop::kDepth: {
            if (!fields.valuestack) return std::nullopt;
            const auto first = frame.pointer(*fields.valuestack);
            if (!first) return std::nullopt;
            return top_of(*first, frame.get<std::int32_t>(*fields.stackpointer));
        }
        case StackTop::kIndex:
            break;
    }
    return top_of(frame.address() + *fields.localsplus,
                  frame.get<std::int32_t>(*fields.stackpointer));
}

}  // namespace pystack::cpython
