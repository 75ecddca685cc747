// Reads the input as an interpreter's table of its own offsets.

#include <cstdint>
#include <cstdlib>
#include <span>

#include "cpython/layout/debug_offsets.h"
#include "cpython/layout/layout_table.h"
#include "driver.h"
#include "support/offset_table.h"

using namespace pystack;
using namespace pystack::cpython;

void fuzz::run(std::span<const std::byte> input) {
    use(parse_debug_offsets_header(input));
    const auto layout = layout_from_debug_offsets(input);
    if (layout) use(*layout);
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    std::vector<Bytes> seeds;
    for (std::uint8_t minor = 13; minor <= 15; ++minor) {
        for (const bool free_threaded : {false, true}) {
            const PythonVersion version{.major = 3, .minor = minor, .micro = 1};
            const auto layout = static_layout(version, free_threaded, false);
            if (!layout) std::abort();
            const std::uint32_t hex = 0x030001f0 | std::uint32_t{minor} << 16;
            const testing::OffsetTable table(*layout, hex);
            seeds.emplace_back(table.bytes().begin(), table.bytes().end());
        }
    }
    return seeds;
}
