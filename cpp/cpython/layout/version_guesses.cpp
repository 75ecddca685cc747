#include "cpython/layout/version_guesses.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>

#include "base/text.h"
#include "cpython/layout/layout_table.h"

namespace pystack::cpython {

namespace {

/// "3.8" in `libpython3.8.so.1.0` or `python3.8`, as a minor version.
std::optional<std::uint8_t> minor_from_name(std::string_view path) {
    const std::string_view name = base_name(path);
    constexpr std::string_view kMarker = "python3.";
    const std::size_t begin = name.find(kMarker);
    if (begin == std::string_view::npos) return std::nullopt;
    const std::string_view digits = name.substr(begin + kMarker.size());
    std::uint8_t minor = 0;
    if (std::from_chars(digits.data(), digits.data() + digits.size(), minor).ec != std::errc{}) {
        return std::nullopt;
    }
    return minor;
}

/// Parses "3.8.18" or "3.11.0rc2+" when it is the whole of `text`.
std::optional<PythonVersion> parse_version(std::string_view text) {
    PythonVersion version;
    const char* cursor = text.data();
    const char* const end = cursor + text.size();
    const auto number = [&](std::uint8_t& value) {
        const auto result = std::from_chars(cursor, end, value);
        if (result.ec != std::errc{}) return false;
        cursor = result.ptr;
        return true;
    };
    const auto dot = [&] { return cursor < end && *cursor++ == '.'; };
    if (!number(version.major) || !dot() || !number(version.minor) || !dot() ||
        !number(version.micro)) {
        return std::nullopt;
    }
    if (end - cursor >= 2 && (*cursor == 'a' || *cursor == 'b' || *cursor == 'r')) {
        version.release_level = *cursor == 'a' ? 0xA : *cursor == 'b' ? 0xB : 0xC;
        cursor += *cursor == 'r' ? 2 : 1;
        if (!number(version.serial)) return std::nullopt;
    }
    if (cursor < end && *cursor == '+') ++cursor;
    return cursor == end ? std::optional(version) : std::nullopt;
}

std::vector<PythonVersion> versions_in_data(const elf::ElfImage& image) {
    const auto section = image.section(".rodata");
    return versions_in(section ? image.section_bytes(*section) : image.bytes());
}

std::vector<PythonVersion> guesses(const memory::MemoryReader& memory, const elf::Module& module) {
    std::vector<PythonVersion> versions;
    const auto named = minor_from_name(module.path);
    if (module.image) {
        if (const auto symbol = module.image->symbol("Py_Version")) {
            const auto hex = memory.read_value<std::uint32_t>({symbol->address + module.bias});
            if (hex) return {PythonVersion::from_hex(*hex)};
        }
        versions = versions_in_data(*module.image);
        std::stable_partition(versions.begin(), versions.end(), [&](const PythonVersion& version) {
            return named && version.minor == *named;
        });
    }
    if (named) versions.push_back({.major = 3, .minor = *named});
    return versions.empty() ? versions_without_offset_table() : versions;
}

}  // namespace

std::vector<PythonVersion> versions_in(std::span<const std::byte> bytes) {
    std::vector<PythonVersion> found;
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    constexpr std::string_view kStart = "3.";
    constexpr std::string_view kNotBefore = "0123456789.";
    constexpr std::size_t kLongest = 16;
    for (std::size_t at = text.find(kStart); at != std::string_view::npos;
         at = text.find(kStart, at + 1)) {
        if (at > 0 && kNotBefore.find(text[at - 1]) != std::string_view::npos) continue;
        const std::string_view rest = text.substr(at, kLongest);
        const std::size_t end = rest.find('\0');
        if (end == std::string_view::npos) continue;
        const auto version = parse_version(rest.substr(0, end));
        if (!version || version->has_offset_table()) continue;
        if (std::find(found.begin(), found.end(), *version) == found.end())
            found.push_back(*version);
    }
    return found;
}

bool is_interpreter_name(std::string_view path) {
    const std::string_view name = base_name(path);
    return name.starts_with("python") || name.starts_with("libpython");
}

bool has_interpreter_file(const target::Target& target) {
    const auto modules = target.modules();
    return modules && std::any_of(modules->begin(), modules->end(), [](const elf::Module& module) {
               return is_interpreter_name(module.path.str());
           });
}

std::vector<PythonVersion> possible_versions(const memory::MemoryReader& memory,
                                             const elf::Module& module) {
    std::vector<PythonVersion> versions = guesses(memory, module);
    std::erase_if(versions,
                  [](const PythonVersion& version) { return version.has_offset_table(); });
    return versions;
}

}  // namespace pystack::cpython
