#pragma once

#include <optional>

#include "memory/memory_reader.h"
#include "unwind/unwind_rule.h"

namespace pystack::unwind {

/// The rule for an address in one of CPython's perf trampolines; nullopt for any other code. With
/// `-X perf` (3.12+) each Python function runs through a copy of a small function of its own, in
/// anonymous memory, for which there are no tables. The whole function is compared, so the rule is
/// certain.
std::optional<UnwindRule> perf_trampoline_rule(const memory::MemoryReader& code,
                                               RemoteAddr lookup_address);

}  // namespace pystack::unwind
