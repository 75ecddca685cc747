#include "unwind/code_map.h"

#include <algorithm>
#include <ranges>
#include <utility>

namespace pystack::unwind {

namespace {

/// An address without code is looked for in new mappings; garbage must not make every sample do so.
constexpr std::chrono::milliseconds kPauseAfterVain{100};
/// Nor must a program that makes code all the time: how much longer than a look the pause after it
/// is.
constexpr int kPauseShare = 10;

/// Far above what any process has; the same library loaded again at another address counts anew.
constexpr std::size_t kMaxSlots = 1 << 18;

/// Not by `deleted`: a file that is replaced on disk remains the same module. Nor by what is not
/// code: the memory behind a module's data can grow.
bool same(const elf::Module& a, const elf::Module& b) {
    const elf::Mapping& first = a.mappings.front();
    const elf::Mapping& other = b.mappings.front();
    if (first.range.begin != other.range.begin || first.inode != other.inode ||
        first.device != other.device || a.path != b.path) {
        return false;
    }
    const auto code_of = [](const elf::Module& module) {
        return module.mappings | std::views::filter(&elf::Mapping::executable) |
               std::views::transform(&elf::Mapping::range);
    };
    return std::ranges::equal(code_of(a), code_of(b));
}

elf::Module module_of(const elf::Mapping& mapping) {
    elf::Module module;
    module.path = mapping.path;
    module.mappings.push_back(mapping);
    return module;
}

}  // namespace

Result<bool> CodeMap::update() {
    PYSTACK_TRY(modules, target_.modules());
    PYSTACK_TRY(mappings, target_.mappings());

    std::vector<Area> areas;
    std::vector<std::uint32_t> loaded;
    for (elf::Module& module : modules) {
        const auto& pieces = module.mappings;
        if (std::none_of(pieces.begin(), pieces.end(),
                         [](const auto& piece) { return piece.executable; })) {
            continue;
        }
        const std::vector<elf::Mapping> code = pieces;
        const std::uint32_t slot = slot_of(std::move(module));
        loaded.push_back(slot);
        for (const elf::Mapping& piece : code) {
            if (piece.executable) areas.push_back({piece.range, slot});
        }
    }
    const auto by_address = [](const Area& a, const Area& b) {
        return a.range.begin < b.range.begin;
    };
    std::sort(areas.begin(), areas.end(), by_address);
    std::vector<Area> anonymous;
    for (const elf::Mapping& mapping : mappings) {
        if (!mapping.executable) continue;
        const auto after =
            std::upper_bound(areas.begin(), areas.end(), Area{mapping.range}, by_address);
        const bool known =
            after != areas.begin() && std::prev(after)->range.contains(mapping.range.begin);
        if (known) continue;
        const bool is_vdso = mapping.path == "[vdso]";
        const std::uint32_t slot = is_vdso ? slot_of(module_of(mapping)) : kNoModule;
        if (is_vdso) loaded.push_back(slot);
        anonymous.push_back({mapping.range, slot});
    }
    areas.insert(areas.end(), anonymous.begin(), anonymous.end());
    std::sort(areas.begin(), areas.end(), by_address);

    const bool changed = !std::equal(
        areas.begin(), areas.end(), areas_.begin(), areas_.end(),
        [](const Area& a, const Area& b) { return a.range == b.range && a.module == b.module; });
    areas_ = std::move(areas);
    current_ = std::move(loaded);
    return changed;
}

std::uint32_t CodeMap::slot_of(elf::Module module) {
    for (const std::uint32_t slot : current_) {
        if (same(slots_[slot].module, module)) return slot;
    }
    if (slots_.size() >= kMaxSlots) return kNoModule;
    slots_.push_back({std::move(module), nullptr, false});
    return static_cast<std::uint32_t>(slots_.size() - 1);
}

const CodeMap::Area* CodeMap::find(RemoteAddr address) const {
    const auto after = std::upper_bound(
        areas_.begin(), areas_.end(), address,
        [](RemoteAddr wanted, const Area& area) { return wanted < area.range.begin; });
    if (after == areas_.begin() || !std::prev(after)->range.contains(address)) return nullptr;
    return &*std::prev(after);
}

bool CodeMap::update_for(RemoteAddr unknown) {
    if (find(unknown) != nullptr) return false;
    const auto begin = std::chrono::steady_clock::now();
    if (begin < update_from_) return false;
    const bool changed = update().value_or(false);
    const auto end = std::chrono::steady_clock::now();
    update_from_ = end + kPauseShare * (end - begin);
    if (find(unknown) == nullptr) update_from_ += kPauseAfterVain;
    return changed;
}

const std::shared_ptr<const CodeModule>& CodeMap::module(std::uint32_t number) {
    if (number >= slots_.size()) return none_;
    Slot& slot = slots_[number];
    if (!slot.opened) {
        slot.opened = true;
        if (target_.open_module(slot.module)) {
            slot.code = std::make_shared<const CodeModule>(slot.module);
        } else {
            slot.code =
                CodeModule::from_memory(target_.memory(), slot.module.range(), slot.module.path);
        }
    }
    return slot.code;
}

}  // namespace pystack::unwind
