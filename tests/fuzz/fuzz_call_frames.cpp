// Reads the input as a library's call frame information: the search table, the entries, the rules,
// and one step with each of them; as a file, and put together from a target's memory.

#include <array>
#include <memory>
#include <span>

#include "driver.h"
#include "fake_module.h"
#include "modules/fde_index.h"
#include "seed_files.h"
#include "support/small_debug_file.h"
#include "symbols/split_functions.h"
#include "symbols/tail_calls.h"
#include "unwind/cfi_table.h"
#include "unwind/unwind_rule.h"

using namespace pystack;
using namespace pystack::unwind;
using namespace pystack::symbols;
using namespace pystack::modules;
using namespace pystack::arch;

namespace {

/// A stack in which each word is its own address, so that everything can be followed.
class EndlessStack final : public memory::MemoryReader {
  public:
    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        for (std::size_t i = 0; i < destination.size(); ++i) {
            destination[i] = static_cast<std::byte>((address.value + i) * 0x9e37 >> 3);
        }
        return destination.size();
    }
};

void ask_everything(const std::shared_ptr<const CodeModule>& module) {
    CfiTable table(module, {.roots = {}, .fetch = {}, .limits = fuzz::small_limits()});
    const FdeIndex functions(module);
    SplitFunctions parts(module, functions);
    const EndlessStack stack;
    const auto at = [&](std::uint64_t address) {
        const UnwindRule rule = table.rule(address);
        std::array<std::uint64_t, kRegisterCount> values;
        for (unsigned i = 0; i < kRegisterCount; ++i) values[i] = 0x7ffd'0000'0000 + i * 0x1008;
        RegisterState registers(values);
        fuzz::use(step(rule, module->bias(), stack, registers).outcome);
        if (const auto range = functions.find(address)) {
            fuzz::use(parts.main_part(*range));
            fuzz::use(tail_calls(*module, functions, *range));
        }
    };
    for (const elf::LoadSegment& segment : module->segments()) {
        if (!segment.executable) continue;
        for (std::uint64_t offset = 0; offset < 0x600; offset += 0x1d) {
            at(segment.address + offset);
        }
    }
}

}  // namespace

void fuzz::run(std::span<const std::byte> input) {
    const FakeModule file(input);
    if (file.code()) ask_everything(file.code());
    testing::FakeMemory memory;
    memory.add(kModuleBegin, Bytes(input.begin(), input.end()));
    const RemoteRange range{kModuleBegin, kModuleBegin + input.size()};
    if (const auto module = CodeModule::from_memory(memory, range, "[vdso]")) {
        ask_everything(module);
    }
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    return {testing::small_debug_file(), seed_library(), vdso(), without_sections(seed_library())};
}
