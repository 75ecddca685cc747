#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "cpython/layout/layout.h"

namespace pystack::cpython {

/// One field of a Layout, for code that treats all of them alike. The texts are static.
template <class Offset>
struct FieldView {
    const char* full_name;  ///< "section.field", as errors name it.
    const char* name;
    std::uint32_t width;  ///< As declared in layout_fields.def.
    Offset* offset;
};

/// Calls `visit(section name, struct_size, span of FieldView)` for each section, in the order of
/// layout_fields.def. On a Layout that is not const the visitor may write to it.
template <class AnyLayout, class Visitor>
void for_each_section(AnyLayout& layout, Visitor&& visit) {
    using Offset = std::conditional_t<std::is_const_v<AnyLayout>, const FieldOffset, FieldOffset>;
    // clang-format off
#define PYSTACK_LAYOUT_SECTION(section)                                                 \
    {                                                                                   \
        auto& fields = layout.section;                                                  \
        const char* const section_name = #section;                                      \
        const FieldView<Offset> views[] = {
#define PYSTACK_LAYOUT_FIELD(section, field, width)                                     \
            {#section "." #field, #field, width, &fields.field},
#define PYSTACK_LAYOUT_END(section)                                                     \
        };                                                                              \
        visit(section_name, fields.struct_size, std::span<const FieldView<Offset>>(views)); \
    }
#include "cpython/layout/layout_fields.def"
    // clang-format on
}

}  // namespace pystack::cpython
