#include "modules/fde_index.h"

#include <elf.h>

#include <cstring>
#include <span>
#include <utility>

#include "modules/dwarf_constants.h"

namespace pystack::modules {

namespace {

constexpr std::uint8_t kRowEncoding = dwarf::kPointerDataRelative | dwarf::kPointerSData4;
constexpr std::uint64_t kRowSize = 8;

/// Of PT_GNU_EH_FRAME.
std::uint64_t header_address(std::span<const std::byte> file) {
    Elf64_Ehdr header;
    if (file.size() < sizeof header) return 0;
    std::memcpy(&header, file.data(), sizeof header);
    for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
        Elf64_Phdr program;
        const std::uint64_t offset = header.e_phoff + i * sizeof program;
        if (offset > file.size() || file.size() - offset < sizeof program) return 0;
        std::memcpy(&program, file.data() + offset, sizeof program);
        if (program.p_type == PT_GNU_EH_FRAME) return program.p_vaddr;
    }
    return 0;
}

}  // namespace

FdeIndex::FdeIndex(std::shared_ptr<const CodeModule> module) : module_(std::move(module)) {
    header_ = header_address(module_->bytes());
    if (header_ == 0) return;
    const auto bytes = module_->bytes_at(header_);
    ByteCursor cursor(bytes);
    const auto version = cursor.take<std::uint8_t>();
    const auto frame_encoding = cursor.take<std::uint8_t>();
    const auto count_encoding = cursor.take<std::uint8_t>();
    const auto row_encoding = cursor.take<std::uint8_t>();
    if (cursor.failed() || version != 1 || row_encoding != kRowEncoding) return;
    const auto frames = take_encoded(cursor, frame_encoding, header_, header_);
    const auto count = take_encoded(cursor, count_encoding, header_, header_);
    if (!frames || !count || cursor.left() / kRowSize < *count) return;
    section_ = FrameSection(module_->bytes_at(*frames), *frames, FrameSection::Kind::kEhFrame);
    if (!section_.empty()) rows_ = cursor.take_bytes(*count * kRowSize);
}

std::optional<FrameEntry> FdeIndex::entry(std::uint64_t file_address) const {
    const auto value = [&](std::uint64_t row, std::uint64_t column) {
        std::int32_t offset;
        std::memcpy(&offset, rows_.data() + row * kRowSize + column, sizeof offset);
        return header_ + static_cast<std::uint64_t>(std::int64_t{offset});
    };
    std::uint64_t low = 0;
    std::uint64_t high = rows_.size() / kRowSize;
    while (low < high) {
        const std::uint64_t middle = low + (high - low) / 2;
        if (value(middle, 0) <= file_address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) return std::nullopt;
    auto found = section_.entry(value(low - 1, sizeof(std::int32_t)) - section_.address());
    return found && found->contains(file_address) ? found : std::nullopt;
}

std::optional<FdeIndex::Range> FdeIndex::find(std::uint64_t file_address) const {
    const auto found = entry(file_address);
    return found ? std::optional(Range{found->begin, found->end}) : std::nullopt;
}

}  // namespace pystack::modules
