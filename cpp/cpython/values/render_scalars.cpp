#include "cpython/values/render_scalars.h"

#include <array>
#include <bit>

#include "cpython/objects/objects.h"
#include "cpython/objects/repr_numbers.h"
#include "cpython/objects/repr_strings.h"
#include "cpython/values/render_instances.h"
#include "cpython/values/render_redacted.h"

namespace pystack::cpython {

namespace {

constexpr unsigned kDigitBits = 30;
constexpr std::uint64_t kDigitBytes = 4;
/// No int of a real target has a gigabyte.
constexpr std::uint64_t kMaxDigits = 1 << 28;
constexpr double kDigitsPerBit = 0.30103;  // log10(2), rounded up.

std::string more_note(std::uint64_t count) {
    return " ... " + std::to_string(count) + " more";
}

void append_more(Rendering& r, std::uint64_t shown, std::uint64_t total) {
    if (shown < total) r.out += more_note(total - shown);
}

/// How much of a text is shown: all of it if the note about the rest would be as long as the rest.
std::uint64_t shown_of_text(const Rendering& r, std::uint64_t total) {
    const std::uint64_t most = r.limits.max_string;
    if (total <= most || total - most <= more_note(total - most).size()) return total;
    return most;
}

struct IntSize {
    bool negative;
    std::uint64_t digits;
};

Result<IntSize> int_size(Rendering& r, const Value& value) {
    if (r.layout.int_format == IntFormat::kTag) {
        // 3.12+: two bits of sign (0 positive, 1 zero, 2 negative), one reserved, the size.
        PYSTACK_TRY(tag, r.field<std::uint64_t>(value, r.layout.long_object.lv_tag));
        if ((tag & 3) == 3) return fail(corrupt("int", value.address));
        return IntSize{(tag & 3) == 2, (tag & 3) == 1 ? 0 : tag >> 3};
    }
    PYSTACK_TRY(size, r.field<std::int64_t>(value, r.layout.pyobject.ob_size));
    const auto unsigned_size = static_cast<std::uint64_t>(size);
    return IntSize{size < 0, size < 0 ? -unsigned_size : unsigned_size};
}

Result<void> render_int(Rendering& r, const Value& value) {
    PYSTACK_TRY(size, int_size(r, value));
    if (size.digits > kMaxDigits) return fail(corrupt("int", value.address));
    if (!r.layout.long_object.ob_digit) {
        return fail(Error{.code = ErrorCode::kOffsetsRejected, .what = "long_object.ob_digit"});
    }
    const RemoteAddr first = value.address + *r.layout.long_object.ob_digit;
    const auto bits_of = [&size](std::uint32_t top) {
        return (size.digits - 1) * kDigitBits + static_cast<std::uint64_t>(std::bit_width(top));
    };
    const auto too_long = [&r](std::uint64_t bits) {
        return static_cast<double>(bits) * kDigitsPerBit >
               static_cast<double>(r.limits.max_int_digits);
    };
    if (size.digits > 0 && too_long((size.digits - 1) * kDigitBits)) {
        PYSTACK_TRY(top, r.heap.read_value<std::uint32_t>(first + (size.digits - 1) * kDigitBytes));
        r.out += size.negative ? "<negative int of " : "<int of ";
        r.out += std::to_string(bits_of(top)) + " bits>";
        return {};
    }
    std::array<std::uint32_t, 4> few;
    std::vector<std::uint32_t> many(size.digits > few.size() ? size.digits : 0);
    const std::span<std::uint32_t> digits =
        many.empty() ? std::span(few).first(size.digits) : std::span(many);
    PYSTACK_CHECK(r.heap.read(first, std::as_writable_bytes(digits)));
    for (const std::uint32_t digit : digits) {
        if (digit >> kDigitBits != 0) return fail(corrupt("digit of an int", value.address));
    }
    r.charge(digits.size() * kDigitBytes);
    append_int(r.out, size.negative, digits);
    return {};
}

Result<void> render_bool(Rendering& r, const Value& value) {
    PYSTACK_TRY(size, int_size(r, value));
    r.out += size.digits == 0 ? "False" : "True";
    return {};
}

Result<void> render_float(Rendering& r, const Value& value) {
    PYSTACK_TRY(number, r.field<double>(value, r.layout.float_object.ob_fval));
    append_float(r.out, number);
    return {};
}

Result<void> render_complex(Rendering& r, const Value& value) {
    const FieldOffset real_offset = r.layout.complex_object.cval;
    PYSTACK_TRY(real, r.field<double>(value, real_offset));
    PYSTACK_TRY(imaginary, r.field<double>(value, FieldOffset(*real_offset + 8)));
    append_complex(r.out, real, imaginary);
    return {};
}

struct Block {
    std::vector<std::byte> shown;
    std::uint64_t size;
};

Result<Block> read_block(Rendering& r, RemoteAddr bytes, std::int64_t size) {
    if (size < 0) return fail(corrupt("size of bytes", bytes));
    Block block{.shown = {}, .size = static_cast<std::uint64_t>(size)};
    const std::uint64_t wanted = shown_of_text(r, block.size);
    PYSTACK_TRY(shown, r.heap.read_bytes(bytes, static_cast<std::size_t>(wanted)));
    r.charge(wanted);
    block.shown = std::move(shown);
    return block;
}

Result<void> render_bytes(Rendering& r, const Value& value) {
    const auto& fields = r.layout.bytes_object;
    PYSTACK_TRY(size, r.field<std::int64_t>(value, fields.ob_size));
    if (!fields.ob_sval) return fail(corrupt("bytes", value.address));
    PYSTACK_TRY(block, read_block(r, value.address + *fields.ob_sval, size));
    append_masked_bytes(r, block.shown, block.shown.size() < block.size);
    append_more(r, block.shown.size(), block.size);
    return {};
}

Result<void> render_bytearray(Rendering& r, const Value& value) {
    const auto& fields = r.layout.bytearray_object;
    PYSTACK_TRY(size, r.field<std::int64_t>(value, fields.ob_size));
    PYSTACK_TRY(start, r.pointer(value, fields.ob_start));
    PYSTACK_TRY(block, read_block(r, start, size));
    r.out += value.type.exact ? "bytearray" : value.type.qualname;
    r.out += '(';
    append_masked_bytes(r, block.shown, block.shown.size() < block.size);
    append_more(r, block.shown.size(), block.size);
    append_more_attributes(r, value);
    r.out += ')';
    return {};
}

Result<void> render_plain(Rendering& r, const Value& value) {
    switch (value.type.kind) {
        case ValueKind::kNone:
            r.out += "None";
            return {};
        case ValueKind::kEllipsis:
            r.out += "Ellipsis";
            return {};
        case ValueKind::kNotImplemented:
            r.out += "NotImplemented";
            return {};
        case ValueKind::kBool:
            return render_bool(r, value);
        case ValueKind::kInt:
            return render_int(r, value);
        case ValueKind::kFloat:
            return render_float(r, value);
        case ValueKind::kComplex:
            return render_complex(r, value);
        case ValueKind::kBytes:
            return render_bytes(r, value);
        default:
            return render_str(r, value.address);
    }
}

/// The text of a compact ASCII str, as most are, without the detours that the others take. False
/// when it is none, or when anything about it is unusual.
bool render_ascii(Rendering& r, RemoteAddr str) {
    const auto& fields = r.layout.unicode_object;
    if (!fields.state || !fields.length || !fields.asciiobject_size) return false;
    constexpr std::size_t kBlockBytes = 256;
    std::array<std::byte, kBlockBytes> block;
    const std::size_t head_size = *fields.asciiobject_size;
    if (head_size >= kBlockBytes || !r.heap.read(str, std::span(block).first(head_size)))
        return false;
    const memory::RemoteStruct head(str, std::span(block).first(head_size));
    const auto state = head.get<std::uint32_t>(*fields.state).value_or(0);
    const auto length = head.get<std::uint64_t>(*fields.length).value_or(0);
    const auto& bits = r.layout.unicode_state;
    const bool ascii = ((state >> bits.ascii_shift) & 1) != 0 &&
                       ((state >> bits.compact_shift) & 1) != 0 &&
                       ((state >> bits.kind_shift) & 7) == 1;
    if (!ascii || length > r.limits.max_string || length > kBlockBytes) return false;
    const auto text = std::span(block).first(static_cast<std::size_t>(length));
    if (!r.heap.read(str + head_size, text)) return false;
    const auto is_ascii = [](std::byte byte) { return byte < std::byte{0x80}; };
    if (!std::all_of(text.begin(), text.end(), is_ascii)) return false;
    r.charge(length);
    append_masked_str(r, {reinterpret_cast<const char*>(text.data()), text.size()}, false);
    return true;
}

}  // namespace

Result<void> render_str(Rendering& r, RemoteAddr str) {
    if (render_ascii(r, str)) return {};
    std::size_t most = r.limits.max_string;
    PYSTACK_TRY(prefix, read_str_prefix(r.heap, r.layout, str, most));
    if (!prefix.complete && shown_of_text(r, prefix.length) == prefix.length) {
        most = static_cast<std::size_t>(prefix.length);
        PYSTACK_TRY(whole, read_str_prefix(r.heap, r.layout, str, most));
        prefix = std::move(whole);
    }
    r.charge(prefix.text.size());
    append_masked_str(r, prefix.text, !prefix.complete);
    if (!prefix.complete) append_more(r, most, prefix.length);
    return {};
}

Result<void> render_scalar(Rendering& r, const Value& value) {
    if (value.type.kind == ValueKind::kByteArray) return render_bytearray(r, value);
    if (value.type.exact) return render_plain(r, value);
    r.out += value.type.qualname;
    r.out += '(';
    PYSTACK_CHECK(render_plain(r, value));
    append_more_attributes(r, value);
    r.out += ')';
    return {};
}

}  // namespace pystack::cpython
