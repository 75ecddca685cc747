#pragma once

#include <libelf.h>

#include <cstddef>
#include <span>

namespace pystack::unwind {

/// A libelf handle on bytes that the caller keeps alive. libelf fills caches on first questions, so
/// a handle belongs to one thread at a time. It does not write to the bytes.
class ElfHandle {
  public:
    explicit ElfHandle(std::span<const std::byte> bytes) {
        static const bool ready = elf_version(EV_CURRENT) != EV_NONE;
        if (ready && !bytes.empty()) {
            auto* image = reinterpret_cast<char*>(const_cast<std::byte*>(bytes.data()));
            elf_ = elf_memory(image, bytes.size());
        }
    }
    ~ElfHandle() {
        if (elf_ != nullptr) elf_end(elf_);
    }
    ElfHandle(const ElfHandle&) = delete;
    ElfHandle& operator=(const ElfHandle&) = delete;

    /// Null when the bytes are not an ELF file.
    Elf* get() const { return elf_; }

  private:
    Elf* elf_ = nullptr;
};

}  // namespace pystack::unwind
