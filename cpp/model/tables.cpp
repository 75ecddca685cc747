#include "model/tables.h"

namespace pystack::model {

StringId StringTable::intern(std::string_view text) {
    if (const auto known = ids_.find(text); known != ids_.end()) return known->second;
    const auto id = static_cast<StringId>(rows_.size());
    rows_.emplace_back(text);
    ids_.emplace(rows_.back(), id);
    return id;
}

StackId StackTable::push(StackId parent, FrameId frame) {
    const auto [place, added] =
        ids_.try_emplace({parent, frame}, static_cast<StackId>(rows_.size()));
    if (added) rows_.push_back({parent, frame});
    return place->second;
}

}  // namespace pystack::model
