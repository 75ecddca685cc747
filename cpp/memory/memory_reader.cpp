#include "memory/memory_reader.h"

#include <algorithm>
#include <array>

namespace pystack::memory {

void MemoryReader::read_many(std::span<ReadRequest> requests) const {
    for (ReadRequest& request : requests) {
        request.done = read_up_to(request.address, request.destination);
    }
}

Result<void> MemoryReader::read(RemoteAddr address, std::span<std::byte> destination) const {
    const std::size_t done = read_up_to(address, destination);
    if (done != destination.size()) {
        return fail(read_fault(address + done, destination.size() - done));
    }
    return {};
}

Result<std::vector<std::byte>> MemoryReader::read_bytes(RemoteAddr address,
                                                        std::size_t size) const {
    std::vector<std::byte> bytes(size);
    PYSTACK_CHECK(read(address, bytes));
    return bytes;
}

Result<std::string> MemoryReader::read_c_string(RemoteAddr address, std::size_t max_size) const {
    std::string text;
    std::array<std::byte, 256> block;
    while (text.size() < max_size) {
        const std::size_t wanted = std::min(block.size(), max_size - text.size());
        const std::size_t done = read_up_to(address + text.size(), std::span(block).first(wanted));
        if (done == 0) return fail(read_fault(address + text.size(), 1));
        const auto end = std::find(block.begin(), block.begin() + done, std::byte{0});
        text.append(reinterpret_cast<const char*>(block.data()), end - block.begin());
        if (end != block.begin() + done) return text;
    }
    return fail(corrupt("C string", address));
}

}  // namespace pystack::memory
