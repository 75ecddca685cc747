#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "memory/limited_memory.h"
#include "support/fake_runtime.h"
#include "target/target.h"

namespace pystack::testing {

/// The process of a FakeRuntime. Its files cannot be opened: what is found is found in its memory.
class FakeTarget final : public target::Target {
  public:
    static constexpr std::int32_t kPid = 4711;

    /// `memory`: read instead of the runtime's own, if not null.
    explicit FakeTarget(const FakeRuntime& of,
                        std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>(),
                        const memory::MemoryReader* memory = nullptr)
        : Target(limits), memory_(memory != nullptr ? *memory : of.heap.memory, std::move(limits)) {
        for (const RemoteRange& pages : of.pages()) {
            maps.push_back({.range = pages,
                            .offset = {pages.begin.value - FakeRuntime::kFirstPage},
                            .inode = 1,
                            .readable = true,
                            .writable = true,
                            .path = "/usr/lib/libpython3." +
                                    std::to_string(of.layout.version.minor) + ".so.1.0"});
        }
    }

    std::int32_t pid() const override { return kPid; }
    std::optional<std::int32_t> namespace_pid() const override { return {}; }
    const memory::MemoryReader& memory() const override { return memory_; }
    Result<std::vector<elf::Mapping>> mappings() const override { return maps; }
    Result<std::vector<elf::Module>> modules() const override { return elf::group_modules(maps); }
    std::vector<std::string> left_out_parts() const override { return left_out; }
    Result<void> open_module(elf::Module&) const override {
        return fail(Error{.code = ErrorCode::kMissingBinary, .what = "binary"});
    }
    Result<std::vector<target::ThreadInfo>> threads() const override { return infos; }
    std::size_t thread_count() const override { return infos.size(); }
    Result<arch::Registers> registers(std::int32_t) const override {
        return fail(Error{.code = ErrorCode::kSystem});
    }
    std::optional<arch::Syscall> blocked_syscall(std::int32_t) const override { return {}; }
    std::optional<std::string> executable() const override { return "/usr/bin/app"; }
    std::optional<std::vector<std::string>> command() const override {
        return std::vector<std::string>{"app", "--port", "80"};
    }

    std::vector<elf::Mapping> maps;
    std::vector<target::ThreadInfo> infos;
    std::vector<std::string> left_out;

  private:
    memory::LimitedMemory memory_;
};

}  // namespace pystack::testing
