#include "modules/debug_files.h"

#include <lzma.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "files/file_root.h"
#include "files/regular_file.h"
#include "modules/debug_sections.h"

namespace pystack::modules {

namespace {

constexpr std::string_view kDebugFolder = "/usr/lib/debug";
constexpr std::size_t kShortestBuildId = 4;
/// Real .gnu_debugdata has some 100 KiB, of which xz makes a fifth. No proportion is asked of what
/// is small.
constexpr std::uint64_t kMaxRatio = 64;
constexpr std::uint64_t kSmallDebugData = std::uint64_t{1} << 20;
/// What the decoder may use: its window has at most 64 MiB.
constexpr std::uint64_t kMaxUnpackMemory = std::uint64_t{96} << 20;

/// A debug file without a build id is proved by its checksum, at some 2 GB a second.
constexpr std::uint64_t kMaxChecksummed = std::uint64_t{512} << 20;
constexpr std::uint64_t kBytesPerStep = 16;

using files::FileOpener;

class OwnDebugFolder final : public FileOpener {
  public:
    Result<files::FileDescriptor> open(const std::string& path) const override {
        const std::string inside = std::string(kDebugFolder) + "/";
        if (!path.starts_with(inside) || path.contains("/../") || path.ends_with("/.."))
            return fail(files::refusal(EACCES));
        return files_->open(path);
    }

  private:
    // The folder's own links are root's, and may lead anywhere.
    std::shared_ptr<const FileOpener> files_ =
        files::files_below("/", files::FileRights::of_caller());
};

std::string build_id_path(std::string_view build_id) {
    std::string path(kDebugFolder);
    path.append("/.build-id/").append(build_id.substr(0, 2)).append("/");
    path.append(build_id.substr(2)).append(".debug");
    return path;
}

std::shared_ptr<const elf::ElfImage> open_image(const FileOpener& files, const std::string& path) {
    const auto file = files.open(path);
    if (!file) return nullptr;
    auto image = elf::ElfImage::read(*file, path);
    return image ? *image : nullptr;
}

std::optional<DebugFile> if_has_build_id(const std::string& path,
                                         std::shared_ptr<const elf::ElfImage> image,
                                         std::string_view build_id) {
    if (!image || image->build_id() != build_id) return std::nullopt;
    return DebugFile{path, std::move(image)};
}

std::optional<DebugFile> open_with_build_id(const FileOpener& files, const std::string& path,
                                            std::string_view build_id) {
    return if_has_build_id(path, open_image(files, path), build_id);
}

/// From the cache of downloads, where the fetcher put it.
std::optional<DebugFile> fetch(const FetchDebugFile& fetcher, std::string_view build_id,
                               std::string_view name) {
    if (build_id.size() < kShortestBuildId || !fetcher) return std::nullopt;
    const auto path = fetcher(build_id, name);
    if (!path) return std::nullopt;
    auto image = elf::ElfImage::open(*path);
    return image ? if_has_build_id(*path, *image, build_id) : std::nullopt;
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

std::optional<DebugFile> open_by_link(const FileOpener& files, const std::string& path,
                                      const DebugLink& link, const std::string& build_id,
                                      WorkLimits& limits) {
    const auto image = open_image(files, path);
    if (!image) return std::nullopt;
    // A link that names the stripped file itself leads nowhere.
    const ElfSections sections(image->bytes());
    if (sections.find(".symtab") == nullptr &&
        find_debug_section(sections, ".debug_info") == nullptr)
        return std::nullopt;
    if (!build_id.empty() && !image->build_id().empty()) {
        if (image->build_id() != build_id) return std::nullopt;
    } else {
        // A sparse file has any size, and costs its owner nothing.
        const auto bytes = image->bytes();
        const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
        if (bytes.size() > kMaxChecksummed || !limits.charge_steps(bytes.size() / kBytesPerStep))
            return std::nullopt;
        if (lzma_crc32(data, bytes.size(), 0) != link.checksum) return std::nullopt;
    }
    return DebugFile{path, image};
}

}  // namespace

std::shared_ptr<const FileOpener> own_debug_folder() {
    return std::make_shared<const OwnDebugFolder>();
}

std::optional<DebugFile> find_debug_file(const CodeModule& module, const ElfSections& sections,
                                         const DebugFileOptions& options) {
    const std::string& build_id = module.build_id();
    const bool has_build_id = build_id.size() >= kShortestBuildId;
    if (has_build_id) {
        for (const auto& root : options.roots) {
            if (auto file = open_with_build_id(*root, build_id_path(build_id), build_id))
                return file;
        }
    }
    if (const auto link = debug_link(sections); link && module.path().starts_with('/')) {
        const std::string folder(folder_of(module.path()));
        for (const auto& root : options.roots) {
            for (const std::string& place :
                 {folder, folder + "/.debug", std::string(kDebugFolder) + folder}) {
                if (auto file = open_by_link(*root, place + "/" + link->name, *link, build_id,
                                             *options.limits))
                    return file;
            }
        }
    }
    return fetch(options.fetch, build_id, module.path());
}

std::optional<DebugFile> find_alternate_file(const std::string& debug_file, const std::string& name,
                                             const std::string& build_id,
                                             const DebugFileOptions& options) {
    // The name is a path, as a rule relative to the file that names it. Without its "..", so that
    // it is seen where it leads.
    const std::filesystem::path path(
        name.starts_with('/') ? name : std::string(folder_of(debug_file)) + "/" + name);
    const std::string by_name = path.lexically_normal().native();
    const std::string in_folder = std::string(kDebugFolder) + "/.dwz/" + path.filename().native();
    const bool has_build_id = build_id.size() >= kShortestBuildId;
    for (const auto& root : options.roots) {
        if (auto file = open_with_build_id(*root, by_name, build_id)) return file;
        if (has_build_id) {
            if (auto file = open_with_build_id(*root, build_id_path(build_id), build_id))
                return file;
        }
        if (auto file = open_with_build_id(*root, in_folder, build_id)) return file;
    }
    return fetch(options.fetch, build_id, name);
}

std::vector<std::byte> unpack_debug_data(const ElfSections& sections, WorkLimits& limits) {
    const ElfSection* section = sections.find(".gnu_debugdata");
    if (section == nullptr || section->bytes.empty()) return {};
    const auto* packed = reinterpret_cast<const std::uint8_t*>(section->bytes.data());
    const std::uint64_t largest = std::max(kSmallDebugData, section->bytes.size() * kMaxRatio);
    for (std::uint64_t size = section->bytes.size() * 8; size <= largest; size *= 2) {
        if (!limits.charge_bytes(size) || !limits.charge_steps(size / 16)) return {};
        std::vector<std::byte> unpacked(size);
        std::uint64_t memory_limit = kMaxUnpackMemory;
        std::size_t read = 0;
        std::size_t written = 0;
        const lzma_ret status = lzma_stream_buffer_decode(
            &memory_limit, 0, nullptr, packed, &read, section->bytes.size(),
            reinterpret_cast<std::uint8_t*>(unpacked.data()), &written, unpacked.size());
        limits.return_bytes(status == LZMA_OK ? size - written : size);
        if (status == LZMA_OK) {
            unpacked.resize(written);
            unpacked.shrink_to_fit();
            return unpacked;
        }
        if (status != LZMA_BUF_ERROR) break;  // That one says: a bigger buffer, please.
    }
    return {};
}

}  // namespace pystack::modules
