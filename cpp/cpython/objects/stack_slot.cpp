#include "cpython/objects/stack_slot.h"

namespace pystack::cpython {

SlotContent decode_slot(StackRef format, std::uint64_t word) {
    if (format == StackRef::kPointer) return {.object = RemoteAddr{word}, .tagged_int = {}};
    constexpr std::uint64_t kTagMask = 3;
    constexpr std::uint64_t kInvalid = 2;
    constexpr std::uint64_t kInt = 3;
    if ((word & kTagMask) == kInt) {
        return {.object = {}, .tagged_int = static_cast<std::int64_t>(word) >> 2};
    }
    if (format == StackRef::kTaggedIntInvalid && (word & kTagMask) == kInvalid) return {};
    return {.object = RemoteAddr{word & ~kTagMask}, .tagged_int = {}};
}

}  // namespace pystack::cpython
