#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "unwind/code_module.h"
#include "unwind/debug_files.h"
#include "unwind/dwarf_handle.h"
#include "unwind/unwind_rule.h"

struct Dwarf_CFI_s;

namespace pystack::unwind {

/// The call frame information of one module: .eh_frame, and .debug_frame where that says nothing.
/// Belongs to one thread at a time.
class CfiTable {
  public:
    /// Debug files are read only for .debug_frame, and only of a module with (nearly) no .eh_frame.
    CfiTable(std::shared_ptr<const CodeModule> module, const DebugFileOptions& debug_files);
    ~CfiTable();
    CfiTable(const CfiTable&) = delete;
    CfiTable& operator=(const CfiTable&) = delete;

    /// The rule for the instruction at `file_address`. What it points to lives as long as this
    /// table.
    UnwindRule rule(std::uint64_t file_address);

  private:
    std::optional<UnwindRule> rule_from(Dwarf_CFI_s* cfi, std::uint64_t file_address);
    void open_debug_frame(const DebugFileOptions& debug_files);

    std::shared_ptr<const CodeModule> module_;
    ElfHandle elf_;
    Dwarf_CFI_s* eh_frame_ = nullptr;
    std::optional<DebugFile> debug_file_;
    std::unique_ptr<DwarfHandle> dwarf_;
    Dwarf_CFI_s* debug_frame_ = nullptr;            // Owned by dwarf_.
    std::map<std::uint64_t, GeneralRule> general_;  // By the first address of their row.
};

}  // namespace pystack::unwind
