#include "cpython/values/render_arrays.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <optional>

#include "cpython/objects/repr_numbers.h"
#include "cpython/values/render_instances.h"

namespace pystack::cpython {

namespace {

constexpr std::int32_t kMaxDimensions = 64;

// PyArrayObject_fields, behind the head of the object [numpy/ndarraytypes.h].
constexpr std::uint64_t kData = 0;
constexpr std::uint64_t kDimensionCount = 8;
constexpr std::uint64_t kShape = 16;
constexpr std::uint64_t kStrides = 24;
constexpr std::uint64_t kDescriptor = 40;
// PyArray_Descr {PyTypeObject *typeobj; char kind; char type; char byteorder; char; int type_num}.
// The element size behind it moved in numpy 2.
constexpr std::uint64_t kDescriptorByteOrder = 10;
constexpr std::uint64_t kDescriptorNumber = 12;

enum class ElementFormat : std::uint8_t { kBool, kSigned, kUnsigned, kFloat, kComplex, kNone };

struct ElementType {
    std::string_view name;
    ElementFormat format;
    std::size_t size;
};

/// By type number, enum NPY_TYPES. Numbers that are no number types have no size here.
constexpr ElementType kElementTypes[] = {
    {"bool", ElementFormat::kBool, 1},         {"int8", ElementFormat::kSigned, 1},
    {"uint8", ElementFormat::kUnsigned, 1},    {"int16", ElementFormat::kSigned, 2},
    {"uint16", ElementFormat::kUnsigned, 2},   {"int32", ElementFormat::kSigned, 4},
    {"uint32", ElementFormat::kUnsigned, 4},   {"int64", ElementFormat::kSigned, 8},
    {"uint64", ElementFormat::kUnsigned, 8},   {"int64", ElementFormat::kSigned, 8},
    {"uint64", ElementFormat::kUnsigned, 8},   {"float32", ElementFormat::kFloat, 4},
    {"float64", ElementFormat::kFloat, 8},     {"longdouble", ElementFormat::kNone, 0},
    {"complex64", ElementFormat::kComplex, 8}, {"complex128", ElementFormat::kComplex, 16},
    {"clongdouble", ElementFormat::kNone, 0},  {"object", ElementFormat::kNone, 0},
    {"bytes", ElementFormat::kNone, 0},        {"str", ElementFormat::kNone, 0},
    {"void", ElementFormat::kNone, 0},         {"datetime64", ElementFormat::kNone, 0},
    {"timedelta64", ElementFormat::kNone, 0},  {"float16", ElementFormat::kNone, 0},
};

/// The float64 whose shortest text is the shortest one of the float32.
double widened(float number) {
    if (!std::isfinite(number)) return double{number};
    std::array<char, 64> text;
    const auto written = std::to_chars(text.data(), text.data() + text.size(), number);
    double wide = 0;
    std::from_chars(text.data(), written.ptr, wide);
    return wide;
}

template <class T>
T element_as(std::span<const std::byte> bytes, bool swapped) {
    std::array<std::byte, sizeof(T)> copy;
    for (std::size_t i = 0; i < sizeof(T); ++i) copy[i] = bytes[swapped ? sizeof(T) - 1 - i : i];
    return std::bit_cast<T>(copy);
}

void append_element(std::string& out, const ElementType& type, std::span<const std::byte> bytes,
                    bool swapped) {
    switch (type.format) {
        case ElementFormat::kBool:
            out += bytes[0] == std::byte{0} ? "False" : "True";
            return;
        case ElementFormat::kSigned: {
            const std::int64_t number = type.size == 1   ? element_as<std::int8_t>(bytes, swapped)
                                        : type.size == 2 ? element_as<std::int16_t>(bytes, swapped)
                                        : type.size == 4 ? element_as<std::int32_t>(bytes, swapped)
                                                         : element_as<std::int64_t>(bytes, swapped);
            out += std::to_string(number);
            return;
        }
        case ElementFormat::kUnsigned: {
            const std::uint64_t number =
                type.size == 1   ? element_as<std::uint8_t>(bytes, swapped)
                : type.size == 2 ? element_as<std::uint16_t>(bytes, swapped)
                : type.size == 4 ? element_as<std::uint32_t>(bytes, swapped)
                                 : element_as<std::uint64_t>(bytes, swapped);
            out += std::to_string(number);
            return;
        }
        case ElementFormat::kFloat:
            append_float(out, type.size == 4 ? widened(element_as<float>(bytes, swapped))
                                             : element_as<double>(bytes, swapped));
            return;
        case ElementFormat::kComplex: {
            const std::size_t half = type.size / 2;
            const auto part = [&](std::size_t offset) {
                return half == 4 ? widened(element_as<float>(bytes.subspan(offset), swapped))
                                 : element_as<double>(bytes.subspan(offset), swapped);
            };
            append_complex(out, part(0), part(half));
            return;
        }
        case ElementFormat::kNone:
            return;
    }
}

/// Where the elements of an array are.
struct Geometry {
    RemoteAddr data;
    std::vector<std::uint64_t> shape;
    std::vector<std::uint64_t> strides;  ///< Signed, but only ever added.

