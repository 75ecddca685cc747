#include "cpython/runtime/interpreter_walker.h"

#include <algorithm>
#include <array>
#include <unordered_set>

namespace pystack::cpython {

namespace {

using memory::MemoryReader;
using memory::RemoteStruct;

// Caps against cyclic or hostile lists, far above what a real process has.
constexpr std::size_t kMostStates = 1'000'000;
constexpr std::size_t kMostStatesOfNone = 1000;
constexpr std::size_t kMostStatesPerThread = 64;
constexpr std::size_t kThreadBytes =
    512;  // Covers every field used here; checked_offsets in layout_check.

std::optional<bool> read_flag(const MemoryReader& memory, RemoteAddr address) {
    const auto value = memory.read_value<std::int32_t>(address);
    return value ? std::optional(*value != 0) : std::nullopt;
}

std::optional<bool> read_collecting(const MemoryReader& memory, const Runtime& runtime,
                                    RemoteAddr interpreter) {
    const auto flag = gc_flag_address(runtime, interpreter);
    return flag ? read_flag(memory, *flag) : std::nullopt;
}

std::optional<bool> read_finalizing(const MemoryReader& memory, const Runtime& runtime,
                                    RemoteAddr interpreter) {
    const Layout& layout = runtime.layout;
    std::optional<bool> finalizing;
    const auto look = [&](RemoteAddr address) {
        // A pointer to the thread state that finalizes.
        if (const auto value = memory.read_pointer(address)) {
            finalizing = finalizing.value_or(false) || static_cast<bool>(*value);
        }
    };
    if (runtime.address && layout.runtime_state.finalizing) {
        look(runtime.address + *layout.runtime_state.finalizing);
    }
    if (layout.interpreter_state.finalizing)
        look(interpreter + *layout.interpreter_state.finalizing);
    return finalizing;
}

std::int64_t read_id(const MemoryReader& memory, const Layout& layout, RemoteAddr interpreter) {
    if (!layout.interpreter_state.id) return 0;
    return memory.read_value<std::int64_t>(interpreter + *layout.interpreter_state.id).value_or(0);
}

Error too_many(const char* what, std::size_t most) {
    return Error{.code = ErrorCode::kOutOfMemory,
                 .what = what,
                 .detail = std::string("the process has more than ") + std::to_string(most) + " " +
                           what + ", which is too many for its OS threads; the rest was left out"};
}

std::optional<Error> walk_threads(const MemoryReader& memory, const Layout& layout,
                                  const InterpreterState& interpreter, std::size_t index,
                                  std::size_t most, std::unordered_set<std::uint64_t>& seen,
                                  std::vector<ThreadState>& threads) {
    const auto& fields = layout.thread_state;
    auto next = memory.read_pointer(interpreter.address + *layout.interpreter_state.threads_head);
    if (!next) return next.error();
    const std::size_t first = threads.size();
    std::array<std::byte, kThreadBytes> bytes;
    const std::size_t size = std::min<std::size_t>(kThreadBytes, fields.struct_size);
    while (*next) {
        if (threads.size() >= most) return too_many("thread states", most);
        if (!seen.insert(next->value).second) return corrupt("list of threads", *next);
        if (auto read = memory.read(*next, std::span(bytes).first(size)); !read)
            return read.error();
        const RemoteStruct state(*next, std::span<const std::byte>(bytes).first(size));
        const auto listed = parse_thread_state(layout, state, 0, interpreter.address);
        if (!listed) return corrupt("thread state", *next);
        threads.push_back(listed->thread);
        threads.back().interpreter = index;
        next = listed->next;
    }
    // The interpreter inserts at the head: the oldest thread is the last of the list.
    std::reverse(threads.begin() + static_cast<std::ptrdiff_t>(first), threads.end());
    return std::nullopt;
}

}  // namespace

std::optional<RemoteAddr> gc_flag_address(const Runtime& runtime, RemoteAddr interpreter) {
    const Layout& layout = runtime.layout;
    if (!layout.gc.collecting) return std::nullopt;
    switch (layout.gc_place) {
        case GcPlace::kNone:
            return std::nullopt;
        case GcPlace::kRuntime:
            if (!runtime.address || !layout.runtime_state.gc) return std::nullopt;
            return runtime.address + *layout.runtime_state.gc + *layout.gc.collecting;
        case GcPlace::kInterpreter:
            break;
    }
    if (!layout.interpreter_state.gc) return std::nullopt;
    return interpreter + *layout.interpreter_state.gc + *layout.gc.collecting;
}

std::optional<ListedThread> parse_thread_state(const Layout& layout, const RemoteStruct& bytes,
                                               std::uint64_t first, RemoteAddr interpreter) {
    const auto& fields = layout.thread_state;
    const auto word = [&](FieldOffset field) {
        return field ? bytes.get<std::uint64_t>(*field - first).value_or(0) : 0;
    };
    if (word(fields.interp) != interpreter.value) return std::nullopt;
    ListedThread listed;
    listed.next = {word(fields.next)};
    listed.thread.address = bytes.address();
    listed.thread.python_thread_id = word(fields.thread_id);
    if (fields.native_thread_id) listed.thread.native_thread_id = word(fields.native_thread_id);
    listed.thread.unique_id = word(fields.id);
    return listed;
}

std::size_t most_thread_states(std::size_t os_threads) {
    if (os_threads == 0 || os_threads > kMostStates) return kMostStates;
    return std::min(kMostStates, kMostStatesOfNone + kMostStatesPerThread * os_threads);
}

WalkedInterpreters walk_interpreters(const MemoryReader& memory, const Runtime& runtime,
                                     std::size_t most) {
    const Layout& layout = runtime.layout;
    WalkedInterpreters walked;
    std::unordered_set<std::uint64_t> seen;
    auto next = memory.read_pointer(runtime.interpreters_head);
    while (next && *next) {
        if (walked.interpreters.size() >= most) {
            walked.problem = too_many("interpreters", most);
            break;
        }
        if (!seen.insert(next->value).second) {
            walked.problem = corrupt("list of interpreters", *next);
            break;
        }
        InterpreterState interpreter{.address = *next,
                                     .id = read_id(memory, layout, *next),
                                     .gc_collecting = read_collecting(memory, runtime, *next),
                                     .finalizing = read_finalizing(memory, runtime, *next)};
        auto problem = walk_threads(memory, layout, interpreter, walked.interpreters.size(), most,
                                    seen, walked.threads);
        if (problem && !walked.problem) walked.problem = std::move(problem);
        walked.interpreters.push_back(interpreter);
        next = memory.read_pointer(*next + *layout.interpreter_state.next);
    }
    if (!next && !walked.problem) walked.problem = next.error();
    if (!layout.interpreter_state.id) {
        // 3.6 has no ids: they are counted as later versions do. The list is newest first.
        for (std::size_t i = 0; i < walked.interpreters.size(); ++i) {
            walked.interpreters[i].id =
                static_cast<std::int64_t>(walked.interpreters.size() - 1 - i);
        }
    }
    return walked;
}

WalkedInterpreters walk_running_interpreters(const MemoryReader& memory, const Runtime& runtime,
                                             int attempts, std::size_t most) {
    WalkedInterpreters walked = walk_interpreters(memory, runtime, most);
    for (int attempt = 1; attempt < attempts; ++attempt) {
        WalkedInterpreters again = walk_interpreters(memory, runtime, most);
        const bool agree = !walked.problem && !again.problem && walked.threads == again.threads;
        walked = std::move(again);
        if (agree) break;
    }
    return walked;
}

}  // namespace pystack::cpython
