#include "symbols/debug_info.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "base/text.h"
#include "elf/build_id.h"
#include "modules/byte_cursor.h"
#include "modules/debug_sections.h"
#include "modules/dwarf_constants.h"

namespace pystack::symbols {

namespace {

/// From an inlined copy to the function, to its declaration in the class: real chains have three.
constexpr int kMaxReferences = 16;
/// Real nesting of inlined functions and blocks is some ten levels.
constexpr int kMaxDepth = 256;

/// The entry itself, then those that it refers to for what it does not say.
template <class Visit>
void for_each_origin(DwarfEntry entry, Visit visit) {
    for (int i = 0; i < kMaxReferences; ++i) {
        if (!visit(entry)) return;
        auto next = entry.file->reference(entry, modules::dwarf::kAtAbstractOrigin);
        if (!next) next = entry.file->reference(entry, modules::dwarf::kAtSpecification);
        if (!next) return;
        entry = *next;
    }
}

std::string text_of_origin(const DwarfEntry& entry, std::uint16_t attribute) {
    std::string_view found;
    for_each_origin(entry, [&](const DwarfEntry& origin) {
        found = origin.file->text(origin, attribute);
        return found.empty();
    });
    return std::string(found);
}

std::string linkage_name(const DwarfEntry& entry) {
    std::string name = text_of_origin(entry, modules::dwarf::kAtLinkageName);
    return name.empty() ? text_of_origin(entry, modules::dwarf::kAtMipsLinkageName) : name;
}

std::string plain_name(const DwarfEntry& entry) {
    return text_of_origin(entry, modules::dwarf::kAtName);
}

/// The entry that stands in its namespace or class: the declaration behind an inlined or
/// out-of-line copy.
DwarfEntry declaration_of(const DwarfEntry& entry) {
    DwarfEntry last = entry;
    for_each_origin(entry, [&](const DwarfEntry& origin) {
        last = origin;
        return true;
    });
    return last;
}

bool is_c_family_without_scopes(const DwarfUnit& unit) {
    constexpr std::array<std::uint16_t, 11> kLanguages = {
        modules::dwarf::kLanguageC,         modules::dwarf::kLanguageC89,
        modules::dwarf::kLanguageC99,       modules::dwarf::kLanguageC11,
        modules::dwarf::kLanguageC17,       modules::dwarf::kLanguageMipsAssembler,
        modules::dwarf::kLanguageFortran77, modules::dwarf::kLanguageFortran90,
        modules::dwarf::kLanguageFortran95, modules::dwarf::kLanguageFortran03,
        modules::dwarf::kLanguageFortran08};
    return std::ranges::find(kLanguages, unit.language) != kLanguages.end();
}

bool is_block(std::uint16_t tag) {
    return tag == modules::dwarf::kTagLexicalBlock || tag == modules::dwarf::kTagTryBlock ||
           tag == modules::dwarf::kTagCatchBlock || tag == modules::dwarf::kTagWithStatement;
}

std::uint32_t number_of(const DwarfEntry& entry, std::uint16_t attribute) {
    const FormValue value = entry.file->value(entry, attribute);
    return is_constant(value.form) && value.number <= UINT32_MAX
               ? static_cast<std::uint32_t>(value.number)
               : 0;
}

/// .gnu_debugaltlink: a path, and the build id of the file.
std::optional<modules::DebugFile> alternate_file(const modules::ElfSections& sections,
                                                 const std::string& path,
                                                 const modules::DebugFileOptions& options) {
    const modules::ElfSection* const section = sections.find(".gnu_debugaltlink");
    if (section == nullptr) return std::nullopt;
    modules::ByteCursor cursor(section->bytes);
    const std::string name(cursor.take_text());
    if (cursor.failed() || name.empty() || cursor.left() == 0 ||
        cursor.left() > elf::kMaxBuildIdBytes)
        return std::nullopt;
    const std::string build_id = to_hex(cursor.take_bytes(cursor.left()));
    return modules::find_alternate_file(path, name, build_id, options);
}

}  // namespace

std::unique_ptr<DebugInfo> DebugInfo::open(std::span<const std::byte> bytes,
                                           const std::string& path,
                                           std::shared_ptr<const void> owner,
                                           const modules::DebugFileOptions& options) {
    const modules::ElfSections sections(bytes);
    if (modules::find_debug_section(sections, ".debug_info") == nullptr) return nullptr;
    return std::unique_ptr<DebugInfo>(new DebugInfo(
        bytes, std::move(owner), alternate_file(sections, path, options), options.limits));
}

DebugInfo::DebugInfo(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                     std::optional<modules::DebugFile> alternate,
                     const std::shared_ptr<WorkLimits>& limits)
    : owner_(std::move(owner)),
      alternate_file_(std::move(alternate)),
      alternate_(alternate_file_
                     ? std::make_unique<DwarfFile>(alternate_file_->image->bytes(), limits)
                     : nullptr),
      dwarf_(bytes, limits, alternate_.get()) {}

const std::string& DebugInfo::problem() const {
    if (!dwarf_.problem().empty() || alternate_ == nullptr) return dwarf_.problem();
    return alternate_->problem();
}

void DebugInfo::add_ranges(const DwarfEntry& entry, std::uint64_t owner, Ranges& ranges) {
    for (const auto& [begin, end] : entry.file->ranges(entry)) {
        if (!dwarf_.limits().charge_bytes(2 * sizeof(Range))) return;
        ranges.push_back({begin, end, owner});
    }
}

std::optional<std::uint64_t> DebugInfo::owner_of(const Ranges& ranges, std::uint64_t address) {
    const auto after = std::ranges::upper_bound(ranges, address, {}, &Range::begin);
    if (after == ranges.begin() || address >= std::prev(after)->end) return std::nullopt;
    return std::prev(after)->owner;
}

/// By the ranges of the units themselves: not every compiler makes .debug_aranges.
const DwarfUnit* DebugInfo::unit_at(std::uint64_t address) {
    if (!units_) {
        units_.emplace();
        for (const DwarfUnit& unit : dwarf_.units()) {
            if (unit.tag != modules::dwarf::kTagCompileUnit) continue;
            if (const auto root = dwarf_.root(unit)) add_ranges(*root, unit.offset, *units_);
        }
        std::ranges::sort(*units_, {}, &Range::begin);
    }
    const auto offset = owner_of(*units_, address);
    return offset ? dwarf_.unit_with(*offset) : nullptr;
}

const UnitTree& DebugInfo::tree_of(const DwarfFile& file, const DwarfUnit& unit) {
    return trees_.try_emplace({&file, unit.offset}, file, unit).first->second;
}

const LineTable& DebugInfo::lines_of(const DwarfUnit& unit) {
    return lines_.try_emplace(unit.offset, dwarf_, unit).first->second;
}

/// Functions can stand anywhere in the tree (methods of classes inside of functions).
const DebugInfo::Ranges& DebugInfo::functions_of(const DwarfUnit& unit) {
    const auto [place, is_new] = functions_.try_emplace(unit.offset);
    Ranges& functions = place->second;
    if (!is_new) return functions;
    for (const std::uint64_t offset : tree_of(dwarf_, unit).functions()) {
        if (const auto entry = dwarf_.entry_at(unit, offset)) add_ranges(*entry, offset, functions);
    }
    std::ranges::sort(functions, {}, &Range::begin);
    return functions;
}

/// The inlined functions around `address` in `function`, outermost first.
std::vector<DwarfEntry> DebugInfo::inlined_chain(const DwarfEntry& function,
                                                 std::uint64_t address) {
    std::vector<DwarfEntry> chain;
    const UnitTree& tree = tree_of(*function.file, *function.unit);
    StepBatch steps(dwarf_.limits());
    // The first child of the scope that is looked at, then its siblings.
    auto next = function.abbreviation.has_children ? dwarf_.end_of(function) : std::nullopt;
    for (int depth = 0; next && depth < kMaxDepth && steps.charge();) {
        const auto child = dwarf_.entry_at(*function.unit, *next);
        if (!child) break;
        const bool is_inlined = child->tag() == modules::dwarf::kTagInlinedSubroutine;
        if ((is_inlined || is_block(child->tag())) && dwarf_.contains(*child, address)) {
            if (is_inlined) chain.push_back(*child);
            next = child->abbreviation.has_children ? dwarf_.end_of(*child) : std::nullopt;
            ++depth;
        } else {
            next = tree.next_sibling(*child);
        }
    }
    return chain;
}

/// With the namespaces, classes and functions around it.
std::string DebugInfo::qualified_name(const DwarfEntry& entry, int depth) {
    constexpr int kMaxFunctionsAround = 8;
    std::string name = plain_name(entry);
    if (name.empty() || depth > kMaxFunctionsAround || is_c_family_without_scopes(*entry.unit))
        return name;
    const DwarfEntry declaration = declaration_of(entry);
    const UnitTree& tree = tree_of(*declaration.file, *declaration.unit);
    for (const auto* scope = tree.around(declaration.offset); scope != nullptr;
         scope = tree.parent(*scope)) {
        const bool is_namespace = scope->tag == modules::dwarf::kTagNamespace;
        const bool is_class = scope->tag == modules::dwarf::kTagStructureType ||
                              scope->tag == modules::dwarf::kTagClassType ||
                              scope->tag == modules::dwarf::kTagUnionType;
        if (!is_namespace && !is_class && scope->tag != modules::dwarf::kTagSubprogram) continue;
        const auto around = declaration.file->entry_at(*declaration.unit, tree.offset_of(*scope));
        if (!around) break;
        if (scope->tag == modules::dwarf::kTagSubprogram)
            return qualified_name(*around, depth + 1) + "::" + name;
        std::string outer = plain_name(*around);
        // A class without a name is usually that of a lambda.
        if (outer.empty()) outer = is_namespace ? "(anonymous namespace)" : "{lambda}";
        name = outer + "::" + name;
    }
    return name;
}

std::vector<DebugFrame> DebugInfo::frames(std::uint64_t address) {
    const DwarfUnit* const unit = unit_at(address);
    if (unit == nullptr) return {};
    const auto offset = owner_of(functions_of(*unit), address);
    const auto function = offset ? dwarf_.entry_at(*unit, *offset) : std::nullopt;
    if (!function) return {};

    const std::vector<DwarfEntry> chain = inlined_chain(*function, address);
    const LineTable& lines = lines_of(*unit);
    std::vector<DebugFrame> frames;
    LineTable::Place place = lines.find(address);
    const auto add = [&](const DwarfEntry& entry, bool is_inlined) {
        DebugFrame frame{.name = {},
                         .linkage_name = linkage_name(entry),
                         .file = place.file,
                         .line = place.line,
                         .is_inlined = is_inlined};
        frame.name = frame.linkage_name.empty() ? qualified_name(entry) : plain_name(entry);
        frames.push_back(std::move(frame));
    };
    for (auto entry = chain.rbegin(); entry != chain.rend(); ++entry) {
        add(*entry, true);
        place = {lines.file(number_of(*entry, modules::dwarf::kAtCallFile)),
                 number_of(*entry, modules::dwarf::kAtCallLine)};
    }
    add(*function, false);
    return frames;
}

std::optional<DebugFrame> DebugInfo::line(std::uint64_t address) {
    const DwarfUnit* const unit = unit_at(address);
    if (unit == nullptr) return std::nullopt;
    LineTable::Place place = lines_of(*unit).find(address);
    if (place.file.empty()) return std::nullopt;
    return DebugFrame{
        .name = {}, .linkage_name = {}, .file = std::move(place.file), .line = place.line};
}

}  // namespace pystack::symbols
