#include "cpython/runtime/nested_states.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <tuple>
#include <vector>

namespace pystack::cpython {

namespace {

/// Far above what a _PyThreadStateImpl has; stacks are further away from it.
constexpr std::uint64_t kMostStateBytes = 64 * 1024;
/// Far above what stacks have: what is further from a thread's structure is not on its stack.
constexpr std::uint64_t kMostStackBytes = std::uint64_t{1} << 30;
/// Where the outermost frames of a thread run: a thread has called few functions before them.
constexpr std::uint64_t kScannedBytes = 256 * 1024;
constexpr std::uint64_t kScannedPiece = 16 * 1024;

}  // namespace

std::optional<RemoteAddr> place_on_c_stack(const Layout& layout, RemoteAddr thread_state,
                                           std::span<const RawFrame> frames, RemoteAddr c_frame) {
    std::optional<RemoteAddr> place;
    if (layout.entry_mark == EntryMark::kIsEntry && c_frame && !frames.empty()) place = c_frame;
    if (layout.entry_mark != EntryMark::kOwner) return place;
    for (const RawFrame& frame : frames) {
        // From 3.15 the outermost shim is part of what follows the thread state.
        const bool in_state =
            frame.address >= thread_state && frame.address - thread_state < kMostStateBytes;
        if (frame.shim && !in_state) place = std::min(place.value_or(frame.address), frame.address);
    }
    return place;
}

std::optional<RemoteAddr> find_on_c_stacks(const memory::MemoryReader& memory,
                                           std::span<const RemoteAddr> stack_ends,
                                           RemoteAddr frame) {
    std::vector<std::uint64_t> words(kScannedPiece / sizeof(std::uint64_t));
    for (const RemoteAddr stack_end : stack_ends) {
        const std::uint64_t end = stack_end.value & ~std::uint64_t{7};
        for (std::uint64_t above = 0; above < kScannedBytes && end > above + kScannedPiece;
             above += kScannedPiece) {
            const RemoteAddr begin{end - above - kScannedPiece};
            const auto bytes = std::as_writable_bytes(std::span(words));
            if (memory.read_up_to(begin, bytes) < bytes.size()) break;
            for (std::size_t i = words.size(); i-- > 0;) {
                if (words[i] == frame.value) return begin + i * sizeof(std::uint64_t);
            }
        }
    }
    return std::nullopt;
}

std::vector<RemoteAddr> c_stack_ends(const target::Target& target,
                                     std::span<const ThreadState> states) {
    std::set<RemoteAddr> ends;
    for (const ThreadState& state : states) ends.insert({state.python_thread_id});
    // Of a core, the name of the mapping is not known.
    const auto registers = target.registers(target.pid());
    const RemoteAddr sp = registers ? registers->sp() : RemoteAddr{};
    const auto mappings = target.mappings();
    if (!mappings) return {ends.begin(), ends.end()};
    for (const elf::Mapping& mapping : *mappings) {
        const bool has_sp = sp >= mapping.range.begin && sp < mapping.range.end;
        if (has_sp || mapping.path.str() == "[stack]") ends.insert(mapping.range.end);
    }
    return {ends.begin(), ends.end()};
}

void CStacks::add(RemoteAddr pthread, std::size_t thread, bool is_main) {
    highest_ = std::max(highest_, pthread);
    if (is_main) {
        main_ = thread;
    } else {
        by_pthread_.emplace(pthread, thread);
    }
}

std::optional<std::size_t> CStacks::find(RemoteAddr address) const {
    if (address > highest_) return main_;
    const auto above = by_pthread_.upper_bound(address);
    if (above == by_pthread_.end() || above->first - address > kMostStackBytes) return std::nullopt;
    return above->second;
}

bool sort_innermost_first(std::span<NestedState> states) {
    constexpr RemoteAddr kOutermost{~std::uint64_t{0}};
    const auto running = std::ranges::count_if(states, &NestedState::runs_python);
    std::int64_t oldest = INT64_MAX;
    for (const NestedState& one : states) oldest = std::min(oldest, one.interpreter_id);
    const bool placed = std::ranges::all_of(states, [&](const NestedState& one) {
        return !one.runs_python || one.place || one.interpreter_id == oldest;
    });
    std::ranges::stable_sort(states, {}, [&](const NestedState& one) {
        const RemoteAddr place = placed ? one.place.value_or(kOutermost) : RemoteAddr{};
        return std::tuple(!one.runs_python, place, !one.holds_gil, -one.interpreter_id);
    });
    return placed || running < 2 || (running == 2 && states.front().holds_gil);
}

}  // namespace pystack::cpython
