// Opens the input as an ELF file and asks everything of it.

#include <array>
#include <span>
#include <string_view>

#include "driver.h"
#include "elf/elf_image.h"
#include "elf/module_map.h"
#include "seed_files.h"
#include "support/core_builder.h"

namespace {

using namespace pystack;

void ask_everything(const elf::ElfImage& image) {
    static constexpr std::array<std::string_view, 4> kNames = {"_PyRuntime", "area_of_circle",
                                                               "__vdso_time", ""};
    fuzz::use(image.symbols(kNames));
    fuzz::use(image.symbol("Py_Version"));
    fuzz::use(image.build_id());
    for (const char* name : {".PyRuntime", ".text", ".symtab", ""}) {
        if (const auto section = image.section(name)) {
            fuzz::use(image.section_bytes(*section));
        }
    }
    std::vector<elf::Mapping> mappings;
    for (const elf::LoadSegment& segment : image.load_segments()) {
        fuzz::use(image.bytes_from(segment.address));
        mappings.push_back({.range = {{segment.address}, {segment.address + segment.memory_size}},
                            .offset = segment.offset,
                            .path = "/library"});
    }
    fuzz::use(elf::compute_bias(image, mappings));
    fuzz::use(elf::group_modules(mappings));
}

}  // namespace

void pystack::fuzz::run(std::span<const std::byte> input) {
    const testing::MemoryFile file(input);
    if (const auto image = elf::ElfImage::open(file.path)) ask_everything(**image);
}

std::vector<pystack::fuzz::Bytes> pystack::fuzz::seeds() {
    return {seed_library(), vdso(), testing::make_library("build id"),
            without_sections(seed_library())};
}
