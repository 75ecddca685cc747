#include "modules/debug_sections.h"

#include <elf.h>
#include <zlib.h>
#if defined(PYSTACK_HAS_ZSTD)
#include <zstd.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <limits>
#include <new>
#include <utility>

#include "elf/mapped_file.h"
#include "modules/byte_cursor.h"

namespace pystack::modules {

namespace {

/// Debug information is compressed to a third, tables of ranges to a twentieth.
constexpr std::uint64_t kMaxRatio = 64;
/// For which no proportion is asked.
constexpr std::uint64_t kSmall = std::uint64_t{1} << 20;
/// ELFCOMPRESS_ZSTD, which older <elf.h> lack.
constexpr std::uint32_t kCompressedByZstd = 2;

constexpr std::string_view kPrefix = ".debug_";
constexpr std::string_view kOldPrefix = ".zdebug_";

bool unpack_zlib(std::span<const std::byte> packed, std::span<std::byte> unpacked) {
    if (packed.size() > std::numeric_limits<uInt>::max() ||
        unpacked.size() > std::numeric_limits<uInt>::max()) {
        return false;
    }
    z_stream stream{};
    if (::inflateInit(&stream) != Z_OK) return false;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
    stream.avail_in = static_cast<uInt>(packed.size());
    stream.next_out = reinterpret_cast<Bytef*>(unpacked.data());
    stream.avail_out = static_cast<uInt>(unpacked.size());
    const int status = ::inflate(&stream, Z_FINISH);
    ::inflateEnd(&stream);
    return status == Z_STREAM_END && stream.avail_out == 0;
}

#if defined(PYSTACK_HAS_ZSTD)
constexpr bool kHasZstd = true;
#else
constexpr bool kHasZstd = false;
#endif

bool unpack_zstd([[maybe_unused]] std::span<const std::byte> packed,
                 [[maybe_unused]] std::span<std::byte> unpacked) {
#if defined(PYSTACK_HAS_ZSTD)
    return ZSTD_decompress(unpacked.data(), unpacked.size(), packed.data(), packed.size()) ==
           unpacked.size();
#else
    return false;
#endif
}

std::string size_text(std::uint64_t bytes) {
    std::array<char, 32> text;
    std::snprintf(text.data(), text.size(), "%.1f MiB",
                  static_cast<double>(bytes) / (1024.0 * 1024.0));
    return text.data();
}

}  // namespace

const ElfSection* find_debug_section(const ElfSections& sections, std::string_view name) {
    const ElfSection* const section = sections.find(name);
    if (section != nullptr || !name.starts_with(kPrefix)) return section;
    return sections.find(std::string(kOldPrefix).append(name.substr(kPrefix.size())));
}

std::span<const std::byte> DebugSections::bytes(std::string_view name) {
    if (const auto known = unpacked_.find(name); known != unpacked_.end())
        return {known->second.bytes.get(), known->second.size};
    const ElfSection* const section = find_debug_section(sections_, name);
    if (section == nullptr) return {};
    const auto packed = this->packed(*section);
    if (!packed) return section->bytes;
    const auto& kept = unpacked_.emplace(name, unpack(name, *packed)).first->second;
    return {kept.bytes.get(), kept.size};
}

std::optional<DebugSections::Packed> DebugSections::packed(const ElfSection& section) {
    ByteCursor cursor(section.bytes);
    if ((section.flags & SHF_COMPRESSED) != 0) {
        const auto header = cursor.take<Elf64_Chdr>();
        Packed packed;
        packed.size = header.ch_size;
        packed.bytes = cursor.take_bytes(cursor.left());
        if (header.ch_type == ELFCOMPRESS_ZLIB) packed.format = Packed::Format::kZlib;
        if (header.ch_type == kCompressedByZstd) packed.format = Packed::Format::kZstd;
        return packed;
    }
    if (!section.name.starts_with(kOldPrefix)) return std::nullopt;
    // "ZLIB", the size in big-endian order, and a zlib stream.
    constexpr std::uint32_t kMagic = 0x42494c5a;
    if (cursor.take<std::uint32_t>() != kMagic) return std::nullopt;
    Packed packed{.format = Packed::Format::kZlib};
    packed.size = std::byteswap(cursor.take<std::uint64_t>());
    packed.bytes = cursor.take_bytes(cursor.left());
    return packed;
}

DebugSections::Unpacked DebugSections::unpack(std::string_view name, const Packed& packed) {
    const auto give_up = [&](const std::string& why) {
        if (problem_.empty()) problem_ = std::string(name) + " " + why;
        return Unpacked();
    };
    if (packed.size > kSmall && packed.size / kMaxRatio > packed.bytes.size()) {
        return give_up("expands from " + size_text(packed.bytes.size()) + " to " +
                       size_text(packed.size) + ", which is not plausible");
    }
    if (!limits_->charge_bytes(packed.size)) {
        return give_up("expands to " + size_text(packed.size) + ", which exceeds the memory limit");
    }
    Unpacked unpacked;
    unpacked.bytes.reset(new (std::nothrow) std::byte[packed.size]);
    unpacked.size = packed.size;
    const std::span<std::byte> destination(unpacked.bytes.get(), packed.size);
    bool done = false;
    if (unpacked.bytes && packed.format == Packed::Format::kZlib)
        done = unpack_zlib(packed.bytes, destination);
    if (unpacked.bytes && packed.format == Packed::Format::kZstd && kHasZstd)
        done = unpack_zstd(packed.bytes, destination);
    // Nobody reads the packed bytes again.
    elf::MappedFile::release(packed.bytes);
    if (done) return unpacked;
    limits_->return_bytes(packed.size);
    if (packed.format == Packed::Format::kZstd && !kHasZstd)
        return give_up("is compressed with zstd, which this build of pystack does not read");
    return give_up("cannot be decompressed");
}

}  // namespace pystack::modules
