#include "cpython/runtime/gil_state.h"

#include <linux/futex.h>

#include <algorithm>
#include <array>
#include <utility>

#include "waits/blocked_call.h"
#include "waits/pthreads.h"

namespace pystack::cpython {

namespace {

using memory::MemoryReader;

/// 3.6: variables of their own.
std::optional<Gil> read_symbols(const MemoryReader& memory, const GilSymbols& symbols) {
    Gil gil{.wait = symbols.wait, .forced = symbols.forced};
    if (symbols.locked && symbols.last_holder) {
        const auto locked = memory.read_value<std::int32_t>(*symbols.locked);
        const auto holder = memory.read_pointer(*symbols.last_holder);
        if (!locked || !holder) return std::nullopt;
        gil.locked = *locked > 0;
        gil.holder = *holder;
        // -1: no GIL was made yet, because there is one thread only.
        if (*locked >= 0 || !symbols.current_thread) return gil;
    }
    if (!symbols.current_thread) return std::nullopt;
    // The thread that runs Python code, or null. A stripped file exports nothing else.
    const auto current = memory.read_pointer(*symbols.current_thread);
    if (!current) return std::nullopt;
    gil.locked = static_cast<bool>(*current);
    gil.holder = *current;
    return gil;
}

bool is_futex_in(const arch::Syscall& call, RemoteRange range) {
    return (call.number == arch::kFutexSyscall || call.number == arch::kRestartSyscall) &&
           range.contains({call.argument0});
}

/// Whether the operation of the futex call wakes other threads (linux/futex.h).
bool is_wake(const arch::Syscall& call) {
    constexpr std::uint64_t kFlags = FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME;
    switch (call.argument1 & ~kFlags) {
        case FUTEX_WAKE:
        case FUTEX_WAKE_BITSET:
        case FUTEX_WAKE_OP:
        case FUTEX_REQUEUE:
        case FUTEX_CMP_REQUEUE:
            return true;
        default:
            return false;
    }
}

bool is_wait_in(const arch::Syscall& call, const std::vector<RemoteAddr>& futexes) {
    if (futexes.empty()) return false;
    const auto futex = waits::waited_futex(call);
    return futex && std::ranges::find(futexes, *futex) != futexes.end();
}

/// Of a condition variable of the GIL.
std::vector<RemoteAddr> read_futexes(const MemoryReader& memory, RemoteAddr condition,
                                     bool& are_known) {
    std::array<std::byte, waits::kConditionBytes> bytes;
    if (!memory.read(condition, bytes)) return {};
    auto futexes = waits::condition_futexes(memory, memory::RemoteStruct(condition, bytes));
    are_known = are_known && futexes;
    return futexes ? *std::move(futexes) : std::vector<RemoteAddr>{};
}

}  // namespace

bool Gil::is_at(RemoteAddr futex) const {
    return wait.contains(futex) || forced.contains(futex) ||
           std::ranges::find(wait_futexes, futex) != wait_futexes.end() ||
           std::ranges::find(forced_futexes, futex) != forced_futexes.end();
}

RemoteAddr gil_address(const MemoryReader& memory, const Runtime& runtime, RemoteAddr interpreter) {
    const Layout& layout = runtime.layout;
    switch (layout.gil_place) {
        case GilPlace::kSymbols:
            return {};
        case GilPlace::kRuntime:
            if (!runtime.address || !layout.runtime_state.ceval_gil) return {};
            return runtime.address + *layout.runtime_state.ceval_gil;
        case GilPlace::kInterpreter:
            break;
    }
    // Followed, never assumed to be the interpreter's own: subinterpreters may share the main
    // one's.
    if (!layout.interpreter_state.ceval_gil) return {};
    return memory.read_pointer(interpreter + *layout.interpreter_state.ceval_gil)
        .value_or(RemoteAddr{});
}

std::optional<Gil> parse_gil(const Layout& layout, const memory::RemoteStruct& bytes) {
    const auto& fields = layout.gil;
    if (!fields.locked || !fields.last_holder) return std::nullopt;
    const auto locked = bytes.get<std::int32_t>(*fields.locked);
    const auto holder = bytes.pointer(*fields.last_holder);
    if (!locked || !holder) return std::nullopt;
    // `locked` is -1 before the GIL is created [Python/ceval_gil.c].
    Gil gil{.locked = *locked > 0, .holder = *holder};
    if (fields.enabled) gil.enabled = bytes.get<std::int32_t>(*fields.enabled).value_or(1) != 0;
    if (fields.cond && fields.switch_cond) {
        gil.wait = {bytes.address() + *fields.cond, bytes.address() + *fields.switch_cond};
        if (fields.mutex) gil.condition = {gil.wait.begin, bytes.address() + *fields.mutex};
        gil.forced = {gil.wait.end, bytes.address() + fields.struct_size};
    }
    return gil;
}

std::optional<Gil> read_gil(const MemoryReader& memory, const Runtime& runtime,
                            RemoteAddr interpreter) {
    if (runtime.layout.gil_place == GilPlace::kSymbols)
        return read_symbols(memory, runtime.gil_symbols);
    const RemoteAddr address = gil_address(memory, runtime, interpreter);
    if (!address) return std::nullopt;
    std::array<std::byte, kGilBytes> bytes;
    const std::size_t size = memory.read_up_to(address, bytes);
    auto gil =
        parse_gil(runtime.layout,
                  memory::RemoteStruct(address, std::span<const std::byte>(bytes).first(size)));
    if (!gil || gil->wait.size() == 0) return gil;
    gil->wait_futexes = read_futexes(memory, gil->wait.begin, gil->are_futexes_known);
    gil->forced_futexes = read_futexes(memory, gil->forced.begin, gil->are_futexes_known);
    return gil;
}

model::GilState gil_state(const Gil& gil, RemoteAddr thread_state,
                          const std::optional<arch::Syscall>& call) {
    if (!gil.enabled) return model::GilState::kNone;
    if (gil.locked && gil.holder == thread_state) return model::GilState::kHolds;
    if (call && is_futex_in(*call, gil.condition) && is_wake(*call)) return model::GilState::kNone;
    if (call && is_futex_in(*call, gil.wait)) return model::GilState::kWaits;
    if (call && is_wait_in(*call, gil.wait_futexes)) return model::GilState::kWaits;
    if (call && is_futex_in(*call, gil.forced)) return model::GilState::kDropping;
    if (call && is_wait_in(*call, gil.forced_futexes)) return model::GilState::kDropping;
    return model::GilState::kNone;
}

}  // namespace pystack::cpython
