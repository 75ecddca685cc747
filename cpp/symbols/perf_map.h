#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/pace.h"
#include "base/work_limits.h"
#include "files/file_descriptor.h"
#include "target/target.h"

namespace pystack::symbols {

/// What a process calls the code that it makes at run time, in the text form of Linux perf: a line
/// "START SIZE NAME" in hexadecimal for each function. Of several for an address the last counts,
/// since memory is used again.
class PerfMapNames {
  public:
    explicit PerfMapNames(WorkLimits& limits) : limits_(limits) {}

    /// A piece of the file. False when no more of it is to be had, because of the limits.
    bool add(std::string_view piece);
    /// Forgets everything.
    void clear();
    /// Null if it is in no function.
    const std::string* find(RemoteAddr address) const;

  private:
    struct Function {
        RemoteAddr end;
        std::string name;
    };

    bool add_line(std::string_view line);

    WorkLimits& limits_;
    std::string rest_;         // A line that has not ended, up to the longest that counts.
    std::uint64_t bytes_ = 0;  // Charged.
    std::map<RemoteAddr, Function> functions_;  // By their first addresses; disjoint.
};

/// The map file of a target. It is opened when a name is first asked for, and what was appended to
/// it is read when one is missing.
class PerfMap {
  public:
    explicit PerfMap(const target::Target& target) : target_(target), names_(target.limits()) {}

    /// Null if the target has not named it. Valid until the next call.
    const std::string* find(RemoteAddr address);

  private:
    bool open();
    void read_more();

    const target::Target& target_;
    PerfMapNames names_;
    std::optional<files::FileDescriptor> file_;
    std::uint64_t position_ = 0;
    bool is_full_ = false;
    Pace pace_;  // Of looking for the file.
};

}  // namespace pystack::symbols
