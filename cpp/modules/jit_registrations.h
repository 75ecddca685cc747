#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/work_limits.h"
#include "elf/module_map.h"
#include "memory/memory_reader.h"

namespace pystack::modules {

/// What compilers in the target have told debuggers of the code that they made, by gdb's JIT
/// interface (gdb's manual, "JIT Compilation Interface"): lists of ELF files in memory, to which
/// the symbol __jit_debug_descriptor of a module leads. The target may run, so a list may change
/// while it is read: who reads a file checks it.
class JitRegistrations {
  public:
    /// Looks for a descriptor in a module; nothing happens if it has none, or no image.
    void add_module(const elf::Module& module);

    /// The files that are registered now, as far as `limits` allow.
    std::vector<RemoteRange> read(const memory::MemoryReader& memory, WorkLimits& limits);
    /// Whether something was registered or taken back since read().
    bool is_changed(const memory::MemoryReader& memory) const;

  private:
    /// struct jit_descriptor.
    struct Descriptor {
        std::uint32_t version = 0;
        std::uint32_t action = 0;
        std::uint64_t relevant_entry = 0;
        std::uint64_t first_entry = 0;
        bool operator==(const Descriptor&) const = default;
    };
    struct Known {
        RemoteAddr address;
        Descriptor last;
    };

    std::vector<Known> descriptors_;
};

}  // namespace pystack::modules
