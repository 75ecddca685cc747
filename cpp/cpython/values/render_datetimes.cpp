#include "cpython/values/render_datetimes.h"

#include <array>
#include <cstddef>
#include <initializer_list>

#include "cpython/values/render_instances.h"

namespace pystack::cpython {

namespace {

/// Numbers that lie byte by byte in `data`, highest byte first [Include/datetime.h].
class PackedFields {
  public:
    explicit PackedFields(std::span<const std::byte> bytes) : bytes_(bytes) {}

    unsigned take(std::size_t size) {
        unsigned number = 0;
        for (std::size_t i = 0; i < size; ++i)
            number = number << 8 | std::to_integer<unsigned>(bytes_[i]);
        bytes_ = bytes_.subspan(size);
        return number;
    }

  private:
    std::span<const std::byte> bytes_;
};

std::string class_name(const Value& value) {
    return value.type.exact ? value.type.tp_name : value.type.qualname;
}

void append_numbers(Rendering& r, std::span<const unsigned> numbers) {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        if (i > 0) r.out += ", ";
        r.out += std::to_string(numbers[i]);
    }
}

/// Seconds and microseconds are left out where they are 0 and nothing follows.
std::size_t needed(std::span<const unsigned> numbers, std::size_t least) {
    std::size_t count = numbers.size();
    while (count > least && numbers[count - 1] == 0) --count;
    return count;
}

template <std::size_t size>
Result<std::array<std::byte, size>> read_data(Rendering& r, const Value& value, FieldOffset data) {
    return r.field<std::array<std::byte, size>>(value, data);
}

template <class Fields>
Result<void> append_fold_and_zone(Rendering& r, const Value& value, const Fields& fields) {
    PYSTACK_TRY(fold, r.field<std::uint8_t>(value, fields.fold));
    if (fold != 0) r.out += ", fold=1";
    PYSTACK_TRY(has_zone, r.field<std::uint8_t>(value, fields.hastzinfo));
    if (has_zone == 0) return {};
    PYSTACK_TRY(zone, r.pointer(value, fields.tzinfo));
    r.out += ", tzinfo=";
    r.value(zone);
    return {};
}

Result<void> append_date(Rendering& r, const Value& value) {
    PYSTACK_TRY(data, read_data<4>(r, value, r.layout.date_object.data));
    PackedFields packed(data);
    const unsigned year = packed.take(2);
    const unsigned month = packed.take(1);
    append_numbers(r, std::array{year, month, packed.take(1)});
    return {};
}

Result<void> append_datetime(Rendering& r, const Value& value) {
    PYSTACK_TRY(data, read_data<10>(r, value, r.layout.datetime_object.data));
    PackedFields packed(data);
    std::array<unsigned, 7> numbers{};
    constexpr std::array<std::size_t, 7> kSizes{2, 1, 1, 1, 1, 1, 3};
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = packed.take(kSizes[i]);
    append_numbers(r, std::span(numbers).first(needed(numbers, 5)));
    return append_fold_and_zone(r, value, r.layout.datetime_object);
}

Result<void> append_time(Rendering& r, const Value& value) {
    PYSTACK_TRY(data, read_data<6>(r, value, r.layout.time_object.data));
    PackedFields packed(data);
    std::array<unsigned, 4> numbers{};
    constexpr std::array<std::size_t, 4> kSizes{1, 1, 1, 3};
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = packed.take(kSizes[i]);
    append_numbers(r, std::span(numbers).first(needed(numbers, 2)));
    return append_fold_and_zone(r, value, r.layout.time_object);
}

struct Delta {
    std::int32_t days;
    std::int32_t seconds;
    std::int32_t microseconds;
};

Result<Delta> read_delta(Rendering& r, const Value& value) {
    const auto& fields = r.layout.timedelta_object;
    PYSTACK_TRY(days, r.field<std::int32_t>(value, fields.days));
    PYSTACK_TRY(seconds, r.field<std::int32_t>(value, fields.seconds));
    PYSTACK_TRY(microseconds, r.field<std::int32_t>(value, fields.microseconds));
    return Delta{days, seconds, microseconds};
}

/// As from 3.7 on; 3.6 wrote timedelta(1, 2, 3).
Result<void> append_timedelta(Rendering& r, const Value& value) {
    PYSTACK_TRY(delta, read_delta(r, value));
    const char* separator = "";
    const auto append = [&](const char* name, std::int32_t number) {
        if (number == 0) return;
        r.out.append(separator).append(name).append("=").append(std::to_string(number));
        separator = ", ";
    };
    append("days", delta.days);
    append("seconds", delta.seconds);
    append("microseconds", delta.microseconds);
    if (*separator == '\0') r.out += '0';
    return {};
}

/// PyDateTime_TimeZone {PyObject_HEAD; offset; name} [Modules/_datetimemodule.c].
Result<void> render_timezone(Rendering& r, const Value& value) {
    const RemoteAddr members = value.address + r.layout.pyobject.struct_size;
    PYSTACK_TRY(offset, r.heap.read_pointer(members));
    PYSTACK_TRY(name, r.heap.read_pointer(members + 8));
    PYSTACK_TRY(type, r.types.of(offset));
    if (type->kind != ValueKind::kTimeDelta) return fail(corrupt("timezone", value.address));
    const memory::RemoteStruct nothing(offset, {});
    PYSTACK_TRY(delta, read_delta(r, Value{offset, *type, nothing}));
    const bool zero = delta.days == 0 && delta.seconds == 0 && delta.microseconds == 0;
    // Without an offset and a name it is the one object timezone.utc.
    if (zero && !name && value.type.exact) {
        r.out += "datetime.timezone.utc";
        return {};
    }
    r.out += class_name(value) + "(";
    r.value(offset);
    if (name) {
        r.out += ", ";
        r.value(name);
    }
    r.out += ')';
    return {};
}

/// PyZoneInfo_ZoneInfo begins with its key [Modules/_zoneinfo.c].
Result<void> render_zoneinfo(Rendering& r, const Value& value) {
    PYSTACK_TRY(key, r.heap.read_pointer(value.address + r.layout.pyobject.struct_size));
    PYSTACK_TRY(type, r.types.of(key));
    if (type->kind != ValueKind::kStr) {
        append_address_form(r, value);
        return {};
    }
    r.out += class_name(value) + "(key=";
    r.value(key);
    r.out += ')';
    return {};
}

}  // namespace

Result<void> render_datetime(Rendering& r, const Value& value) {
    if (value.type.kind == ValueKind::kTimeZone) return render_timezone(r, value);
    if (value.type.kind == ValueKind::kZoneInfo) return render_zoneinfo(r, value);
    r.out += class_name(value) + "(";
    switch (value.type.kind) {
        case ValueKind::kDate:
            PYSTACK_CHECK(append_date(r, value));
            break;
        case ValueKind::kDateTime:
            PYSTACK_CHECK(append_datetime(r, value));
            break;
        case ValueKind::kTime:
            PYSTACK_CHECK(append_time(r, value));
            break;
        default:
            PYSTACK_CHECK(append_timedelta(r, value));
    }
    append_more_attributes(r, value);
    r.out += ')';
    return {};
}

}  // namespace pystack::cpython
