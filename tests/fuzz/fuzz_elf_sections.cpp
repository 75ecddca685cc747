// Reads the input as the sections of an ELF file: symbol tables, names of linkage table entries,
// .gnu_debugdata, .gnu_debuglink.

#include <elf.h>

#include <span>

#include "driver.h"
#include "fake_module.h"
#include "modules/debug_files.h"
#include "modules/elf_sections.h"
#include "modules/symbol_table.h"
#include "seed_files.h"
#include "symbols/plt_names.h"

using namespace pystack;
using namespace pystack::symbols;
using namespace pystack::modules;

void fuzz::run(std::span<const std::byte> input) {
    const ElfSections sections(input);
    const auto limits = small_limits();
    for (const ElfSection& section : sections.all()) {
        use(section.name);
        use(section.bytes);
    }
    use(sections.find(".text"));
    for (const std::uint32_t type : {SHT_SYMTAB, SHT_DYNSYM}) {
        const SymbolTable symbols(sections, type);
        for (std::uint64_t address = 0; address < 0x4000; address += 0x81) {
            if (const auto* symbol = symbols.find(address)) use(symbol->name);
        }
    }
    use(unpack_debug_data(sections, *limits));
    const FakeModule module(input);
    if (!module.code()) return;
    // No roots: nothing is looked for outside the file.
    use(find_debug_file(*module.code(), sections, {.roots = {}, .fetch = {}, .limits = limits}));
    for (std::uint64_t address = 0; address < 0x4000; address += 16) {
        use(sections.at(address));
        use(plt_name(*module.code(), sections, address));
    }
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    return {seed_library(), vdso()};
}
