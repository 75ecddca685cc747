#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/pace.h"
#include "base/result.h"
#include "modules/code_module.h"
#include "modules/native_frame.h"
#include "target/target.h"

namespace pystack::modules {

/// Where the code of a target is, as far as is known; grows with what the target loads. Files are
/// opened when code in them is first asked for. Belongs to one thread at a time; `target` must
/// outlive it.
class CodeMap {
  public:
    explicit CodeMap(const target::Target& target) : target_(target) {}

    /// Reads the mappings anew; not to be called while the target is stopped. True when code was
    /// added, moved or removed. Fails as Target::modules() does, and then everything stays as it
    /// was.
    Result<bool> update();

    /// A piece of executable memory.
    struct Area {
        RemoteRange range;
        std::uint32_t module = kNoModule;  ///< kNoModule: anonymous, such as code of a JIT.
    };

    /// Null when nothing executable is known there.
    const Area* find(RemoteAddr address) const;
    /// update(), but not for every bad address there is: not when the last one was in vain just
    /// before. True if changed.
    bool update_for(RemoteAddr unknown);

    /// Null when there is no ELF file to be had for it. Module numbers stay valid: a module that
    /// was unloaded can still be asked for.
    const std::shared_ptr<const CodeModule>& module(std::uint32_t number);
    /// The path of a module, also of one whose file cannot be had.
    const std::string& path(std::uint32_t number) const { return slots_[number].module.path.str(); }
    std::size_t module_count() const { return slots_.size(); }
    /// Those that are known, so that none has to be opened later.
    void open_all() {
        for (std::uint32_t i = 0; i < module_count(); ++i) module(i);
    }

  private:
    struct Slot {
        elf::Module module;
        std::shared_ptr<const CodeModule> code;
        bool opened = false;
    };

    std::uint32_t slot_of(elf::Module module);

    const target::Target& target_;
    std::vector<Slot> slots_;
    std::vector<Area> areas_;  // Sorted, disjoint.
    // The slots of the modules that are loaded now, by the first address of the module.
    std::map<RemoteAddr, std::uint32_t> current_;
    Pace pace_;
    std::shared_ptr<const CodeModule> none_;
};

}  // namespace pystack::modules
