// Parses the input as lines of the kernel's tables of sockets. Paths of unix sockets are the choice
// of whoever made them.

#include <array>
#include <span>
#include <string_view>

#include "driver.h"
#include "waits/socket_tables.h"

using namespace pystack;

void fuzz::run(std::span<const std::byte> input) {
    const std::string_view text = text_of(input);
    use(waits::parse_inet_line(text, "TCP"));
    use(waits::parse_inet_line(text, "UDP"));
    use(waits::parse_unix_line(text));
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    static constexpr std::array<std::string_view, 3> kTexts = {
        "   0: 0100007F:1F90 0500000A:1538 01 00000000:00000000 00:00000000 00000000     0        "
        "0 "
        "4711 1 0000000 20",
        " 12: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A "
        "00000000:00000000 00:00000000 00000000 0 0 12 1 0",
        "0000000000000000: 00000002 00000000 00010000 0001 01 20345 /run/my app.sock"};
    std::vector<Bytes> seeds;
    for (const std::string_view text : kTexts) {
        const auto bytes = bytes_of(text);
        seeds.emplace_back(bytes.begin(), bytes.end());
    }
    return seeds;
}
