#pragma once

#include <elf.h>
#include <sys/auxv.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "driver.h"

namespace pystack::fuzz {

/// The library of seed_library.cpp.
inline Bytes seed_library() {
    std::ifstream stream(PYSTACK_FUZZ_LIBRARY, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    const auto bytes = bytes_of(text);
    return {bytes.begin(), bytes.end()};
}

/// The kernel's library in each process: stripped, hand-written in part, and smaller than others.
inline Bytes vdso() {
    const auto* begin = reinterpret_cast<const std::byte*>(::getauxval(AT_SYSINFO_EHDR));
    if (begin == nullptr) return {};
    Elf64_Ehdr header;
    std::memcpy(&header, begin, sizeof header);
    const std::size_t size = header.e_shoff + header.e_shnum * sizeof(Elf64_Shdr);
    return {begin, begin + size};
}

/// The same file, as if its section headers had been cut off.
inline Bytes without_sections(Bytes file) {
    Elf64_Ehdr header;
    if (file.size() < sizeof header) return file;
    std::memcpy(&header, file.data(), sizeof header);
    header.e_shoff = 0;
    header.e_shnum = 0;
    header.e_shstrndx = 0;
    std::memcpy(file.data(), &header, sizeof header);
    return file;
}

}  // namespace pystack::fuzz
