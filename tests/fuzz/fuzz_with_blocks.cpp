// Takes the input as the table of handlers of a code object, and as the stack of blocks of a frame.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <span>

#include "cpython/sync/with_blocks.h"
#include "driver.h"

using namespace pystack;
using namespace pystack::cpython;

void fuzz::run(std::span<const std::byte> input) {
    // Any handler may be that of a with block, so that all of the chain is followed.
    const auto is_with = [](std::uint32_t unit) { return unit % 3 != 0; };
    use(has_with_blocks(input, is_with));
    for (std::uint32_t unit = 0; unit < 64; ++unit) {
        if (with_slots(input, unit, is_with).size() > 128) std::abort();
    }
    std::vector<TryBlock> blocks(std::min<std::size_t>(input.size() / sizeof(TryBlock), 20));
    if (blocks.empty()) return;
    std::memcpy(blocks.data(), input.data(), blocks.size() * sizeof(TryBlock));
    if (with_slots(std::span<const TryBlock>(blocks), is_with).size() > blocks.size()) std::abort();
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    // Two with blocks, one in the other, as 3.12 compiles them.
    static constexpr std::uint8_t kTable[] = {0x83, 0x04, 0x1A, 0x03, 0x87, 0x06, 0x10, 0x05,
                                              0x8D, 0x03, 0x1A, 0x03, 0x90, 0x05, 0x15, 0x09,
                                              0x95, 0x05, 0x1A, 0x03, 0x9A, 0x05, 0x1F, 0x07};
    static constexpr TryBlock kBlocks[] = {{122, 84, 1}, {122, 61, 2}, {257, -1, 3}};
    std::vector<Bytes> seeds;
    const auto table = std::as_bytes(std::span(kTable));
    seeds.emplace_back(table.begin(), table.end());
    const auto blocks = std::as_bytes(std::span(kBlocks));
    seeds.emplace_back(blocks.begin(), blocks.end());
    return seeds;
}
