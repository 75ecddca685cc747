#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/work_limits.h"
#include "elf/elf_image.h"
#include "elf/module_map.h"
#include "modules/code_module.h"
#include "support/core_builder.h"
#include "support/fake_memory.h"
#include "target/target.h"

namespace pystack::fuzz {

inline constexpr RemoteAddr kModuleBegin{0x7000'0000'0000};

/// What an input may cost: then one that costs more without an end to it shows by its time.
inline std::shared_ptr<WorkLimits> small_limits() {
    return std::make_shared<WorkLimits>(16U << 20, 1U << 20);
}

/// Any bytes as a file that a target has loaded, as a module: null when they are no ELF file.
class FakeModule {
  public:
    explicit FakeModule(std::span<const std::byte> bytes) : file_(bytes) {
        auto image = elf::ElfImage::open(file_.path);
        if (!image) return;
        module_.path = "/library";
        module_.bias = kModuleBegin.value;
        module_.image = *image;
        for (const elf::LoadSegment& segment : module_.image->load_segments()) {
            const RemoteAddr begin = kModuleBegin + segment.address;
            module_.mappings.push_back({.range = {begin, begin + segment.memory_size},
                                        .offset = segment.offset,
                                        .inode = 1,
                                        .readable = true,
                                        .writable = segment.writable,
                                        .executable = segment.executable,
                                        .path = module_.path});
        }
        if (module_.mappings.empty()) return;
        code_ = std::make_shared<const modules::CodeModule>(module_);
    }

    const elf::Module& module() const { return module_; }
    const std::shared_ptr<const modules::CodeModule>& code() const { return code_; }

  private:
    testing::MemoryFile file_;
    elf::Module module_;
    std::shared_ptr<const modules::CodeModule> code_;
};

/// A target with that one module, and no memory but what the file has.
class FakeTarget final : public target::Target {
  public:
    explicit FakeTarget(const elf::Module& module)
        : Target(std::make_shared<WorkLimits>()), module_(module) {}

    std::int32_t pid() const override { return 1; }
    std::optional<std::int32_t> namespace_pid() const override { return std::nullopt; }
    const memory::MemoryReader& memory() const override { return memory_; }
    Result<std::vector<elf::Mapping>> mappings() const override { return module_.mappings; }
    Result<std::vector<elf::Module>> modules() const override { return std::vector{module_}; }
    Result<void> open_module(elf::Module&) const override { return {}; }
    Result<std::vector<target::ThreadInfo>> threads() const override {
        return std::vector<target::ThreadInfo>();
    }
    std::size_t thread_count() const override { return 0; }
    Result<arch::Registers> registers(std::int32_t) const override {
        return fail(Error{.code = ErrorCode::kSystem});
    }
    std::optional<arch::Syscall> blocked_syscall(std::int32_t) const override {
        return std::nullopt;
    }
    std::optional<std::string> executable() const override { return std::nullopt; }
    std::optional<std::vector<std::string>> command() const override { return std::nullopt; }

  private:
    const elf::Module& module_;
    testing::FakeMemory memory_;
};

}  // namespace pystack::fuzz
