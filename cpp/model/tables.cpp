#include "model/tables.h"

namespace pystack::model {

namespace {

constexpr std::size_t kFirstSlots = 64;

/// Spreads dense numbers and aligned addresses over all bits (the finalizer of MurmurHash3).
std::uint64_t mix(std::uint64_t key) {
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdu;
    key ^= key >> 33;
    return key;
}

}  // namespace

StringId StringTable::intern(std::string_view text) {
    if (const auto known = ids_.find(text); known != ids_.end()) return known->second;
    const auto id = static_cast<StringId>(rows_.size());
    rows_.emplace_back(text);
    ids_.emplace(rows_.back(), id);
    return id;
}

std::optional<StringId> StringTable::find(std::string_view text) const {
    const auto known = ids_.find(text);
    return known != ids_.end() ? std::optional(known->second) : std::nullopt;
}

std::size_t IdMap::place_of(std::uint64_t key) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t place = mix(key) & mask;
    while (slots_[place].used && slots_[place].key != key) place = (place + 1) & mask;
    return place;
}

std::uint32_t* IdMap::find(std::uint64_t key) {
    if (slots_.empty()) return nullptr;
    Slot& slot = slots_[place_of(key)];
    return slot.used ? &slot.value : nullptr;
}

std::uint32_t& IdMap::find_or_insert(std::uint64_t key, std::uint32_t fresh) {
    if (slots_.size() < 2 * (size_ + 1)) grow();
    Slot& slot = slots_[place_of(key)];
    if (!slot.used) {
        slot = {.key = key, .value = fresh, .used = true};
        ++size_;
    }
    return slot.value;
}

void IdMap::grow() {
    std::vector<Slot> old(slots_.empty() ? kFirstSlots : 2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old) {
        if (slot.used) slots_[place_of(slot.key)] = slot;
    }
}

std::optional<StackId> StackTable::find(StackId parent, FrameId frame) {
    const std::uint32_t* known = ids_.find((std::uint64_t{parent} << 32) | frame);
    return known != nullptr ? std::optional(*known) : std::nullopt;
}

StackId StackTable::push(StackId parent, FrameId frame) {
    const auto fresh = static_cast<StackId>(rows_.size());
    const StackId id = ids_.find_or_insert((std::uint64_t{parent} << 32) | frame, fresh);
    if (id == fresh) rows_.push_back({parent, frame});
    return id;
}

std::size_t WaitTable::Hash::operator()(const WaitRow& row) const noexcept {
    constexpr std::uint64_t kMix = 0x9e3779b97f4a7c15U;
    std::uint64_t hash = (std::uint64_t{row.type} << 32) | row.name;
    hash = hash * kMix + row.holder;
    return (hash * kMix + static_cast<std::uint64_t>(row.kind)) * kMix >> 16;
}

std::optional<WaitId> WaitTable::find(const WaitRow& row) const {
    const auto known = ids_.find(row);
    return known == ids_.end() ? std::nullopt : std::optional(known->second);
}

WaitId WaitTable::add(const WaitRow& row) {
    const auto id = static_cast<WaitId>(rows_.size());
    rows_.push_back(row);
    ids_.emplace(row, id);
    return id;
}

}  // namespace pystack::model
