#include "symbols/unit_tree.h"

#include <algorithm>
#include <iterator>

#include "modules/dwarf_constants.h"

namespace pystack::symbols {

namespace {

/// Real nesting is some ten levels.
constexpr std::size_t kMaxDepth = 1024;

}  // namespace

UnitTree::UnitTree(const DwarfFile& file, const DwarfUnit& unit) : unit_offset_(unit.offset) {
    if (unit.end - unit.offset >= kNone) return;
    const auto relative = [&](std::uint64_t offset) {
        return static_cast<std::uint32_t>(offset - unit.offset);
    };
    StepBatch steps(file.limits());
    std::vector<std::uint32_t> open;
    std::uint64_t at = unit.first_entry;
    while (at < unit.end && steps.charge()) {
        const auto entry = file.entry_at(unit, at);
        if (!entry) {
            // A zero byte ends the list; anything else makes no sense.
            if (open.empty() || !file.is_end_of_list(at)) break;
            scopes_[open.back()].end = relative(++at);
            open.pop_back();
            if (open.empty()) break;
            continue;
        }
        const auto end = file.end_of(*entry);
        if (!end) break;
        if (entry->tag() == modules::dwarf::kTagSubprogram) {
            if (!file.limits().charge_bytes(2 * sizeof at)) break;
            functions_.push_back(at);
        }
        if (entry->abbreviation.has_children) {
            if (open.size() >= kMaxDepth || !file.limits().charge_bytes(2 * sizeof(Scope))) break;
            scopes_.push_back({.begin = relative(at),
                               .end = relative(unit.end),
                               .parent = open.empty() ? kNone : open.back(),
                               .tag = entry->tag()});
            open.push_back(static_cast<std::uint32_t>(scopes_.size() - 1));
        } else if (open.empty()) {
            break;
        }
        at = *end;
    }
}

const UnitTree::Scope* UnitTree::around(std::uint64_t offset) const {
    const auto after = std::ranges::lower_bound(
        scopes_, offset, {}, [&](const Scope& scope) { return unit_offset_ + scope.begin; });
    const Scope* scope = after == scopes_.begin() ? nullptr : &*std::prev(after);
    while (scope != nullptr && unit_offset_ + scope->end <= offset) scope = parent(*scope);
    return scope;
}

std::optional<std::uint64_t> UnitTree::next_sibling(const DwarfEntry& entry) const {
    if (!entry.abbreviation.has_children) return entry.file->end_of(entry);
    const auto found = std::ranges::lower_bound(
        scopes_, entry.offset, {}, [&](const Scope& scope) { return unit_offset_ + scope.begin; });
    if (found == scopes_.end() || unit_offset_ + found->begin != entry.offset) return std::nullopt;
    return unit_offset_ + found->end;
}

}  // namespace pystack::symbols
