#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "modules/code_module.h"
#include "modules/debug_files.h"
#include "modules/debug_sections.h"
#include "modules/fde_index.h"
#include "modules/frame_section.h"
#include "unwind/frame_row.h"
#include "unwind/unwind_rule.h"

namespace pystack::unwind {

/// The call frame information of one module: .eh_frame, and .debug_frame where that says nothing.
/// Belongs to one thread at a time.
class CfiTable {
  public:
    /// Debug files are read only for .debug_frame, and only of a module with (nearly) no .eh_frame.
    CfiTable(std::shared_ptr<const modules::CodeModule> module,
             const modules::DebugFileOptions& debug_files);
    CfiTable(const CfiTable&) = delete;
    CfiTable& operator=(const CfiTable&) = delete;

    /// The rule for the instruction at `file_address`. What it points to lives as long as this
    /// table.
    UnwindRule rule(std::uint64_t file_address);

  private:
    void open_debug_frame(const modules::ElfSections& sections,
                          const modules::DebugFileOptions& debug_files);
    std::optional<UnwindRule> rule_from(const std::optional<modules::FrameEntry>& entry,
                                        std::uint64_t file_address);

    std::shared_ptr<const modules::CodeModule> module_;
    std::shared_ptr<WorkLimits> limits_;
    modules::FdeIndex functions_;  // .eh_frame, if the file has a search table for it, or else:
    std::optional<modules::FrameSection> eh_frame_;
    std::optional<modules::DebugFile> debug_file_;
    std::optional<modules::DebugSections> debug_sections_;
    std::optional<modules::FrameSection> debug_frame_;
    std::map<std::uint64_t, GeneralRule> general_;  // By the first address of their row.
};

}  // namespace pystack::unwind
