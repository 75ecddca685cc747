#include "cpython/values/render_redacted.h"

#include <optional>
#include <string>

#include "cpython/objects/objects.h"
#include "cpython/objects/repr_strings.h"

namespace pystack::cpython {

namespace {

constexpr std::size_t kMaxNameLength = 256;

std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The object as a name, where values are to be hidden by name.
std::optional<std::string> name_of(Rendering& r, RemoteAddr object) {
    if (r.redaction.is_empty()) return std::nullopt;
    const auto type = r.types.of(object);
    if (!type) return std::nullopt;
    if ((*type)->kind == ValueKind::kStr) {
        if (auto text = read_str_prefix(r.heap, r.layout, object, kMaxNameLength))
            return std::move(text->text);
    } else if ((*type)->kind == ValueKind::kBytes) {  // As HTTP headers have them.
        if (const auto name = read_bytes_prefix(r.heap, r.layout, object, kMaxNameLength))
            return std::string(as_text(name->bytes));
    }
    return std::nullopt;
}

bool hides_next_item(Rendering& r, RemoteAddr item, bool is_first_of_two) {
    const auto name = name_of(r, item);
    if (!name) return false;
    const bool is_option = name->starts_with('-') && name->find('=') == std::string::npos;
    return (is_first_of_two || is_option) && r.redaction.hides(*name);
}

}  // namespace

void append_masked_str(Rendering& r, std::string_view utf8, bool is_cut) {
    const auto masked = r.redaction.masked(utf8, is_cut);
    append_str(r.out, masked ? std::string_view(*masked) : utf8);
}

void append_masked_bytes(Rendering& r, std::span<const std::byte> bytes, bool is_cut) {
    const auto masked = r.redaction.masked(as_text(bytes), is_cut);
    append_bytes(r.out, masked ? std::as_bytes(std::span(*masked)) : bytes);
}

void append_value_of_key(Rendering& r, RemoteAddr key, RemoteAddr value) {
    if (const auto name = name_of(r, key)) {
        r.named_value(*name, value);
    } else {
        r.value(value);
    }
}

void append_items(Rendering& r, std::uint64_t total, std::span<const RemoteAddr> items,
                  bool in_order) {
    Entries entries(r, total);
    bool hides_next = false;
    for (const RemoteAddr item : items) {
        if (!entries.next()) break;
        if (hides_next) {
            r.out += kRedacted;
        } else {
            r.value(item);
        }
        const bool is_first_of_two = total == 2 && entries.written() == 1;
        hides_next = in_order && !hides_next && hides_next_item(r, item, is_first_of_two);
    }
    entries.finish();
}

}  // namespace pystack::cpython
