#include "cpython/runtime/interpreter_pointers.h"

#include <algorithm>

namespace pystack::cpython {

void InterpreterPointers::use(std::span<const elf::Mapping> mappings) {
    data_.clear();
    for (const elf::Mapping& mapping : mappings) {
        if (mapping.readable && mapping.writable) data_.push_back(mapping.range);
    }
    std::sort(data_.begin(), data_.end());
}

bool InterpreterPointers::may_be_pointer(std::uint64_t word) const {
    return word % alignof(void*) == 0 && is_data_address({word});
}

std::vector<std::size_t> InterpreterPointers::among(const Layout& layout,
                                                    std::span<const std::uint64_t> words,
                                                    std::span<const std::size_t> indices) {
    std::vector<std::uint64_t> threads(indices.size());
    read_words(threads, [&](std::size_t i) {
        return RemoteAddr{words[indices[i]]} + *layout.interpreter_state.threads_head;
    });
    std::vector<std::size_t> likely;
    for (std::size_t i = 0; i < threads.size(); ++i) {
        if (is_data_address({threads[i]})) likely.push_back(i);
    }
    std::vector<std::uint64_t> owners(likely.size());
    read_words(owners, [&](std::size_t i) {
        return RemoteAddr{threads[likely[i]]} + *layout.thread_state.interp;
    });
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < likely.size(); ++i) {
        const std::size_t index = indices[likely[i]];
        if (owners[i] == words[index]) found.push_back(index);
    }
    return found;
}

template <class AddressOf>
void InterpreterPointers::read_words(std::span<std::uint64_t> destination, AddressOf address_of) {
    std::vector<memory::ReadRequest> requests(destination.size());
    for (std::size_t i = 0; i < destination.size(); ++i) {
        destination[i] = 0;
        requests[i] = {address_of(i), std::as_writable_bytes(destination.subspan(i, 1))};
    }
    candidates_.read_many(requests);
}

bool InterpreterPointers::is_data_address(RemoteAddr address) const {
    const auto after = std::upper_bound(
        data_.begin(), data_.end(), address,
        [](RemoteAddr wanted, const RemoteRange& range) { return wanted < range.begin; });
    return after != data_.begin() && std::prev(after)->contains(address);
}

}  // namespace pystack::cpython
