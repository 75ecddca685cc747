#include "modules/code_map.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "modules/jit_file.h"

namespace pystack::modules {

namespace {

/// An address without code is looked for in new mappings; garbage must not make every sample do so.
constexpr std::chrono::milliseconds kPauseAfterVain{100};
/// What a module takes besides its mappings and its path.
constexpr std::uint64_t kSlotBytes = 512;

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
    PYSTACK_TRY(memory_map, target_.memory_map());
    auto& [mappings, modules] = memory_map;

    std::vector<Area> areas;
    std::map<RemoteAddr, std::uint32_t> loaded;
    for (elf::Module& module : modules) {
        const auto& pieces = module.mappings;
        if (std::none_of(pieces.begin(), pieces.end(),
                         [](const auto& piece) { return piece.executable; })) {
            continue;
        }
        const std::vector<elf::Mapping> code = pieces;
        const std::uint32_t slot = slot_of(std::move(module));
        loaded.emplace(code.front().range.begin, slot);
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
        if (is_vdso) loaded.emplace(mapping.range.begin, slot);
        anonymous.push_back({mapping.range, slot});
    }
    areas.insert(areas.end(), anonymous.begin(), anonymous.end());
    std::sort(areas.begin(), areas.end(), by_address);

    const bool changed = areas != areas_;
    areas_ = std::move(areas);
    current_ = std::move(loaded);
    return changed;
}

std::uint32_t CodeMap::slot_of(elf::Module module) {
    const auto known = current_.find(module.range().begin);
    if (known != current_.end() && known->second != kNoModule &&
        same(slots_[known->second].module, module)) {
        return known->second;
    }
    const std::uint64_t bytes =
        kSlotBytes + module.path.size() + module.mappings.size() * sizeof(elf::Mapping);
    if (slots_.size() >= kMaxSlots || !target_.limits().charge_bytes(bytes)) return kNoModule;
    slots_.push_back({std::move(module), nullptr, false});
    return static_cast<std::uint32_t>(slots_.size() - 1);
}

std::uint32_t CodeMap::slot_of_registered(const JitFile& jit) {
    const auto known = registered_slots_.find(jit.file);
    if (known != registered_slots_.end() && slots_[known->second].jit == jit) return known->second;
    const std::uint64_t bytes = kSlotBytes + jit.code.size() * sizeof(RemoteRange);
    if (slots_.size() >= kMaxSlots || !target_.limits().charge_bytes(bytes)) return kNoModule;
    Slot& slot = slots_.emplace_back();
    slot.module.path = elf::SharedPath(kJitPath);
    slot.jit = jit;
    return static_cast<std::uint32_t>(slots_.size() - 1);
}

/// True if changed.
bool CodeMap::read_registered() {
    for (; searched_ < slots_.size(); ++searched_) {
        if (slots_[searched_].jit) continue;
        module(static_cast<std::uint32_t>(searched_));
        registrations_.add_module(slots_[searched_].module);
    }
    std::vector<Area> found;
    std::map<RemoteRange, std::uint32_t> slots;
    for (const RemoteRange& file : registrations_.read(target_.memory(), target_.limits())) {
        auto jit = find_jit_code(target_.memory(), file);
        if (!jit) continue;
        // Whoever claims code of a file is wrong.
        std::erase_if(jit->code, [this](const RemoteRange& range) {
            const Area* const around = find_in(areas_, range.begin);
            return around == nullptr || around->module != kNoModule ||
                   range.end > around->range.end;
        });
        const std::uint32_t slot = jit->code.empty() ? kNoModule : slot_of_registered(*jit);
        if (slot == kNoModule) continue;
        slots.emplace(file, slot);
        for (const RemoteRange& range : jit->code) found.push_back({range, slot});
    }
    registered_slots_ = std::move(slots);
    std::ranges::stable_sort(found, {}, [](const Area& area) { return area.range.begin; });
    RemoteAddr end;
    std::erase_if(found, [&end](const Area& area) {
        if (area.range.begin < end) return true;
        end = area.range.end;
        return false;
    });
    if (found == registered_) return false;
    registered_ = std::move(found);
    return true;
}

bool CodeMap::update_registered() {
    // Compilers may register functions in quick succession, and all of them are read again.
    if (!registered_pace_.is_due() || !registrations_.is_changed(target_.memory())) return false;
    const auto begin = Pace::Clock::now();
    const bool changed = read_registered();
    registered_pace_.worked_since(begin);
    return changed;
}

const CodeMap::Area* CodeMap::find_in(const std::vector<Area>& areas, RemoteAddr address) {
    const auto after = std::upper_bound(
        areas.begin(), areas.end(), address,
        [](RemoteAddr wanted, const Area& area) { return wanted < area.range.begin; });
    if (after == areas.begin() || !std::prev(after)->range.contains(address)) return nullptr;
    return &*std::prev(after);
}

const CodeMap::Area* CodeMap::find(RemoteAddr address) const {
    const Area* const area = find_in(areas_, address);
    if (area == nullptr || area->module != kNoModule) return area;
    const Area* const registered = find_in(registered_, address);
    return registered != nullptr ? registered : area;
}

bool CodeMap::update_for(RemoteAddr unknown) {
    const Area* const known = find(unknown);
    if (known != nullptr && known->module != kNoModule) return false;
    Pace& pace = known != nullptr ? registered_pace_ : pace_;
    if (!pace.is_due()) return false;
    const auto begin = Pace::Clock::now();
    const bool changed = known != nullptr ? read_registered() : update().value_or(false);
    const Area* const now = find(unknown);
    const bool is_in_vain = now == nullptr || (known != nullptr && now->module == kNoModule);
    pace.worked_since(begin, is_in_vain ? kPauseAfterVain : Pace::Clock::duration{});
    return changed;
}

const std::shared_ptr<const CodeModule>& CodeMap::module(std::uint32_t number) {
    if (number >= slots_.size()) return none_;
    Slot& slot = slots_[number];
    if (!slot.opened) {
        slot.opened = true;
        if (target_.limits().cancelled()) return slot.code;
        if (slot.jit) {
            slot.code = load_jit_file(target_.memory(), *slot.jit, target_.limits());
        } else if (const auto opened = target_.open_module(slot.module)) {
            slot.code = std::make_shared<const CodeModule>(slot.module);
        } else if (opened.error().code != ErrorCode::kOutOfMemory) {
            slot.code = CodeModule::from_memory(target_.memory(), slot.module.range(),
                                                slot.module.path, &target_.limits());
        }
    }
    return slot.code;
}

}  // namespace pystack::modules
