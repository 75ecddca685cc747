#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "base/work_limits.h"
#include "model/tables.h"
#include "sampling/frame_interner.h"

namespace pystack::sampling {

/// Makes what threads wait for rows of a table. Programs make up names (of peers, files, children),
/// so there is a limit: past it, a row says the kind alone.
class WaitInterner {
  public:
    /// `limits`: of the tables, which only grow.
    explicit WaitInterner(std::shared_ptr<WorkLimits> limits) : limits_(std::move(limits)) {}

    /// As in WaitRow; texts go to the strings of `texts`. 0: there is no room, not even for the
    /// kind.
    model::WaitId intern(FrameInterner& texts, model::WaitKind kind, std::string_view type,
                         std::string_view name, std::uint32_t holder);

    const model::WaitTable& table() const { return table_; }
    /// As FrameInterner::renew_tables.
    void renew_table() { table_ = {}; }

    /// As many rows have names or holders.
    static constexpr std::size_t kMostNamed = 4096;

  private:
    std::shared_ptr<WorkLimits> limits_;
    model::WaitTable table_;
};

}  // namespace pystack::sampling
