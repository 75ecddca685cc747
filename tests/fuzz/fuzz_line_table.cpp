// Reads the input as a line table of each format.

#include <cstdint>
#include <limits>
#include <span>

#include "cpython/frames/line_table.h"
#include "driver.h"

using namespace pystack;
using namespace pystack::cpython;

void fuzz::run(std::span<const std::byte> bytes) {
    Input input(bytes);
    const auto first_line = input.take<std::int32_t>();
    const auto offset = input.take<std::int16_t>();
    for (const auto format : {LineTableFormat::kLnotab, LineTableFormat::kLineTable310,
                              LineTableFormat::kLocations311}) {
        for (const std::int64_t at :
             {std::int64_t{offset}, std::int64_t{0}, std::numeric_limits<std::int64_t>::max()}) {
            const auto position = position_at(format, input.rest(), first_line, at);
            if (position.line && *position.line < 0) std::abort();
            use(position);
        }
    }
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    // tools/fuzz_seeds.py adds the tables that interpreters have made.
    const auto table = [](std::initializer_list<int> values) {
        Bytes bytes(6);
        bytes[0] = std::byte{7};
        bytes[4] = std::byte{2};
        for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
        return bytes;
    };
    return {
        table({2, 5, 2, 0xfd}),
        table({2, 1, 2, 0x80, 2, 1}),
        table({0x80 | (9 << 3), 0x7f, 0x87 | (13 << 3), 0x02, 0x80 | (15 << 3)}),
        table({0x80 | (14 << 3), 0x02, 0x03, 0x01, 0x48, 0x02}),
    };
}
