#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "elf/core_file.h"
#include "files/file_rights.h"
#include "memory/limited_memory.h"
#include "memory/segment_memory.h"
#include "target/core_header.h"
#include "target/core_modules.h"
#include "target/target.h"

namespace pystack::target {

/// A process as its core file and the files it had mapped tell it. Everything is read from these;
/// nothing is asked of a living process that happens to have the same pid. Immutable after open.
class CoreTarget final : public Target {
  public:
    /// Fails as CoreFile::open does. Missing and mismatched files are not failures: see reports().
    /// `original` is the compressed file that the one at `path` was unpacked from: who wrote that
    /// one counts.
    static Result<std::unique_ptr<CoreTarget>> open(
        const std::string& path, FileSearch search,
        std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>(),
        const std::optional<std::string>& original = std::nullopt);

    /// 0 when the core has no thread and no process note.
    std::int32_t pid() const override { return header_.pid.value_or(0); }
    std::optional<std::int32_t> namespace_pid() const override { return std::nullopt; }
    /// The core's own pages, and for what it leaves out those of the files that were found for its
    /// modules.
    const memory::MemoryReader& memory() const override { return *limited_; }
    Result<std::vector<elf::Mapping>> mappings() const override { return mappings_; }
    /// Images are set already.
    Result<std::vector<elf::Module>> modules() const override { return modules_.modules; }
    std::vector<std::string> left_out_parts() const override;
    /// kMissingBinary with the file that is wanted, its build id, and why the file at hand is
    /// refused.
    Result<void> open_module(elf::Module& module) const override;
    /// Cores hold no names and no run states of threads.
    Result<std::vector<ThreadInfo>> threads() const override;
    std::size_t thread_count() const override { return core_->notes().threads.size(); }
    Result<arch::Registers> registers(std::int32_t tid) const override;
    std::optional<arch::Syscall> blocked_syscall(std::int32_t tid) const override;
    std::optional<std::string> executable() const override { return header_.executable; }
    std::optional<std::vector<std::string>> command() const override;

    const CoreHeader& header() const { return header_; }
    /// Who wrote the core, if that can be known: see files::sole_writer.
    std::optional<uid_t> written_by() const { return written_by_; }
    /// For files of this machine that the core names.
    files::FileRights file_rights() const;
    const elf::CoreDamage& damage() const { return core_->damage(); }
    /// See CoreFile::is_torn.
    bool is_torn() const { return core_->is_torn(); }
    /// Each ELF file that was mapped, and what was found for it.
    std::span<const ModuleReport> reports() const { return modules_.reports; }
    /// False when the core has no pages that the process wrote to: it was made with a
    /// coredump_filter that leaves them out, and nothing of the interpreter can be read from it.
    bool has_written_pages() const { return has_written_pages_; }

    /// The threads whose stack is missing: cut off, left out, or nothing but zeros. The last is
    /// what gdb's gcore writes for threads of newer C libraries, when it fails to read the guard
    /// pages in their stacks.
    std::vector<std::int32_t> threads_without_stack() const;

  private:
    CoreTarget(std::shared_ptr<const elf::CoreFile> core, std::shared_ptr<WorkLimits> limits)
        : Target(std::move(limits)), core_(std::move(core)) {}

    void find_modules(FileSearch search);
    void build_memory();
    void fill_header(const std::string& program);
    std::optional<std::size_t> main_program(std::span<const elf::Module> modules) const;
    bool is_stack_overflow() const;
    const elf::CoreThread* find_thread(std::int32_t tid) const;

    std::shared_ptr<const elf::CoreFile> core_;
    // Filled by open, and never empty after it.
    std::optional<memory::SegmentMemory> core_memory_;  // Only what the core itself holds.
    std::vector<elf::Mapping> mappings_;
    CoreModules modules_;
    std::optional<memory::SegmentMemory> memory_;
    std::optional<memory::LimitedMemory> limited_;
    CoreHeader header_;
    std::vector<std::pair<std::int32_t, std::size_t>> thread_index_;  // Sorted by tid.
    std::optional<uid_t> written_by_;
    bool has_written_pages_ = false;
};

}  // namespace pystack::target
