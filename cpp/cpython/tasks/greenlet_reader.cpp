#include "cpython/tasks/greenlet_reader.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "base/cycle_detector.h"
#include "cpython/tasks/greenlet_search.h"
#include "cpython/tasks/task_budget.h"

namespace pystack::cpython {

namespace {

/// The words of a greenlet's C++ object that are looked at. Between its head and its frame lie the
/// state of exceptions and the arguments of the last switch, which differ by version, and then
/// [src/greenlet/TGreenlet.hpp]
///
///     stack_start, stack_stop, stack_copy, stack_saved, stack_prev   StackState
///     context (3.7+), top_frame                                      PythonState
///
/// where `top_frame` is a frame object only of a suspended greenlet.
constexpr std::size_t kWords = 24;
constexpr std::size_t kFirstFrameWord = 8;
/// From `top_frame` back to `stack_start`, with and without a context.
constexpr std::array<std::size_t, 2> kStackStartDistances = {6, 5};
/// The `stack_stop` of the greenlet that a thread begins with.
constexpr std::uint64_t kMainStop = UINT64_MAX;
constexpr std::uint64_t kLeastAddress = 4096;

constexpr std::uint64_t kStepsPerFrame = 25;

}  // namespace

GreenletReader::GreenletReader(const memory::MemoryReader& memory, const Layout& layout,
                               WorkLimits& limits)
    : memory_(memory),
      layout_(layout),
      limits_(limits),
      format_(layout),
      types_(memory, layout),
      header_(format_.header().size()) {}

RawTasks GreenletReader::read(std::span<const RemoteAddr> objects) {
    RawTasks result;
    TaskBudget budget(limits_);
    for (const RemoteAddr object : objects) {
        if (limits_.cancelled()) break;
        if (auto task = read_one(object)) budget.take(*std::move(task), result);
    }
    budget.report("greenlets", result);
    return result;
}

std::optional<RawTask> GreenletReader::read_one(RemoteAddr object) {
    if (!limits_.charge_steps(kStepsPerFrame)) return std::nullopt;
    const RemoteAddr greenlet = greenlet_of(memory_, layout_, object);
    if (!greenlet) return std::nullopt;
    const auto suspended = find_frame(object);
    if (!suspended) return std::nullopt;
    RawTask task{.address = greenlet, .library = model::TaskLibrary::kGreenlet};
    if (suspended->is_main) {
        task.name = "main greenlet";
    } else if (const auto type = types_.of(greenlet)) {
        task.name = types_.full_name(**type);
    }
    task.c_stack = suspended->c_stack;
    task.chain = read_frames(suspended->frame_object);
    return task;
}

bool GreenletReader::is_frame(RemoteAddr object) {
    if (object.value < kLeastAddress || object.value % alignof(void*) != 0) return false;
    const auto type = types_.of(object);
    return type && (*type)->tp_name == "frame" && !(*type)->heap;
}

std::optional<GreenletReader::Suspended> GreenletReader::find_frame(RemoteAddr object) {
    std::array<std::uint64_t, kWords> words{};
    const std::size_t size =
        memory_.read_up_to(object, std::as_writable_bytes(std::span(words))) / sizeof(words[0]);
    for (std::size_t i = kFirstFrameWord; i < size; ++i) {
        if (!is_frame({words[i]})) continue;
        for (const std::size_t distance : kStackStartDistances) {
            const std::uint64_t start = words[i - distance];
            const std::uint64_t stop = words[i - distance + 1];
            if (start >= kLeastAddress && start < stop)
                return Suspended{{words[i]}, {start}, stop == kMainStop};
        }
    }
    return std::nullopt;
}

/// From 3.12 on, greenlet links the frames of a suspended greenlet around the shims, which are on
/// its C stack and are not there now [TGreenlet.cpp: expose_frames]. So they end with a null.
AwaitChain GreenletReader::read_frames(RemoteAddr frame_object) {
    using End = AwaitChain::End;
    AwaitChain chain;
    RemoteAddr next = frame_object;
    if (!format_.frames_are_objects()) {
        const auto frame = memory_.read_pointer(frame_object + *layout_.frame_object.frame);
        next = frame ? *frame : RemoteAddr{};
        if (!next) chain.end = End::kUnreadable;
    }
    CycleDetector cycle;
    while (next) {
        if (chain.frames.size() >= AwaitChains::kMostFrames ||
            !limits_.charge_steps(kStepsPerFrame)) {
            chain.end = End::kTooLong;
            break;
        }
        if (cycle.seen(next)) {
            chain.end = End::kRing;
            break;
        }
        RawFrame frame;
        RemoteAddr previous;
        if (!memory_.read(format_.header_at(next).begin, header_) ||
            format_.parse(next, header_.data(), frame, previous) != nullptr) {
            chain.end = End::kUnreadable;
            break;
        }
        if (!frame.shim)
            chain.frames.push_back({.frame = frame, .first_variable = {}, .values = {}});
        next = previous;
    }
    std::ranges::reverse(chain.frames);
    return chain;
}

}  // namespace pystack::cpython
