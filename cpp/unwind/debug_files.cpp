#include "unwind/debug_files.h"

#include <lzma.h>

#include <cstring>
#include <utility>

namespace pystack::unwind {

namespace {

constexpr std::string_view kDebugFolder = "/usr/lib/debug";
constexpr std::size_t kShortestBuildId = 4;
/// Real ones have some 100 KiB, of which xz makes a fifth.
constexpr std::size_t kMaxDebugData = std::size_t{256} << 20;
constexpr std::uint64_t kMaxUnpackMemory = std::uint64_t{256} << 20;

std::string build_id_path(const std::string& root, std::string_view build_id) {
    std::string path = root;
    path.append(kDebugFolder).append("/.build-id/").append(build_id.substr(0, 2)).append("/");
    path.append(build_id.substr(2)).append(".debug");
    return path;
}

std::optional<DebugFile> open_with_build_id(const std::string& path, std::string_view build_id) {
    auto image = elf::ElfImage::open(path);
    if (!image || (*image)->build_id() != build_id) return std::nullopt;
    return DebugFile{path, *image};
}

std::string_view folder_of(std::string_view path) {
    return path.substr(0, std::min(path.rfind('/'), path.size()));
}

struct DebugLink {
    std::string name;
    std::uint32_t checksum = 0;
};

/// .gnu_debuglink: a file name, padding to four bytes, and the file's CRC-32.
std::optional<DebugLink> debug_link(const ElfSections& sections) {
    const ElfSection* section = sections.find(".gnu_debuglink");
    if (section == nullptr) return std::nullopt;
    DebugLink link;
    link.name = text_at(section->bytes, 0);
    const std::size_t place = (link.name.size() + 1 + 3) / 4 * 4;
    if (link.name.empty() || link.name.contains('/') ||
        place + sizeof link.checksum > section->bytes.size()) {
        return std::nullopt;
    }
    std::memcpy(&link.checksum, section->bytes.data() + place, sizeof link.checksum);
    return link;
}

std::optional<DebugFile> open_by_link(const std::string& path, const DebugLink& link,
                                      const std::string& build_id) {
    auto image = elf::ElfImage::open(path);
    if (!image) return std::nullopt;
    if (!build_id.empty() && !(*image)->build_id().empty()) {
        if ((*image)->build_id() != build_id) return std::nullopt;
    } else {
        const auto bytes = (*image)->bytes();
        const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
        if (lzma_crc32(data, bytes.size(), 0) != link.checksum) return std::nullopt;
    }
    // A link that names the stripped file itself leads nowhere.
    const ElfSections sections((*image)->bytes());
    if (sections.find(".symtab") == nullptr && sections.find(".debug_info") == nullptr)
        return std::nullopt;
    return DebugFile{path, *image};
}

}  // namespace

std::optional<DebugFile> find_debug_file(const CodeModule& module, const ElfSections& sections,
                                         const DebugFileOptions& options) {
    const std::string& build_id = module.build_id();
    const bool has_build_id = build_id.size() >= kShortestBuildId;
    if (has_build_id) {
        for (const std::string& root : options.roots) {
            if (auto file = open_with_build_id(build_id_path(root, build_id), build_id))
                return file;
        }
    }
    if (const auto link = debug_link(sections); link && module.path().starts_with('/')) {
        const std::string folder(folder_of(module.path()));
        for (const std::string& root : options.roots) {
            for (const std::string& place : {root + folder, root + folder + "/.debug",
                                             root + std::string(kDebugFolder) + folder}) {
                if (auto file = open_by_link(place + "/" + link->name, *link, build_id))
                    return file;
            }
        }
    }
    if (has_build_id && options.fetch) {
        if (const auto path = options.fetch(build_id, module.path()))
            return open_with_build_id(*path, build_id);
    }
    return std::nullopt;
}

std::optional<DebugFile> find_alternate_file(const std::string& debug_file, const std::string& name,
                                             const std::string& build_id,
                                             const DebugFileOptions& options) {
    // The name is a path, as a rule relative to the file that names it.
    const std::string by_name =
        name.starts_with('/') ? name : std::string(folder_of(debug_file)) + "/" + name;
    if (auto file = open_with_build_id(by_name, build_id)) return file;
    for (const std::string& root : options.roots) {
        if (auto file = open_with_build_id(build_id_path(root, build_id), build_id)) return file;
        const std::string in_folder =
            root + std::string(kDebugFolder) + "/.dwz/" +
            name.substr(name.rfind('/') == std::string::npos ? 0 : name.rfind('/') + 1);
        if (auto file = open_with_build_id(in_folder, build_id)) return file;
    }
    if (build_id.size() >= kShortestBuildId && options.fetch) {
        if (const auto path = options.fetch(build_id, name))
            return open_with_build_id(*path, build_id);
    }
    return std::nullopt;
}

std::vector<std::byte> unpack_debug_data(const ElfSections& sections) {
    const ElfSection* section = sections.find(".gnu_debugdata");
    if (section == nullptr || section->bytes.empty()) return {};
    const auto* packed = reinterpret_cast<const std::uint8_t*>(section->bytes.data());
    std::vector<std::byte> unpacked;
    for (std::size_t size = section->bytes.size() * 8; size <= kMaxDebugData; size *= 4) {
        unpacked.resize(size);
        std::uint64_t memory_limit = kMaxUnpackMemory;
        std::size_t read = 0;
        std::size_t written = 0;
        const lzma_ret status = lzma_stream_buffer_decode(
            &memory_limit, 0, nullptr, packed, &read, section->bytes.size(),
            reinterpret_cast<std::uint8_t*>(unpacked.data()), &written, unpacked.size());
        if (status == LZMA_OK) {
            unpacked.resize(written);
            unpacked.shrink_to_fit();
            return unpacked;
        }
        if (status != LZMA_BUF_ERROR) break;  // That one says: a bigger buffer, please.
    }
    return {};
}

}  // namespace pystack::unwind
