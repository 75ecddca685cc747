#include "cpython/layout/debug_offsets.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cpython/layout/layout_check.h"
#include "cpython/layout/layout_visit.h"

namespace pystack::cpython {

namespace {

constexpr std::byte kCookie[] = {std::byte{'x'}, std::byte{'d'}, std::byte{'e'}, std::byte{'b'},
                                 std::byte{'u'}, std::byte{'g'}, std::byte{'p'}, std::byte{'y'}};

/// Where one word of the table goes: to a field, to a struct_size, or nowhere.
struct Word {
    const char* name = nullptr;
    FieldOffset& (*field)(Layout&) = nullptr;
    std::uint32_t& (*size)(Layout&) = nullptr;
    bool free_threaded_only = false;  ///< 0 in GIL builds, which do not have the field.
    bool inside_own_gil = false;      ///< Counted from the interpreter state; ours from the GIL.
};

#define WORD(section, name_)                                                         \
    Word {                                                                           \
        .name = #section "." #name_,                                                 \
        .field = [](Layout& layout) -> FieldOffset& { return layout.section.name_; } \
    }
#define FREE_THREADED_WORD(section, name_)                                            \
    Word {                                                                            \
        .name = #section "." #name_,                                                  \
        .field = [](Layout& layout) -> FieldOffset& { return layout.section.name_; }, \
        .free_threaded_only = true                                                    \
    }
#define GIL_WORD(name_)                                                           \
    Word {                                                                        \
        .name = "gil." #name_,                                                    \
        .field = [](Layout& layout) -> FieldOffset& { return layout.gil.name_; }, \
        .inside_own_gil = true                                                    \
    }
#define SIZE(section)                                                                       \
    Word {                                                                                  \
        .name = #section ".struct_size",                                                    \
        .size = [](Layout& layout) -> std::uint32_t& { return layout.section.struct_size; } \
    }
#define UNUSED \
    Word {}

#include "cpython/layout/debug_offsets_words.inc"

#undef WORD
#undef FREE_THREADED_WORD
#undef GIL_WORD
#undef SIZE
#undef UNUSED

static_assert(kDebugOffsetsHeaderSize + sizeof kWords315 / sizeof(Word) * 8 ==
              kDebugOffsetsMaxSize);

std::span<const Word> words_of(const PythonVersion& version) {
    if (version.major != 3) return {};
    switch (version.minor) {
        case 13:
            return kWords313;
        case 14:
            return kWords314;
        case 15:
            return kWords315;
        default:
            return {};
    }
}

std::uint64_t word_at(std::span<const std::byte> table, std::size_t position) {
    std::uint64_t word;
    std::memcpy(&word, table.data() + position, sizeof word);
    return word;
}

/// What the table says and nothing else: all other fields absent, sizes that it lacks 0.
Result<Layout> read_words(std::span<const std::byte> table, const DebugOffsetsHeader& header,
                          std::span<const Word> words) {
    if (table.size() < kDebugOffsetsHeaderSize + 8 * words.size()) {
        return fail(offsets_rejected("debug_offsets", "the table is truncated"));
    }
    Layout given;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const Word& word = words[i];
        if (word.name == nullptr || (word.free_threaded_only && !header.free_threaded)) continue;
        std::uint64_t value = word_at(table, kDebugOffsetsHeaderSize + 8 * i);
        if (value > kMaxStructSize) return fail(offsets_rejected(word.name, value));
        if (word.inside_own_gil) {
            const std::uint64_t gil = *given.interpreter_state.own_gil;
            if (value < gil) return fail(offsets_rejected(word.name, value));
            value -= gil;
        }
        if (word.size != nullptr) {
            word.size(given) = static_cast<std::uint32_t>(value);
        } else {
            word.field(given) = static_cast<std::uint32_t>(value);
        }
    }
    // PyVarObject is PyObject and ob_size: the one field beyond the structure's own end.
    given.pyobject.ob_size = given.pyobject.struct_size;
    return given;
}

/// A section of a Layout, kept for a walk through two layouts side by side.
template <class AnyLayout>
auto sections_of(AnyLayout& layout) {
    using Offset = std::conditional_t<std::is_const_v<AnyLayout>, const FieldOffset, FieldOffset>;
    using Size = std::conditional_t<std::is_const_v<AnyLayout>, const std::uint32_t, std::uint32_t>;
    struct Section {
        std::string_view name;
        Size* struct_size;
        std::vector<FieldView<Offset>> fields;
    };
    std::vector<Section> sections;
    for_each_section(layout, [&](std::string_view name, Size& size, auto fields) {
        sections.push_back({name, &size, {fields.begin(), fields.end()}});
    });
    return sections;
}

/// A place in a structure that the table and the generated row both have.
struct Landmark {
    std::int64_t row;
    std::int64_t table;

    std::int64_t shift() const { return table - row; }
};

/// The fields of one section that only the row has, placed between the landmarks around them.
class Placement {
  public:
    void add(std::int64_t row, std::int64_t table) { landmarks_.push_back({row, table}); }

    void finish() {
        std::ranges::stable_sort(landmarks_, {}, &Landmark::row);
        const auto differs = [](const Landmark& l) { return l.shift() != 0; };
        moved_ = std::ranges::any_of(landmarks_, differs);
    }

    /// True when the table disagrees with the row anywhere in this section.
    bool moved() const { return moved_; }