    std::optional<std::uint64_t> size() const {
        std::uint64_t total = 1;
        for (const std::uint64_t extent : shape) {
            if (__builtin_mul_overflow(total, extent, &total)) return std::nullopt;
        }
        return total;
    }

    /// Of the element with this index in C order.
    RemoteAddr place(std::uint64_t index) const {
        std::uint64_t offset = 0;
        for (std::size_t i = shape.size(); i-- > 0;) {
            offset += index % shape[i] * strides[i];
            index /= shape[i];
        }
        return data + offset;
    }
};

Result<Geometry> read_geometry(Rendering& r, const Value& value) {
    const RemoteAddr fields = value.address + r.layout.pyobject.struct_size;
    PYSTACK_TRY(data, r.heap.read_pointer(fields + kData));
    PYSTACK_TRY(count, r.heap.read_value<std::int32_t>(fields + kDimensionCount));
    if (count < 0 || count > kMaxDimensions) return fail(corrupt("numpy.ndarray", value.address));
    PYSTACK_TRY(shape, r.heap.read_pointer(fields + kShape));
    PYSTACK_TRY(strides, r.heap.read_pointer(fields + kStrides));
    Geometry geometry{.data = data};
    geometry.shape.resize(static_cast<std::size_t>(count));
    geometry.strides.resize(static_cast<std::size_t>(count));
    PYSTACK_CHECK(r.heap.read(shape, std::as_writable_bytes(std::span(geometry.shape))));
    PYSTACK_CHECK(r.heap.read(strides, std::as_writable_bytes(std::span(geometry.strides))));
    return geometry;
}

Result<void> append_elements(Rendering& r, const Geometry& geometry, const ElementType& type,
                             bool swapped) {
    const auto total = geometry.size();
    if (!total) return fail(corrupt("shape of a numpy.ndarray", geometry.data));
    r.out += ", data=[";
    Entries entries(r, *total);
    const std::size_t shown = r.shown_of(*total);
    for (std::uint64_t i = 0; i < shown; ++i) {
        PYSTACK_TRY(bytes, r.heap.read_bytes(geometry.place(i), type.size));
        if (!entries.next()) break;
        r.charge(bytes.size());
        append_element(r.out, type, bytes, swapped);
    }
    entries.finish();
    r.out += ']';
    return {};
}

Result<void> render_array(Rendering& r, const Value& value) {
    const RemoteAddr fields = value.address + r.layout.pyobject.struct_size;
    PYSTACK_TRY(geometry, read_geometry(r, value));
    PYSTACK_TRY(descriptor, r.heap.read_pointer(fields + kDescriptor));
    const RemoteAddr description = descriptor + r.layout.pyobject.struct_size;
    PYSTACK_TRY(order, r.heap.read_value<char>(description + kDescriptorByteOrder));
    PYSTACK_TRY(number, r.heap.read_value<std::int32_t>(description + kDescriptorNumber));

    const Nesting nesting(r, value.address);
    r.out += value.type.exact ? value.type.tp_name : value.type.qualname;
    r.out += "(dtype=";
    const bool known = number >= 0 && static_cast<std::size_t>(number) < std::size(kElementTypes);
    const ElementType type =
        known ? kElementTypes[number] : ElementType{"?", ElementFormat::kNone, 0};
    const bool swapped = order == '>';
    if (swapped) r.out += '>';
    r.out += type.name;
    r.out += ", shape=(";
    for (std::size_t i = 0; i < geometry.shape.size(); ++i) {
        if (i > 0) r.out += ", ";
        r.out += std::to_string(static_cast<std::int64_t>(geometry.shape[i]));
    }
    r.out += geometry.shape.size() == 1 ? ",)" : ")";
    if (type.format != ElementFormat::kNone) {
        PYSTACK_CHECK(append_elements(r, geometry, type, swapped));
    }
    r.out += ')';
    return {};
}

/// The value lies behind the head of the object [numpy/arrayscalars.h].
Result<void> render_number(Rendering& r, const Value& value) {
    std::string_view name = value.type.name;
    if (name == "bool_") name = "bool";
    const ElementType* type = nullptr;
    for (const ElementType& candidate : kElementTypes) {
        if (candidate.name == name) type = &candidate;
    }
    if (type == nullptr || type->format == ElementFormat::kNone || !value.type.exact) {
        append_address_form(r, value);
        return {};
    }
    PYSTACK_TRY(bytes,
                r.heap.read_bytes(value.address + r.layout.pyobject.struct_size, type->size));
    r.out += "numpy." + value.type.name + "(";
    append_element(r.out, *type, bytes, false);
    r.out += ')';
    return {};
}

}  // namespace

Result<void> render_numpy(Rendering& r, const Value& value) {
    if (value.type.kind == ValueKind::kNumpyArray) return render_array(r, value);
    return render_number(r, value);
}

}  // namespace pystack::cpython
