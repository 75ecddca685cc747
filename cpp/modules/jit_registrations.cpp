#include "modules/jit_registrations.h"

#include <algorithm>
#include <optional>

#include "base/cycle_detector.h"

namespace pystack::modules {

namespace {

constexpr std::size_t kMaxDescriptors = 64;
/// Of all lists. Numba has one for each function that it compiles.
constexpr std::size_t kMaxFiles = 1 << 16;

/// struct jit_code_entry.
struct Entry {
    std::uint64_t next = 0;
    std::uint64_t previous = 0;
    std::uint64_t file = 0;
    std::uint64_t file_size = 0;
};

}  // namespace

void JitRegistrations::add_module(const elf::Module& module) {
    if (module.image == nullptr || descriptors_.size() >= kMaxDescriptors) return;
    const auto symbol = module.image->symbol("__jit_debug_descriptor");
    if (!symbol) return;
    const RemoteAddr address{symbol->address + module.bias};
    const bool is_known =
        std::ranges::find(descriptors_, address, &Known::address) != descriptors_.end();
    if (!is_known) descriptors_.push_back({address, {}});
}

std::vector<RemoteRange> JitRegistrations::read(const memory::MemoryReader& memory,
                                                WorkLimits& limits) {
    std::vector<RemoteRange> files;
    for (Known& descriptor : descriptors_) {
        const auto now = memory.read_value<Descriptor>(descriptor.address);
        descriptor.last = now ? *now : Descriptor{};
        RemoteAddr next{descriptor.last.first_entry};
        CycleDetector cycles;
        while (next && files.size() < kMaxFiles && limits.charge_steps()) {
            const auto entry = memory.read_value<Entry>(next);
            if (!entry || cycles.seen(next)) break;
            files.push_back({{entry->file}, {entry->file + entry->file_size}});
            next = RemoteAddr{entry->next};
        }
    }
    return files;
}

bool JitRegistrations::is_changed(const memory::MemoryReader& memory) const {
    return std::ranges::any_of(descriptors_, [&](const Known& descriptor) {
        const auto now = memory.read_value<Descriptor>(descriptor.address);
        return now && *now != descriptor.last;
    });
}

}  // namespace pystack::modules
