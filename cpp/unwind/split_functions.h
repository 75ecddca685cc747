#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include "unwind/cfi_table.h"
#include "unwind/code_module.h"
#include "unwind/fde_index.h"

namespace pystack::unwind {

/// Compilers move what they take for seldom used out of a function, to a ".cold" part with call
/// frame information of its own. strip removes the local symbol that says whose it is; in Debian's
/// CPython nearly all of the interpreter loop is such a part. But it is known by what no function
/// does: it begins with a frame that somebody else made, and it jumps back into the middle of its
/// function. Belongs to one thread at a time.
class SplitFunctions {
  public:
    /// `functions` must outlive this.
    SplitFunctions(std::shared_ptr<const CodeModule> module, const FdeIndex& functions);
    ~SplitFunctions();

    /// The function that `part` was split off from; nullopt for functions, and where it cannot be
    /// told.
    std::optional<FdeIndex::Range> main_part(const FdeIndex::Range& part);

  private:
    bool begins_with_a_frame(const FdeIndex::Range& part);
    std::optional<FdeIndex::Range> jumped_into(const FdeIndex::Range& part) const;

    std::shared_ptr<const CodeModule> module_;
    const FdeIndex& functions_;
    std::unique_ptr<CfiTable> frames_;  // Null until it is needed.
    std::unordered_map<std::uint64_t, std::optional<FdeIndex::Range>>
        known_;  // By the begin of the part.
};

}  // namespace pystack::unwind
