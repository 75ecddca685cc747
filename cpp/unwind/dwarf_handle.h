#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "unwind/elf_handle.h"

struct Dwarf;

namespace pystack::unwind {

/// A libdw handle on an ELF file in memory, which the caller keeps alive. Belongs to one thread at
/// a time.
class DwarfHandle {
  public:
    explicit DwarfHandle(std::span<const std::byte> file);
    ~DwarfHandle();
    DwarfHandle(const DwarfHandle&) = delete;
    DwarfHandle& operator=(const DwarfHandle&) = delete;

    /// Null when the file has no DWARF.
    Dwarf* get() const { return dwarf_; }

  private:
    /// libelf notes in the section headers that it has unpacked a section, so a file with packed
    /// ones is copied.
    std::vector<std::byte> copy_;
    ElfHandle elf_;
    Dwarf* dwarf_ = nullptr;
};

}  // namespace pystack::unwind
