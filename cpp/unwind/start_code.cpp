#include "unwind/start_code.h"

#include <elf.h>

#include <algorithm>
#include <array>

#include "base/byte_reader.h"

namespace pystack::unwind {

namespace {

/// What it does before its call takes some 30 bytes in every C library.
constexpr std::uint64_t kMaxEntryCode = 64;

}  // namespace

bool ends_thread(std::span<const std::byte> code) {
    // syscall; hlt. The exit status is put into registers before.
    constexpr std::array kEnd = {std::byte{0x0f}, std::byte{0x05}, std::byte{0xf4}};
    constexpr std::size_t kLongest = 16;
    const auto near = code.first(std::min(code.size(), kLongest));
    return !std::ranges::search(near, kEnd).empty();
}

bool is_program_entry(const modules::CodeModule& module, RemoteAddr address) {
    const auto header = value_at<Elf64_Ehdr>(module.bytes(), 0);
    if (!header || header->e_entry == 0) return false;
    return module.file_address(address) - header->e_entry < kMaxEntryCode;
}

}  // namespace pystack::unwind