    /// Where the field that the row has at `offset` is in the target; absent if nothing proves it.
    FieldOffset place(std::int64_t offset) const {
        const auto after = std::ranges::upper_bound(landmarks_, offset, {}, &Landmark::row);
        const std::int64_t shift = after == landmarks_.begin() ? 0 : std::prev(after)->shift();
        const std::int64_t base = after == landmarks_.begin() ? 0 : std::prev(after)->row;
        // Between two landmarks displaced alike nothing has been added. Behind the last one only
        // what follows it directly moves with it: datastack_top and datastack_limit after
        // datastack_chunk.
        const bool proved = after != landmarks_.end() ? after->shift() == shift : !moved_;
        if (!proved && offset - base > kAdjacent) return {};
        if (offset + shift < 0) return {};
        return FieldOffset(static_cast<std::uint32_t>(offset + shift));
    }

  private:
    static constexpr std::int64_t kAdjacent = 16;

    std::vector<Landmark> landmarks_;
    bool moved_ = false;
};

/// `given` completed by the fields of `row` that the table lacks.
Layout complete(const Layout& given, const Layout& row) {
    Layout layout = row;
    const auto from_table = sections_of(given);
    const auto from_row = sections_of(row);
    const auto result = sections_of(layout);
    for (std::size_t s = 0; s < result.size(); ++s) {
        Placement placement;
        const std::uint32_t table_size = *from_table[s].struct_size;
        std::uint32_t end = 0;
        for (std::size_t f = 0; f < result[s].fields.size(); ++f) {
            const FieldOffset table = *from_table[s].fields[f].offset;
            const FieldOffset in_row = *from_row[s].fields[f].offset;
            if (table && in_row) placement.add(*in_row, *table);
            if (table) end = std::max(end, *table + 8);
        }
        if (table_size != 0) placement.add(*from_row[s].struct_size, table_size);
        placement.finish();
        for (std::size_t f = 0; f < result[s].fields.size(); ++f) {
            const FieldOffset table = *from_table[s].fields[f].offset;
            const FieldOffset in_row = *from_row[s].fields[f].offset;
            FieldOffset& offset = *result[s].fields[f].offset;
            if (table) {
                offset = table;
            } else if (in_row) {
                offset = placement.place(*in_row);
                if (offset) end = std::max(end, *offset + 8);
            }
        }
        if (table_size != 0) {
            *result[s].struct_size = table_size;
        } else if (placement.moved()) {
            *result[s].struct_size = end;  // The row's size is of another shape.
        }
    }
    return layout;
}

/// True if the structure's end moves with patch level and build options (generate_layouts.py,
/// VARYING_SIZES), so that its size proves nothing.
bool size_varies(std::string_view section) {
    return section == "runtime_state" || section == "interpreter_state" ||
           section == "thread_state";
}

/// True if the table cannot be told from the one that `row`'s release would have.
bool same_shape(const Layout& given, const Layout& row) {
    const auto from_table = sections_of(given);
    const auto from_row = sections_of(row);
    for (std::size_t s = 0; s < from_table.size(); ++s) {
        const std::uint32_t size = *from_table[s].struct_size;
        const std::uint32_t row_size = *from_row[s].struct_size;
        const bool varies = size_varies(from_table[s].name);
        if (size != 0 && (varies ? size < row_size : size != row_size)) return false;
        for (std::size_t f = 0; f < from_table[s].fields.size(); ++f) {
            const FieldOffset table = *from_table[s].fields[f].offset;
            if (table && table != *from_row[s].fields[f].offset) return false;
        }
    }
    return true;
}

}  // namespace

std::optional<DebugOffsetsHeader> parse_debug_offsets_header(std::span<const std::byte> bytes) {
    if (bytes.size() < kDebugOffsetsHeaderSize) return std::nullopt;
    if (!std::ranges::equal(bytes.first(sizeof kCookie), kCookie)) return std::nullopt;
    const std::uint64_t hex = word_at(bytes, 8);
    const std::uint64_t free_threaded = word_at(bytes, 16);
    if (hex > UINT32_MAX || free_threaded > 1) return std::nullopt;
    const auto version = PythonVersion::from_hex(static_cast<std::uint32_t>(hex));
    if (!version.has_offset_table() || !version.is_plausible()) return std::nullopt;
    return DebugOffsetsHeader{.version = version, .free_threaded = free_threaded == 1};
}

Result<Layout> layout_from_debug_offsets(std::span<const std::byte> table,
                                         Architecture architecture) {
    const auto header = parse_debug_offsets_header(table);
    if (!header) return fail(offsets_rejected("debug_offsets", "there is no table"));
    const auto [version, free_threaded] = *header;
    const std::span<const Word> words = words_of(version);
    if (words.empty()) return fail(unsupported_version(version, free_threaded, ""));

    PYSTACK_TRY(row, static_layout_of_minor(version, free_threaded, false, architecture));
    auto given = read_words(table, *header, words);
    if (!version.is_final()) {
        PYSTACK_TRY(debug_row, static_layout_of_minor(version, free_threaded, true, architecture));
        // Words of another shape than assumed need not even be offsets: the version is the reason
        // then.
        if (!given || (!same_shape(*given, row) && !same_shape(*given, debug_row))) {
            return fail(unsupported_version(version, free_threaded,
                                            " (a pre-release with a different memory layout)"));
        }
    }
    if (!given) return fail(std::move(given).error());
    Layout layout = complete(*given, row);
    PYSTACK_CHECK(check_layout(layout));
    return layout;
}

}  // namespace pystack::cpython
