#include "cpython/runtime/gil_symbols.h"

#include <algorithm>
#include <string_view>

namespace pystack::cpython {

GilSymbols find_gil_symbols(const elf::Module& module) {
    GilSymbols symbols;
    if (!module.image) return symbols;
    const auto locate = [&](std::string_view name) -> std::optional<elf::Symbol> {
        auto symbol = module.image->symbol(name);
        if (symbol) symbol->address += module.bias;
        return symbol;
    };
    const auto address = [&](std::string_view name) -> std::optional<RemoteAddr> {
        const auto symbol = locate(name);
        return symbol ? std::optional(RemoteAddr{symbol->address}) : std::nullopt;
    };
    const auto range = [&](std::string_view first, std::string_view second) -> RemoteRange {
        const auto a = locate(first);
        const auto b = locate(second);
        if (!a || !b) return {};
        // Two variables of one object file: neighbours, in either order.
        return {{std::min(a->address, b->address)},
                {std::max(a->address + a->size, b->address + b->size)}};
    };
    symbols.current_thread = address("_PyThreadState_Current");
    symbols.last_holder = address("gil_last_holder");
    symbols.locked = address("gil_locked");
    symbols.wait = range("gil_cond", "gil_mutex");
    symbols.forced = range("switch_cond", "switch_mutex");
    return symbols;
}

}  // namespace pystack::cpython
