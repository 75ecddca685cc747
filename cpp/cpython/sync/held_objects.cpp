#include "cpython/sync/held_objects.h"

#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/objects.h"
#include "cpython/objects/sequences.h"
#include "cpython/sync/bound_methods.h"
#include "cpython/sync/stack_ends.h"
#include "cpython/sync/wait_sites.h"

namespace pystack::cpython {

namespace {

/// Managers inside of managers; real ones are a few.
constexpr int kMostManagers = 8;
/// What one ExitStack exits.
constexpr std::size_t kMostExits = 64;

}  // namespace

std::vector<HeldObject> HeldObjects::find(std::span<const RawFrame> frames, NewCode new_code) {
    std::vector<HeldObject> found;
    std::vector<Held> held;
    for_each_end(frames, [&](std::size_t i) {
        held.clear();
        add_blocks(frames[i], new_code, 0, held);
        for (const Held& one : held) {
            if (!one.lock || !may_have_released(frames, i, *one.lock))
                found.push_back({one.object, i});
        }
    });
    return found;
}

std::vector<RemoteAddr> HeldObjects::find_suspended(const RawFrame& frame, NewCode new_code) {
    std::vector<Held> held;
    add_blocks(frame, new_code, 0, held);
    std::vector<RemoteAddr> found;
    for (const Held& one : held) found.push_back(one.object);
    return found;
}

void HeldObjects::add_blocks(const RawFrame& frame, NewCode new_code, int depth,
                             std::vector<Held>& held) {
    const Code* code = code_of(codes_, frame);
    if (code == nullptr || !objects_.has_with_blocks(*code)) return;
    for (const RemoteAddr object : objects_.with_objects(memory_, *code, frame))
        add_object(object, new_code, depth, held);
}

/// What the with block holds that exits the object.
void HeldObjects::add_object(RemoteAddr object, NewCode new_code, int depth,
                             std::vector<Held>& held) {
    if (const auto lock = locks_.lock_of(object)) {
        if (lock->kind == LockKind::kLock) held.push_back({lock->object, lock});
        return;
    }
    const RemoteAddr self = self_or_object(memory_, layout_, types_, object);
    const auto type = self ? types_.of(self) : fail(Error{});
    if (!type) return;
    if ((*type)->kind == ValueKind::kSemaphore) held.push_back({self, std::nullopt});
    if (depth == kMostManagers) return;
    if ((*type)->kind == ValueKind::kGeneratorContext)
        add_generator(self, new_code, depth + 1, held);
    if ((*type)->kind == ValueKind::kExitStack) add_exits(self, new_code, depth + 1, held);
}

void HeldObjects::add_generator(RemoteAddr manager, NewCode new_code, int depth,
                                std::vector<Held>& held) {
    const auto frame = suspended_frame(manager);
    if (!frame) return;
    generator_frames_.push_back(*frame);
    if (new_code == NewCode::kRead) {
        codes_.load(std::span(&*frame, 1));
        if (const Code* code = codes_.find(frame->code)) objects_.load(memory_, *code);
    }
    add_blocks(*frame, new_code, depth, held);
}

/// Pairs of a bool and a bound method (3.8+) [_BaseExitStack of Lib/contextlib.py].
void HeldObjects::add_exits(RemoteAddr stack, NewCode new_code, int depth,
                            std::vector<Held>& held) {
    const auto exits = instance_attribute(memory_, layout_, stack, "_exit_callbacks");
    if (!exits || !*exits) return;
    for (const RemoteAddr exit : deque_items(memory_, layout_, types_, **exits, kMostExits)) {
        const auto parts = read_tuple_items(memory_, layout_, exit, 2);
        if (parts && parts->size() == 2) add_object(parts->back(), new_code, depth, held);
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

/// Whether a call that the frame has made waits for a condition that uses the lock, so that it has
/// released it; or may do so, as far as can be read.
bool HeldObjects::may_have_released(std::span<const RawFrame> frames, std::size_t frame,
                                    const FoundLock& lock) {
    for (std::size_t i = 0; i <= frame; ++i) {
        const auto condition = condition_of_wait(memory_, frames[i], codes_, objects_, types_);
        if (!condition) return true;
        if (!*condition) continue;
        const auto used = locks_.lock_of(*condition);
        if (!used || *used == lock) return true;
    }
    return false;
}

}  // namespace pystack::cpython
