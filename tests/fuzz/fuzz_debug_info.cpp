// Names the addresses of a library that is the input: DWARF functions, inlined ones, lines, and the
// tables that are asked where there are none.

#include <span>

#include "driver.h"
#include "fake_module.h"
#include "modules/code_map.h"
#include "seed_files.h"
#include "support/small_debug_file.h"
#include "symbols/symbolizer.h"

using namespace pystack;
using namespace pystack::symbols;
using namespace pystack::modules;

namespace {

void ask_everything(const fuzz::FakeTarget& target, const elf::Module& module) {
    CodeMap code_map(target);
    if (!code_map.update()) return;
    SymbolizerOptions options;
    options.debug_files.roots.clear();
    options.debug_files.limits = fuzz::small_limits();
    Symbolizer symbolizer(code_map, options);
    symbolizer.load_all();
    for (const elf::Mapping& mapping : module.mappings) {
        if (!mapping.executable) continue;
        for (std::uint64_t offset = 0; offset < 0x400; offset += 7) {
            const RemoteAddr pc = mapping.range.begin + offset;
            const SymbolizedAddress& answer =
                symbolizer.symbolize({.pc = pc, .module = 0, .is_activation = true});
            for (const SymbolizedFrame& frame : answer.frames) {
                fuzz::use(frame.function);
                fuzz::use(frame.signature);
                fuzz::use(frame.file);
            }
            if (const auto start = symbolizer.function_start(pc)) {
                fuzz::use(symbolizer.tail_calls(*start));
            }
        }
    }
}

}  // namespace

void fuzz::run(std::span<const std::byte> input) {
    const FakeModule file(input);
    if (!file.code()) return;
    ask_everything(FakeTarget(file.module()), file.module());
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    return {testing::small_debug_file(), seed_library(), vdso()};
}
