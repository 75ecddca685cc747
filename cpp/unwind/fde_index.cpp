#include "unwind/fde_index.h"

#include <dwarf.h>
#include <elf.h>

#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "unwind/elf_sections.h"

namespace pystack::unwind {

namespace {

/// Reads values one after another; after the first that is not there, everything is nullopt.
class Cursor {
  public:
    Cursor(std::span<const std::byte> bytes, std::uint64_t address)
        : bytes_(bytes), address_(address) {}

    std::uint64_t address() const { return address_; }

    template <class T>
    std::optional<T> take() {
        if (bytes_.size() < sizeof(T)) return std::nullopt;
        T value;
        std::memcpy(&value, bytes_.data(), sizeof value);
        skip(sizeof value);
        return value;
    }

    std::optional<std::uint64_t> take_leb128() {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            const auto byte = take<std::uint8_t>();
            if (!byte) return std::nullopt;
            value |= std::uint64_t{*byte & 0x7fU} << shift;
            if (*byte < 0x80) return value;
        }
        return std::nullopt;
    }

    std::string_view take_text() {
        const std::string_view text = text_at(bytes_, 0);
        skip(std::min(text.size() + 1, bytes_.size()));
        return text;
    }

    /// LSB, section 10.5.1: the low half says the format, the high half what it is relative to.
    std::optional<std::uint64_t> take_encoded(std::uint8_t encoding, std::uint64_t data_base) {
        const std::uint64_t place = address_;
        std::optional<std::uint64_t> value;
        switch (encoding & 0x0f) {
            case DW_EH_PE_absptr:
            case DW_EH_PE_udata8:
            case DW_EH_PE_sdata8:
                value = take<std::uint64_t>();
                break;
            case DW_EH_PE_udata2:
                value = take<std::uint16_t>();
                break;
            case DW_EH_PE_udata4:
                value = take<std::uint32_t>();
                break;
            case DW_EH_PE_sdata2:
                value = widen(take<std::int16_t>());
                break;
            case DW_EH_PE_sdata4:
                value = widen(take<std::int32_t>());
                break;
            default:
                break;
        }
        if (!value) return std::nullopt;
        switch (encoding & 0x70) {
            case DW_EH_PE_absptr:
                return value;
            case DW_EH_PE_pcrel:
                return *value + place;
            case DW_EH_PE_datarel:
                return *value + data_base;
            default:
                return std::nullopt;
        }
    }

    void skip(std::size_t size) {
        bytes_ = bytes_.subspan(std::min(size, bytes_.size()));
        address_ += size;
    }

  private:
    template <class T>
    static std::optional<std::uint64_t> widen(std::optional<T> value) {
        if (!value) return std::nullopt;
        return static_cast<std::uint64_t>(std::int64_t{*value});
    }

    std::span<const std::byte> bytes_;
    std::uint64_t address_;
};

constexpr std::uint8_t kRowEncoding = DW_EH_PE_datarel | DW_EH_PE_sdata4;
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

/// How a CIE says that the addresses of its entries are encoded; absolute where it does not.
std::optional<std::uint8_t> address_encoding(Cursor cie) {
    cie.skip(sizeof(std::uint32_t));  // Length.
    cie.skip(sizeof(std::uint32_t));  // Zero: this is a CIE.
    const auto version = cie.take<std::uint8_t>();
    std::string_view augmentation = cie.take_text();
    if (!version || (*version != 1 && *version != 3)) return std::nullopt;
    if (!cie.take_leb128() || !cie.take_leb128())
        return std::nullopt;  // Alignments of code and data.
    if (*version == 1 ? !cie.take<std::uint8_t>() : !cie.take_leb128()) return std::nullopt;
    if (!augmentation.starts_with('z')) return DW_EH_PE_absptr;
    if (!cie.take_leb128()) return std::nullopt;
    for (const char letter : augmentation.substr(1)) {
        const auto encoding =
            letter == 'S' || letter == 'B' ? std::uint8_t{0} : cie.take<std::uint8_t>();
        if (!encoding) return std::nullopt;
        if (letter == 'R') return encoding;
        if (letter == 'P' && !cie.take_encoded(*encoding & 0x0f, 0)) return std::nullopt;
    }
    return DW_EH_PE_absptr;
}

}  // namespace

FdeIndex::FdeIndex(std::shared_ptr<const CodeModule> module) : module_(std::move(module)) {
    header_ = header_address(module_->bytes());
    if (header_ == 0) return;
    Cursor cursor(module_->bytes_at(header_), header_);
    const auto version = cursor.take<std::uint8_t>();
    const auto frame_encoding = cursor.take<std::uint8_t>();
    const auto count_encoding = cursor.take<std::uint8_t>();
    const auto row_encoding = cursor.take<std::uint8_t>();
    if (version != 1 || !row_encoding || *row_encoding != kRowEncoding) return;
    if (!cursor.take_encoded(*frame_encoding, header_)) return;
    const auto count = cursor.take_encoded(*count_encoding, header_);
    if (!count || module_->bytes_at(cursor.address()).size() / kRowSize < *count) return;
    table_ = cursor.address();
    count_ = *count;
}

std::optional<FdeIndex::Range> FdeIndex::find(std::uint64_t file_address) const {
    const auto rows = module_->bytes_at(table_);
    const auto value = [&](std::uint64_t row, std::uint64_t column) {
        std::int32_t offset;
        std::memcpy(&offset, rows.data() + row * kRowSize + column, sizeof offset);
        return header_ + static_cast<std::uint64_t>(std::int64_t{offset});
    };
    std::uint64_t low = 0;
    std::uint64_t high = count_;
    while (low < high) {
        const std::uint64_t middle = low + (high - low) / 2;
        if (value(middle, 0) <= file_address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) return std::nullopt;
    const auto range = read_entry(value(low - 1, sizeof(std::int32_t)));
    return range && range->contains(file_address) ? range : std::nullopt;
}

std::optional<FdeIndex::Range> FdeIndex::read_entry(std::uint64_t entry_address) const {
    Cursor entry(module_->bytes_at(entry_address), entry_address);
    constexpr std::uint32_t kLongLength = 0xffffffff;
    const auto length = entry.take<std::uint32_t>();
    if (!length || *length == kLongLength) return std::nullopt;  // Nobody makes tables of 4 GiB.
    const std::uint64_t place = entry.address();
    const auto distance = entry.take<std::uint32_t>();
    if (!distance || *distance == 0) return std::nullopt;
    const std::uint64_t cie = place - *distance;
    const auto encoding = address_encoding(Cursor(module_->bytes_at(cie), cie));
    if (!encoding) return std::nullopt;
    const auto begin = entry.take_encoded(*encoding, header_);
    const auto size = entry.take_encoded(*encoding & 0x0f, 0);
    if (!begin || !size) return std::nullopt;
    return Range{*begin, *begin + *size};
}

}  // namespace pystack::unwind
