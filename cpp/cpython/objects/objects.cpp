#include "cpython/objects/objects.h"

#include <algorithm>
#include <limits>

namespace pystack::cpython {

namespace {

using memory::MemoryReader;
using memory::ReadRequest;
using memory::RemoteStruct;

// Text of names and short values comes with the head in one read.
constexpr std::size_t kStrBlockBytes = 256;

constexpr std::size_t kMaxTypeNameBytes = 1024;

// Digits of an int: 30 bits in 4 bytes on every 64-bit build [Include/cpython/longintrepr.h].
constexpr unsigned kDigitBits = 30;
constexpr std::size_t kDigitBytes = 4;
constexpr std::size_t kMaxInt64Digits = 3;

constexpr std::uint32_t kMaxCodePoint = 0x10ffff;

Error absent_field(const char* what) {
    return Error{.code = ErrorCode::kOffsetsRejected, .what = what};
}

/// Where the text of a str is, and what its units mean.
struct StrPlan {
    RemoteAddr text{};
    std::uint64_t length = 0;
    std::uint64_t units = 0;  ///< Of those wanted.
    std::size_t unit_bytes = 1;

    std::size_t wanted_bytes() const { return static_cast<std::size_t>(units) * unit_bytes; }
};

Result<StrPlan> plan_str(const Layout& layout, const RemoteStruct& head, std::size_t max_length,
                         bool whole) {
    const auto& fields = layout.unicode_object;
    const auto state = head.get<std::uint32_t>(*fields.state);
    const auto length = head.get<std::int64_t>(*fields.length);
    if (!state || !length) return fail(read_fault(head.address(), kStrBlockBytes));
    const unsigned kind = (*state >> layout.unicode_state.kind_shift) & 7;
    const bool compact = ((*state >> layout.unicode_state.compact_shift) & 1) != 0;
    const bool ascii = ((*state >> layout.unicode_state.ascii_shift) & 1) != 0;
    // Kind 0 is a legacy str that is not ready, below 3.12: its text is still a wchar_t array.
    if ((kind != 1 && kind != 2 && kind != 4) || (ascii && kind != 1) || *length < 0) {
        return fail(corrupt("str", head.address()));
    }
    if (whole && static_cast<std::uint64_t>(*length) > max_length) {
        return fail(corrupt("length of a str", head.address()));
    }
    StrPlan plan{.length = static_cast<std::uint64_t>(*length), .unit_bytes = kind};
    plan.units = std::min<std::uint64_t>(plan.length, max_length);
    if (compact) {
        const auto size = ascii ? fields.asciiobject_size : fields.compactunicodeobject_size;
        if (!size) return fail(absent_field("unicode_object.compactunicodeobject_size"));
        plan.text = head.address() + *size;
        return plan;
    }
    if (!fields.data) return fail(absent_field("unicode_object.data"));
    const auto data = head.pointer(*fields.data);
    if (!data) return fail(read_fault(head.address() + *fields.data, sizeof(RemoteAddr)));
    if (plan.units > 0 && !*data) return fail(corrupt("str", head.address()));
    plan.text = *data;
    return plan;
}

void append_utf8(std::string& text, std::uint32_t code_point) {
    const auto append = [&text](std::uint32_t byte) { text.push_back(static_cast<char>(byte)); };
    const auto tail = [&](unsigned shift) { append(0x80 | ((code_point >> shift) & 0x3f)); };
    if (code_point < 0x80) {
        append(code_point);
    } else if (code_point < 0x800) {
        append(0xc0 | (code_point >> 6));
        tail(0);
    } else if (code_point < 0x10000) {
        append(0xe0 | (code_point >> 12));
        tail(6);
        tail(0);
    } else {
        append(0xf0 | (code_point >> 18));
        tail(12);
        tail(6);
        tail(0);
    }
}

Result<StrPrefix> decode_str(const StrPlan& plan, std::span<const std::byte> bytes) {
    StrPrefix prefix{.length = plan.length, .complete = plan.units == plan.length};
    prefix.text.reserve(bytes.size());
    const RemoteStruct units(plan.text, bytes);
    for (std::size_t offset = 0; offset < bytes.size(); offset += plan.unit_bytes) {
        std::uint32_t unit = 0;
        switch (plan.unit_bytes) {
            case 1:
                unit = units.get<std::uint8_t>(offset).value_or(0);
                break;
            case 2:
                unit = units.get<std::uint16_t>(offset).value_or(0);
                break;
            default:
                unit = units.get<std::uint32_t>(offset).value_or(0);
        }
        if (unit > kMaxCodePoint) return fail(corrupt("text of a str", plan.text + offset));
        append_utf8(prefix.text, unit);
    }
    return prefix;
}

// With `whole`, a str longer than `max_length` is an error and its text is not read.
std::vector<Result<StrPrefix>> read_strs(const MemoryReader& reader, const Layout& layout,
                                         std::span<const RemoteAddr> strs, std::size_t max_length,
                                         bool whole) {
    const auto& fields = layout.unicode_object;
    if (!fields.state || !fields.length || !fields.asciiobject_size) {
        return std::vector<Result<StrPrefix>>(strs.size(), fail(absent_field("unicode_object")));
    }
    std::vector<std::byte> blocks(strs.size() * kStrBlockBytes);
    std::vector<ReadRequest> requests;
    requests.reserve(strs.size());
    for (std::size_t i = 0; i < strs.size(); ++i) {
        requests.push_back(
            {strs[i], std::span(blocks).subspan(i * kStrBlockBytes, kStrBlockBytes)});
    }
    reader.read_many(requests);

    // Texts that are not in the block are fetched in a second batch.
    std::vector<Result<StrPlan>> plans;
    std::vector<std::vector<std::byte>> texts(strs.size());
    std::vector<ReadRequest> more;
    std::vector<std::size_t> owners;
    plans.reserve(strs.size());
    for (std::size_t i = 0; i < strs.size(); ++i) {
        const auto block = requests[i].destination.first(requests[i].done);
        plans.push_back(plan_str(layout, RemoteStruct(strs[i], block), max_length, whole));
        if (!plans[i]) continue;
        texts[i].resize(plans[i]->wanted_bytes());
        const std::uint64_t offset = plans[i]->text - strs[i];
        if (offset <= block.size() && block.size() - offset >= texts[i].size()) {
            std::copy_n(block.begin() + static_cast<std::ptrdiff_t>(offset), texts[i].size(),
                        texts[i].begin());
        } else {
            more.push_back({plans[i]->text, texts[i]});
            owners.push_back(i);
        }
    }
    if (!more.empty()) reader.read_many(more);
    for (std::size_t k = 0; k < more.size(); ++k) {
        if (more[k].complete()) continue;
        plans[owners[k]] = fail(
            read_fault(more[k].address + more[k].done, more[k].destination.size() - more[k].done));
    }

    std::vector<Result<StrPrefix>> prefixes;
    prefixes.reserve(strs.size());
    for (std::size_t i = 0; i < strs.size(); ++i) {
        prefixes.push_back(plans[i] ? decode_str(*plans[i], texts[i]) : fail(plans[i].error()));
    }
    return prefixes;
}

}  // namespace

std::vector<Result<StrPrefix>> read_str_prefixes(const MemoryReader& reader, const Layout& layout,
                                                 std::span<const RemoteAddr> strs,
                                                 std::size_t max_length) {
    return read_strs(reader, layout, strs, max_length, false);
}

Result<StrPrefix> read_str_prefix(const MemoryReader& reader, const Layout& layout, RemoteAddr str,
                                  std::size_t max_length) {
    return std::move(read_strs(reader, layout, std::span(&str, 1), max_length, false).front());
}

Result<std::string> read_str(const MemoryReader& reader, const Layout& layout, RemoteAddr str,
                             std::size_t max_length) {
    PYSTACK_TRY(prefix,
                std::move(read_strs(reader, layout, std::span(&str, 1), max_length, true).front()));
    return std::move(prefix.text);
}

Result<BytesPrefix> read_bytes_prefix(const MemoryReader& reader, const Layout& layout,
                                      RemoteAddr bytes, std::size_t max_size) {
    const auto& fields = layout.bytes_object;
    if (!fields.ob_size || !fields.ob_sval) return fail(absent_field("bytes_object"));
    PYSTACK_TRY(size, reader.read_value<std::int64_t>(bytes + *fields.ob_size));
    if (size < 0) return fail(corrupt("bytes", bytes));
    BytesPrefix prefix{.bytes = {}, .size = static_cast<std::uint64_t>(size)};
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(prefix.size, max_size));
    PYSTACK_TRY(contents, reader.read_bytes(bytes + *fields.ob_sval, wanted));
    prefix.bytes = std::move(contents);
    return prefix;
}

