// Takes the input for an ELF file that a compiler has put into the target's memory: it says of its
// own sections where they are.

#include <algorithm>
#include <cstring>
#include <span>

#include "driver.h"
#include "memory/memory_reader.h"
#include "modules/elf_sections.h"
#include "modules/function_extent.h"
#include "modules/jit_file.h"
#include "modules/symbol_table.h"
#include "seed_files.h"

using namespace pystack;

namespace {

constexpr RemoteAddr kPlace{0x10000};

class OneFile final : public memory::MemoryReader {
  public:
    explicit OneFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        const std::uint64_t offset = address - kPlace;
        if (offset >= bytes_.size()) return 0;
        const std::size_t size = std::min<std::size_t>(destination.size(), bytes_.size() - offset);
        std::memcpy(destination.data(), bytes_.data() + offset, size);
        return size;
    }

  private:
    std::span<const std::byte> bytes_;
};

}  // namespace

void fuzz::run(std::span<const std::byte> input) {
    const OneFile memory(input);
    const auto jit = modules::find_jit_code(memory, {kPlace, kPlace + input.size()});
    if (!jit) return;
    WorkLimits limits(16 << 20);
    const auto module = modules::load_jit_file(memory, *jit, limits);
    if (!module) return;
    const modules::ElfSections sections(module->bytes());
    const modules::SymbolTable symbols(sections, 2);
    const modules::FdeIndex functions(module);
    for (const RemoteRange& range : jit->code) {
        use(module->bytes_at(range.begin.value));
        use(modules::find_function(symbols, *module, functions, range.begin.value + 8));
    }
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    return {seed_library(), vdso()};
}
