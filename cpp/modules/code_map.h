#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/pace.h"
#include "base/result.h"
#include "modules/code_module.h"
#include "modules/jit_file.h"
#include "modules/jit_registrations.h"
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
        bool operator==(const Area&) const = default;
    };

    const target::Target& target() const { return target_; }

    /// Null when nothing executable is known there.
    const Area* find(RemoteAddr address) const;
    /// update(), or for code in anonymous memory a look at what compilers have registered there.
    /// But not for every bad address there is: not when the last one was in vain just before. True
    /// if changed.
    bool update_for(RemoteAddr unknown);
    /// Looks whether code that is known was taken back, or other code registered. True if changed.
    bool update_registered();

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
        std::optional<JitFile> jit;  ///< Instead of `module`.
    };

    std::uint32_t slot_of(elf::Module module);
    std::uint32_t slot_of_registered(const JitFile& jit);
    bool read_registered();
    static const Area* find_in(const std::vector<Area>& areas, RemoteAddr address);

    const target::Target& target_;
    std::vector<Slot> slots_;
    std::vector<Area> areas_;  // Sorted, disjoint.
    // The slots of the modules that are loaded now, by the first address of the module.
    std::map<RemoteAddr, std::uint32_t> current_;
    JitRegistrations registrations_;
    std::size_t searched_ = 0;      // So many slots were searched for registrations.
    std::vector<Area> registered_;  // Inside of anonymous areas; sorted, disjoint.
    std::map<RemoteRange, std::uint32_t> registered_slots_;  // By the file; those of registered_.
    Pace pace_;
    Pace registered_pace_;
    std::shared_ptr<const CodeModule> none_;
};

}  // namespace pystack::modules
