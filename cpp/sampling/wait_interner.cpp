#include "sampling/wait_interner.h"

#include <optional>

namespace pystack::sampling {

namespace {

/// What a row takes here, in the batches on their way, and in the profile.
constexpr std::uint64_t kRowBytes = 160;

}  // namespace

model::WaitId WaitInterner::intern(FrameInterner& texts, model::WaitKind kind,
                                   std::string_view type, std::string_view name,
                                   std::uint32_t holder) {
    model::WaitRow row{.kind = kind};
    if (table_.rows().size() < kMostNamed) {
        const auto type_id = texts.string_id(type);
        const auto name_id = texts.string_id(name);
        if (type_id && name_id)
            row = {.kind = kind, .type = *type_id, .name = *name_id, .holder = holder};
    }
    if (const auto known = table_.find(row)) return *known;
    return limits_->charge_bytes(kRowBytes) ? table_.add(row) : 0;
}

}  // namespace pystack::sampling
