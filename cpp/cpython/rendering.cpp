#include "cpython/rendering.h"

#include <algorithm>
#include <array>

#include "cpython/objects.h"
#include "cpython/render_arrays.h"
#include "cpython/render_callables.h"
#include "cpython/render_containers.h"
#include "cpython/render_datetimes.h"
#include "cpython/render_instances.h"
#include "cpython/render_scalars.h"
#include "cpython/render_strings.h"

namespace pystack::cpython {

namespace {

/// Of every object so much is looked at: enough for the fields of most.
constexpr std::size_t kHeadBytes = 96;
/// What an object costs of the byte budget, whatever it is.
constexpr std::uint64_t kObjectCharge = 64;
/// What one value may take of the byte budget, so that a big one does not leave nothing to others,
/// and how little no value has to do with.
constexpr std::uint64_t kValueShare = 32;
constexpr std::uint64_t kLeastValueBytes = 1024;
/// Values inside values of any kind. Containers end at max_depth; this ends what only a corrupt
/// target has, a slice in a slice in a slice.
constexpr int kMaxRecursion = 300;
constexpr unsigned kMaxDepth = 100;
constexpr std::size_t kMaxIntDigits = 4300;
constexpr std::size_t kMaxNameLength = 256;

RenderLimits within_reason(RenderLimits limits) {
    limits.max_depth = std::min(limits.max_depth, kMaxDepth);
    limits.max_int_digits = std::min(limits.max_int_digits, kMaxIntDigits);
    return limits;
}

Result<void> render(Rendering& r, const Value& value) {
    const bool is_class = value.type.kind == ValueKind::kClass;
    if (value.type.is_enum && !is_class) return render_enum_member(r, value);
    switch (value.type.kind) {
        case ValueKind::kNone:
        case ValueKind::kEllipsis:
        case ValueKind::kNotImplemented:
        case ValueKind::kBool:
        case ValueKind::kInt:
        case ValueKind::kFloat:
        case ValueKind::kComplex:
        case ValueKind::kStr:
        case ValueKind::kBytes:
        case ValueKind::kByteArray:
            return render_scalar(r, value);
        case ValueKind::kTuple:
        case ValueKind::kList:
        case ValueKind::kDict:
        case ValueKind::kFrozenDict:
        case ValueKind::kOrderedDict:
        case ValueKind::kDefaultDict:
        case ValueKind::kMappingProxy:
        case ValueKind::kDictKeys:
        case ValueKind::kDictValues:
        case ValueKind::kDictItems:
        case ValueKind::kSet:
        case ValueKind::kFrozenSet:
        case ValueKind::kDeque:
        case ValueKind::kRange:
        case ValueKind::kSlice:
            return render_container(r, value);
        case ValueKind::kException:
            return render_exception(r, value);
        case ValueKind::kClass:
        case ValueKind::kModule:
        case ValueKind::kFunction:
        case ValueKind::kMethod:
        case ValueKind::kBuiltin:
        case ValueKind::kMethodDescriptor:
        case ValueKind::kSlotWrapper:
        case ValueKind::kMember:
        case ValueKind::kGetSet:
        case ValueKind::kGenerator:
        case ValueKind::kCoroutine:
        case ValueKind::kAsyncGenerator:
            return render_callable(r, value);
        case ValueKind::kDate:
        case ValueKind::kDateTime:
        case ValueKind::kTime:
        case ValueKind::kTimeDelta:
        case ValueKind::kTimeZone:
        case ValueKind::kZoneInfo:
            return render_datetime(r, value);
        case ValueKind::kNumpyArray:
        case ValueKind::kNumpyScalar:
            return render_numpy(r, value);
        case ValueKind::kCell:
        case ValueKind::kOther:
            break;
    }
    return render_instance(r, value);
}

}  // namespace

Rendering::Rendering(PageCopy& copy, const Layout& of, TypeCache& type_cache,
                     const RenderLimits& limit, const NameFilter& filter)
    : heap(copy),
      layout(of),
      types(type_cache),
      limits(within_reason(limit)),
      should_render(filter),
      budget_(limit.max_bytes) {
    begin_value();
}

bool Rendering::spent() const {
    constexpr std::uint64_t kReadFactor = 16;
    return budget_ == 0 || (heap.bytes_read() - read_before_) / kReadFactor > limits.max_bytes;
}

void Rendering::refill() {
    budget_ = limits.max_bytes;
    read_before_ = heap.bytes_read();
}

void Rendering::begin_value() {
    out.clear();
    value_budget_ = std::max(limits.max_bytes / kValueShare, kLeastValueBytes);
}

void Rendering::value(RemoteAddr object) {
    if (!object) {
        out += "<NULL>";
        return;
    }
    if (exhausted() || recursion_ >= kMaxRecursion) {
        out += "...";
        return;
    }
    charge(kObjectCharge);
    const std::size_t begin = out.size();
    ++recursion_;
    if (auto described = describe(object); !described) {
        out.resize(begin);
        unreadable(described.error());
    }
    --recursion_;
}

Result<void> Rendering::describe(RemoteAddr object) {
    std::array<std::byte, kHeadBytes> bytes;
    const std::size_t done = heap.read_up_to(object, bytes);
    const memory::RemoteStruct head(object, std::span(bytes).first(done));
    if (!layout.pyobject.ob_type) {
        return fail(Error{.code = ErrorCode::kOffsetsRejected, .what = "pyobject.ob_type"});
    }
    const auto type_address = head.pointer(*layout.pyobject.ob_type);
    if (!type_address) return fail(read_fault(object + done, *layout.pyobject.ob_type + 8 - done));
    PYSTACK_TRY(type, types.find(*type_address));
    return render(*this, Value{object, *type, head});
}

void Rendering::named_value(std::string_view name, RemoteAddr object) {
    if (should_render && !should_render(name)) {
        out += "<redacted>";
    } else {
        value(object);
    }
}

void Rendering::unreadable(const Error& error) {
    out += "<unreadable: ";
    append_name(out, error.message());
    out += '>';
}

Result<RemoteAddr> Rendering::pointer(const Value& value, FieldOffset offset) const {
    PYSTACK_TRY(word, field<std::uint64_t>(value, offset));
    return RemoteAddr{word};
}

std::size_t Rendering::shown_of(std::uint64_t size) const {
    if (too_deep()) return 0;
    const std::uint64_t affordable = std::min(budget_, value_budget_) / sizeof(RemoteAddr);
    return static_cast<std::size_t>(std::min<std::uint64_t>({size, limits.max_items, affordable}));
}

Result<std::vector<RemoteAddr>> Rendering::item_array(RemoteAddr array, std::uint64_t size) {
    std::vector<RemoteAddr> items(shown_of(size));
    if (items.empty()) return items;
    static_assert(sizeof(RemoteAddr) == sizeof(std::uint64_t));
    PYSTACK_CHECK(heap.read(array, std::as_writable_bytes(std::span(items))));
    charge(items.size() * sizeof(RemoteAddr));
    heap.fetch(items);
    return items;
}

std::vector<std::string_view> Rendering::names(std::span<const RemoteAddr> strs) {
    std::vector<RemoteAddr> unknown;
    for (const RemoteAddr str : strs) {
        if (!names_.contains(str)) unknown.push_back(str);
    }
    if (!unknown.empty()) {
        heap.fetch(unknown);
        auto texts = read_str_prefixes(heap, layout, unknown, kMaxNameLength);
        for (std::size_t i = 0; i < unknown.size(); ++i) {
            const auto type = types.of(unknown[i]);
            const bool is_str = type && (*type)->kind == ValueKind::kStr;
            names_[unknown[i]] = is_str && texts[i] ? escaped_name(texts[i]->text) : "<unreadable>";
        }
    }
    std::vector<std::string_view> found;
    found.reserve(strs.size());
    for (const RemoteAddr str : strs) found.push_back(names_.find(str)->second);
    return found;
}

Nesting::Nesting(Rendering& rendering, RemoteAddr container)
    : rendering_(rendering),
      cycle_(std::ranges::find(rendering.nesting_, container) != rendering.nesting_.end()) {
    rendering_.nesting_.push_back(container);
}

Nesting::~Nesting() {
    rendering_.nesting_.pop_back();
}

bool Entries::next() {
    const std::uint64_t limit = rendering_.too_deep() ? 0 : rendering_.limits.max_items;
    if (written_ >= limit || (written_ > 0 && rendering_.exhausted())) return false;
    if (written_ > 0) rendering_.out += ", ";
    ++written_;
    return true;
}

void Entries::finish() {
    if (written_ >= total_) return;
    if (written_ > 0) rendering_.out += ", ";
    rendering_.out += "... " + std::to_string(total_ - written_) + " more";
}

}  // namespace pystack::cpython
