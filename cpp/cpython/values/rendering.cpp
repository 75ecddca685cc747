#include "cpython/values/rendering.h"

#include <algorithm>

#include "cpython/objects/objects.h"
#include "cpython/objects/repr_strings.h"

namespace pystack::cpython {

namespace {

/// What one value may take of the byte budget, so that a big one does not leave nothing to others,
/// and how little no value has to do with.
constexpr std::uint64_t kValueShare = 32;
constexpr std::uint64_t kLeastValueBytes = 1024;
constexpr unsigned kMaxDepth = 100;
constexpr std::size_t kMaxIntDigits = 4300;
constexpr std::size_t kMaxNameLength = 256;

RenderLimits within_reason(RenderLimits limits) {
    limits.max_depth = std::min(limits.max_depth, kMaxDepth);
    limits.max_int_digits = std::min(limits.max_int_digits, kMaxIntDigits);
    return limits;
}

}  // namespace

Rendering::Rendering(memory::PageCache& copy, const Layout& of, TypeCache& type_cache,
                     const RenderLimits& limit, const Redaction& hidden)
    : heap(copy),
      layout(of),
      types(type_cache),
      limits(within_reason(limit)),
      redaction(hidden),
      budget_(limit.max_bytes) {
    begin_value(limits.max_depth);
}

bool Rendering::spent() const {
    constexpr std::uint64_t kReadFactor = 16;
    return budget_ == 0 || (heap.bytes_read() - read_before_) / kReadFactor > limits.max_bytes;
}

void Rendering::begin_thread() {
    budget_ = 0;
    read_before_ = heap.bytes_read();
}

void Rendering::begin_value(unsigned max_depth) {
    out.clear();
    max_depth_ = max_depth;
    was_too_deep_ = false;
    value_budget_ = std::max(limits.max_bytes / kValueShare, kLeastValueBytes);
}

void Rendering::named_value(std::string_view name, RemoteAddr object) {
    if (redaction.hides(name)) {
        out += kRedacted;
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

std::size_t Rendering::shown_of(std::uint64_t size) {
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
