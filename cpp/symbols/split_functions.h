#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include "modules/code_module.h"
#include "modules/fde_index.h"
#include "unwind/cfi_table.h"

namespace pystack::symbols {

/// Compilers move what they take for seldom used out of a function, to a ".cold" part with call
/// frame information of its own. strip removes the local symbol that says whose it is; in Debian's
/// CPython nearly all of the interpreter loop is such a part. But it is known by what no function
/// does: it begins with a frame that somebody else made, and it jumps back into the middle of its
/// function. Belongs to one thread at a time.
class SplitFunctions {
  public:
    /// `functions` must outlive this.
    SplitFunctions(std::shared_ptr<const modules::CodeModule> module,
                   const modules::FdeIndex& functions);
    ~SplitFunctions();

    /// The function that `part` was split off from; nullopt for functions, and where it cannot be
    /// told.
    std::optional<modules::FdeIndex::Range> main_part(const modules::FdeIndex::Range& part);

  private:
    bool begins_with_a_frame(const modules::FdeIndex::Range& part);
    std::optional<modules::FdeIndex::Range> jumped_into(const modules::FdeIndex::Range& part) const;

    std::shared_ptr<const modules::CodeModule> module_;
    const modules::FdeIndex& functions_;
    std::unique_ptr<unwind::CfiTable> frames_;  // Null until it is needed.
    std::unordered_map<std::uint64_t, std::optional<modules::FdeIndex::Range>>
        known_;  // By the begin of the part.
};

}  // namespace pystack::symbols