Result<std::vector<std::byte>> read_bytes_object(const MemoryReader& reader, const Layout& layout,
                                                 RemoteAddr bytes, std::size_t max_size) {
    const auto& fields = layout.bytes_object;
    if (!fields.ob_size) return fail(absent_field("bytes_object"));
    // Asked first, so that a hostile size does not make us read up to the limit.
    PYSTACK_TRY(size, reader.read_value<std::int64_t>(bytes + *fields.ob_size));
    if (size < 0 || static_cast<std::uint64_t>(size) > max_size) {
        return fail(corrupt("length of bytes", bytes));
    }
    PYSTACK_TRY(prefix, read_bytes_prefix(reader, layout, bytes, max_size));
    return std::move(prefix.bytes);
}

std::size_t int64_object_size(const Layout& layout) {
    const auto& fields = layout.long_object;
    return fields.ob_digit ? *fields.ob_digit + kMaxInt64Digits * kDigitBytes : 0;
}

Result<std::optional<std::int64_t>> decode_int64(const Layout& layout,
                                                 const RemoteStruct& integer) {
    const auto& fields = layout.long_object;
    if (!fields.ob_digit) return fail(absent_field("long_object.ob_digit"));
    bool negative = false;
    std::uint64_t digits = 0;
    if (layout.int_format == IntFormat::kTag) {
        // 3.12+ [gh-101291]: two bits of sign (0 positive, 1 zero, 2 negative), one reserved, the
        // size.
        if (!fields.lv_tag) return fail(absent_field("long_object.lv_tag"));
        const auto tag = integer.get<std::uint64_t>(*fields.lv_tag);
        if (!tag) return fail(read_fault(integer.address(), int64_object_size(layout)));
        if ((*tag & 3) == 3) return fail(corrupt("int", integer.address()));
        negative = (*tag & 3) == 2;
        digits = (*tag & 3) == 1 ? 0 : *tag >> 3;
    } else {
        if (!layout.pyobject.ob_size) return fail(absent_field("pyobject.ob_size"));
        const auto size = integer.get<std::int64_t>(*layout.pyobject.ob_size);
        if (!size) return fail(read_fault(integer.address(), int64_object_size(layout)));
        negative = *size < 0;
        digits = negative ? -static_cast<std::uint64_t>(*size) : static_cast<std::uint64_t>(*size);
    }
    if (digits > kMaxInt64Digits) return std::optional<std::int64_t>();

    std::uint64_t magnitude = 0;
    for (std::size_t i = 0; i < digits; ++i) {
        const auto digit = integer.get<std::uint32_t>(*fields.ob_digit + i * kDigitBytes);
        if (!digit) return fail(read_fault(integer.address(), int64_object_size(layout)));
        if (*digit >> kDigitBits != 0) return fail(corrupt("digit of an int", integer.address()));
        const std::uint64_t shifted = std::uint64_t{*digit} << (i * kDigitBits);
        if (shifted >> (i * kDigitBits) != *digit) return std::optional<std::int64_t>();
        magnitude |= shifted;
    }
    const auto limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (magnitude > limit + (negative ? 1u : 0u)) return std::optional<std::int64_t>();
    return std::optional(static_cast<std::int64_t>(negative ? -magnitude : magnitude));
}

