#pragma once

#include <cstddef>
#include <string_view>

namespace pystack::testing {

/// What any output must be, whatever the target holds: UTF-8 without control characters.
inline bool is_presentable(std::string_view text) {
    while (!text.empty()) {
        const auto lead = static_cast<unsigned char>(text[0]);
        if (lead < 0x20 || lead == 0x7f || (lead >= 0x80 && lead < 0xc2) || lead > 0xf4)
            return false;
        const std::size_t size = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        if (size > text.size()) return false;
        for (std::size_t i = 1; i < size; ++i) {
            if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return false;
        }
        // C1 controls.
        if (lead == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0) return false;
        text.remove_prefix(size);
    }
    return true;
}

}  // namespace pystack::testing
