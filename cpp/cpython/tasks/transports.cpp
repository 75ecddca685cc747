#include "cpython/tasks/transports.h"

#include "cpython/objects/attributes.h"
#include "cpython/objects/dict_objects.h"
#include "cpython/objects/objects.h"
#include "cpython/objects/typed_values.h"

namespace pystack::cpython {

namespace {

/// Host, port, and for IPv6 two numbers more.
constexpr std::size_t kMostParts = 4;
/// The longest path of a unix socket has 108 bytes.
constexpr std::size_t kMostCharacters = 256;

}  // namespace

/// [Lib/asyncio/streams.py, transports.py, selector_events.py, 3.7 to 3.15]
std::optional<std::string> stream_peer(const memory::MemoryReader& memory, const Layout& layout,
                                       TypeCache& types, RemoteAddr object) {
    const auto kind_of = [&](RemoteAddr value) {
        const auto type = value ? types.of(value) : fail(Error{});
        return type ? (*type)->kind : ValueKind::kOther;
    };
    const auto text_of = [&](RemoteAddr value) -> std::optional<std::string> {
        if (kind_of(value) != ValueKind::kStr) return std::nullopt;
        auto text = read_str(memory, layout, value, kMostCharacters);
        if (!text || text->empty()) return std::nullopt;
        return *std::move(text);
    };
    Attributes attributes(memory, layout, types);
    RemoteAddr transport = attributes.get(object, "_transport");
    // Of 3.7, a protocol leaves it to its reader.
    if (!transport)
        transport = attributes.get(attributes.get(object, "_stream_reader"), "_transport");
    const RemoteAddr extra = attributes.get(transport, "_extra");
    if (kind_of(extra) != ValueKind::kDict) return std::nullopt;
    const auto peer = dict_lookup_str(memory, layout, extra, "peername");
    if (!peer || !*peer) return std::nullopt;
    if (kind_of(**peer) != ValueKind::kTuple) return text_of(**peer);
    const auto parts = read_tuple_items(memory, layout, **peer, kMostParts);
    if (!parts || parts->size() < 2) return std::nullopt;
    const auto host = text_of((*parts)[0]);
    const auto port = int_value(memory, layout, types, (*parts)[1]);
    if (!host || !port) return std::nullopt;
    const bool is_ipv6 = host->find(':') != std::string::npos;
    return (is_ipv6 ? "[" + *host + "]" : *host) + ":" + std::to_string(*port);
}

}  // namespace pystack::cpython
