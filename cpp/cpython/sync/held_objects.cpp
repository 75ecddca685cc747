#include "cpython/sync/held_objects.h"

#include <algorithm>

#include "cpython/objects/instance_attributes.h"
#include "cpython/sync/bound_methods.h"
#include "cpython/sync/stack_ends.h"
#include "cpython/sync/wait_sites.h"

namespace pystack::cpython {

namespace {

/// Managers that one frame is inside of with blocks of, one inside of another; real ones are a few.
constexpr std::size_t kMostManagers = 64;

}  // namespace

std::vector<HeldObject> HeldObjects::find(std::span<const RawFrame> frames, NewCode new_code) {
    std::vector<HeldObject> found;
    for_each_end(frames, [&](std::size_t i) {
        const std::vector<Held> held = blocks_of(frames[i], new_code);
        for (const Held& one : held) {
            if (!one.lock || !may_have_released(frames.first(i + 1), *one.lock))
                found.push_back({one.object, i});
        }
    });
    return found;
}

std::vector<RemoteAddr> HeldObjects::find_suspended(const RawFrame& frame, NewCode new_code) {
    std::vector<RemoteAddr> found;
    for (const Held& one : blocks_of(frame, new_code)) found.push_back(one.object);
    return found;
}

/// Those of the frame itself, then those of generators that it is inside of, each once.
std::vector<HeldObjects::Held> HeldObjects::blocks_of(const RawFrame& frame, NewCode new_code) {
    std::vector<Held> held;
    std::vector<RemoteAddr> managers;
    add_blocks(frame, held, managers);
    for (std::size_t i = 0; i < managers.size() && i < kMostManagers; ++i) {
        const auto generator = suspended_frame(managers[i]);
        if (!generator) continue;
        generator_frames_.push_back(*generator);
        if (new_code == NewCode::kRead) {
            codes_.load(std::span(&*generator, 1));
            if (const Code* code = codes_.find(generator->code)) objects_.load(memory_, *code);
        }
        add_blocks(*generator, held, managers);
    }
    return held;
}

void HeldObjects::add_blocks(const RawFrame& frame, std::vector<Held>& held,
                             std::vector<RemoteAddr>& managers) {
    const Code* code = code_of(codes_, frame);
    if (code == nullptr || !objects_.has_with_blocks(*code)) return;
    for (const RemoteAddr object : objects_.with_objects(memory_, *code, frame)) {
        if (const auto lock = locks_.lock_of(object)) {
            if (lock->kind == LockKind::kLock) held.push_back({lock->object, lock});
            continue;
        }
        const RemoteAddr self = self_or_object(memory_, layout_, types_, object);
        const auto type = self ? types_.of(self) : fail(Error{});
        if (!type) continue;
        if ((*type)->kind == ValueKind::kSemaphore) held.push_back({self, std::nullopt});
        const bool is_manager = (*type)->kind == ValueKind::kGeneratorContext;
        if (is_manager && std::ranges::find(managers, self) == managers.end())
            managers.push_back(self);
    }
}

/// That of the generator, which the manager has until its with block ends [Lib/contextlib.py].
std::optional<RawFrame> HeldObjects::suspended_frame(RemoteAddr manager) {
    const auto generator = instance_attribute(memory_, layout_, manager, "gen");
    if (!generator || !*generator) return std::nullopt;
    const auto type = types_.of(**generator);
    if (!type ||
        ((*type)->kind != ValueKind::kGenerator && (*type)->kind != ValueKind::kAsyncGenerator)) {
        return std::nullopt;
    }
    const auto read = generators_.read(**generator);
    if (!read || read->state != CoroutineState::kSuspended) return std::nullopt;
    return read->frame;
}

bool HeldObjects::may_have_released(std::span<const RawFrame> frames, const FoundLock& lock) {
    return std::ranges::any_of(frames, [&](const RawFrame& frame) {
        const auto condition = condition_of_wait(memory_, frame, codes_, objects_, types_);
        if (!condition) return true;
        if (!*condition) return false;
        const auto used = locks_.lock_of(*condition);
        return !used || *used == lock;
    });
}

}  // namespace pystack::cpython