Result<std::optional<std::int64_t>> read_int64(const MemoryReader& reader, const Layout& layout,
                                               RemoteAddr integer) {
    // A small int can be the last object of its page: what is there is enough or decode_int64 says
    // so.
    std::vector<std::byte> block(int64_object_size(layout));
    const std::size_t done = reader.read_up_to(integer, block);
    return decode_int64(layout, RemoteStruct(integer, std::span(block).first(done)));
}

Result<RemoteAddr> read_type(const MemoryReader& reader, const Layout& layout, RemoteAddr object) {
    if (!layout.pyobject.ob_type) return fail(absent_field("pyobject.ob_type"));
    return reader.read_pointer(object + *layout.pyobject.ob_type);
}

Result<std::uint64_t> read_type_flags(const MemoryReader& reader, const Layout& layout,
                                      RemoteAddr type) {
    if (!layout.type_object.tp_flags) return fail(absent_field("type_object.tp_flags"));
    return reader.read_value<std::uint64_t>(type + *layout.type_object.tp_flags);
}

Result<std::string> read_type_name(const MemoryReader& reader, const Layout& layout,
                                   RemoteAddr object) {
    if (!layout.type_object.tp_name) return fail(absent_field("type_object.tp_name"));
    PYSTACK_TRY(type, read_type(reader, layout, object));
    PYSTACK_TRY(name, reader.read_pointer(type + *layout.type_object.tp_name));
    return reader.read_c_string(name, kMaxTypeNameBytes);
}

Result<std::vector<RemoteAddr>> read_tuple_items(const MemoryReader& reader, const Layout& layout,
                                                 RemoteAddr tuple, std::size_t max_items) {
    const auto& fields = layout.tuple_object;
    if (!fields.ob_size || !fields.ob_item) return fail(absent_field("tuple_object"));
    PYSTACK_TRY(size, reader.read_value<std::int64_t>(tuple + *fields.ob_size));
    if (size < 0) return fail(corrupt("tuple", tuple));
    const auto count = std::min<std::uint64_t>(static_cast<std::uint64_t>(size), max_items);
    std::vector<RemoteAddr> items(static_cast<std::size_t>(count));
    static_assert(sizeof(RemoteAddr) == sizeof(std::uint64_t));
    PYSTACK_CHECK(reader.read(tuple + *fields.ob_item, std::as_writable_bytes(std::span(items))));
    return items;
}

}  // namespace pystack::cpython
