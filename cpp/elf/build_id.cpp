#include "elf/build_id.h"

#include <elf.h>

#include "base/text.h"

namespace pystack::elf {

namespace {

constexpr int kMaxNotes = 1 << 10;

}  // namespace

std::string find_build_id(ByteSpan notes, std::uint64_t alignment) {
    const std::uint64_t unit = alignment == 8 ? 8 : 4;
    std::uint64_t offset = 0;
    for (int i = 0; i < kMaxNotes; ++i) {
        const auto note = value_at<Elf64_Nhdr>(notes, offset);
        if (!note) return {};
        const std::uint64_t name = offset + sizeof(Elf64_Nhdr);
        const std::uint64_t description = padded(name + note->n_namesz, unit);
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == sizeof ELF_NOTE_GNU &&
            note->n_descsz <= kMaxBuildIdBytes && text_equals(notes, name, ELF_NOTE_GNU)) {
            return to_hex(part(notes, description, note->n_descsz));
        }
        offset = padded(description + note->n_descsz, unit);
    }
    return {};
}

}  // namespace pystack::elf
