#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "modules/byte_cursor.h"
#include "modules/dwarf_constants.h"

namespace pystack::symbols {

/// What the sizes of values depend on.
struct FormSizes {
    std::uint16_t version = 0;
    std::uint8_t offset_size = 4;  ///< 8 in 64-bit DWARF, whatever the machine.
};
inline constexpr std::uint8_t kAddressSize = 8;

/// The value of one attribute as it is in the file.
struct FormValue {
    std::uint16_t form = modules::dwarf::kFormAbsent;
    std::uint64_t number = 0;    ///< A constant, offset, index, address or reference.
    std::string_view text = {};  ///< Of modules::dwarf::kFormString.

    explicit operator bool() const { return form != modules::dwarf::kFormAbsent; }
};

/// Takes one value. `constant` is that of the layout, for modules::dwarf::kFormImplicitConstant.
/// After an unknown form the cursor has failed.
FormValue take_value(modules::ByteCursor& cursor, std::uint16_t form, std::int64_t constant,
                     FormSizes sizes);

bool is_constant(std::uint16_t form);
bool is_address(std::uint16_t form);

}  // namespace pystack::symbols
