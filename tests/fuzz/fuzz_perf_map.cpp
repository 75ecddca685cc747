// Reads the input as a perf map, in pieces, and asks for names.

#include <algorithm>
#include <cstdlib>
#include <span>
#include <string_view>

#include "base/work_limits.h"
#include "driver.h"
#include "symbols/perf_map.h"

using namespace pystack;

void fuzz::run(std::span<const std::byte> input) {
    WorkLimits limits(1 << 20);
    symbols::PerfMapNames names(limits);
    std::string_view text = text_of(input);
    constexpr std::size_t kPiece = 37;
    while (!text.empty()) {
        const std::string_view piece = text.substr(0, kPiece);
        text.remove_prefix(piece.size());
        if (!names.add(piece)) break;
    }
    for (const std::uint64_t address : {0x0UL, 0x1000UL, 0x1010UL, 0x7f0000001000UL, ~0UL}) {
        const std::string* name = names.find({address});
        if (name != nullptr && name->empty()) std::abort();
    }
    names.clear();
    if (limits.bytes_left() != limits.max_bytes()) std::abort();
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    static constexpr std::string_view kText =
        "1000 20 first\n1010 20 second\n0x7f0000001000 0x40 py::run:/x.py\n0 ffffffffffffffff "
        "all\n";
    const auto bytes = bytes_of(kText);
    return {Bytes(bytes.begin(), bytes.end())};
}
