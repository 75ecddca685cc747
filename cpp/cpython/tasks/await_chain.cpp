#include "cpython/tasks/await_chain.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/cycle_detector.h"
#include "cpython/objects/objects.h"

namespace pystack::cpython {

namespace {

/// Objects between an `await` and what it awaits, which they keep behind their heads
/// [Objects/genobject.c, Objects/iterobject.c, Modules/_asynciomodule.c].
constexpr std::array<std::string_view, 5> kWrappers = {"coroutine_wrapper", "async_generator_asend",
                                                       "async_generator_athrow", "anext_awaitable",
                                                       "_asyncio.FutureIter"};

constexpr std::uint64_t kStepsPerLink = 25;

}  // namespace

AwaitChains::AwaitChains(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types,
                         WorkLimits& limits)
    : memory_(memory),
      layout_(layout),
      types_(types),
      limits_(limits),
      coroutines_(memory, layout) {}

AwaitChains::Link AwaitChains::link_of(RemoteAddr object) {
    const auto type = read_type(memory_, layout_, object);
    if (!type || !*type) return Link::kOther;
    if (const auto known = links_.find(*type); known != links_.end()) return known->second;
    Link link = Link::kOther;
    if (const auto info = types_.find(*type)) {
        const ValueKind kind = (*info)->exact ? (*info)->kind : ValueKind::kOther;
        if (kind == ValueKind::kCoroutine || kind == ValueKind::kGenerator ||
            kind == ValueKind::kAsyncGenerator) {
            link = Link::kCoroutine;
        } else if (std::ranges::find(kWrappers, (*info)->tp_name) != kWrappers.end()) {
            link = Link::kWrapper;
        }
    }
    links_.emplace(*type, link);
    return link;
}

AwaitChain AwaitChains::follow(RemoteAddr coroutine) {
    using End = AwaitChain::End;
    AwaitChain chain;
    CycleDetector cycle;
    RemoteAddr next = coroutine;
    // Wrappers of wrappers count as well.
    for (std::size_t links = 0;; ++links) {
        chain.awaited = next;
        if (chain.frames.size() >= kMostFrames || links >= 2 * kMostFrames ||
            !limits_.charge_steps(kStepsPerLink)) {
            chain.end = End::kTooLong;
            return chain;
        }
        if (cycle.seen(next)) {
            chain.end = End::kRing;
            return chain;
        }
        const Link link = link_of(next);
        if (link == Link::kOther) {
            chain.end = End::kAwaited;
            return chain;
        }
        if (link == Link::kWrapper) {
            const auto inner = memory_.read_pointer(next + layout_.pyobject.struct_size);
            if (!inner || !*inner) {
                chain.end = End::kUnreadable;
                return chain;
            }
            next = *inner;
            continue;
        }
        const auto found = coroutines_.read(next);
        if (!found) {
            chain.end = End::kUnreadable;
            return chain;
        }
        if (chain.frames.empty()) chain.state = found->state;
        if (found->state == CoroutineState::kFinished) {
            chain.end = End::kRunning;
            return chain;
        }
        chain.frames.push_back({found->frame, found->first_variable, found->values});
        if (found->state != CoroutineState::kSuspended) {
            chain.end = End::kRunning;
            return chain;
        }
        if (!found->awaited) {
            chain.end = End::kYields;
            return chain;
        }
        next = found->awaited;
    }
}

}  // namespace pystack::cpython
