#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "modules/code_map.h"
#include "modules/debug_files.h"
#include "modules/fde_index.h"
#include "modules/native_frame.h"
#include "modules/symbol_table.h"
#include "symbols/debug_info.h"
#include "symbols/demangle.h"
#include "symbols/perf_map.h"

namespace pystack::symbols {

/// Where a function's name is from, the best first.
enum class NameOrigin : std::uint8_t {
    kDwarf,
    kSymtab,     ///< .symtab of the file or of its separate debug file.
    kDebugData,  ///< .gnu_debugdata: the symbols that some distributions leave in stripped files.
    kDynsym,
    kPlt,      ///< Of the function that a linkage table entry jumps to.
    kPerfMap,  ///< Of the file in which the target names the code that it makes.
    kGiven,    ///< From add_name(): tables of the target's own.
    kNone,     ///< There is none: `function` is the module and the address.
};

/// One function at an address.
struct SymbolizedFrame {
    std::string function;   ///< Readable and short; "module+0xaddress" where there is no name.
    std::string signature;  ///< With parameters and template arguments; equal to `function` in C.
    std::string symbol;  ///< As in the symbol table or DWARF, mangled; empty where there is none.
    std::string file;    ///< Empty when not known.
    std::uint32_t line = 0;  ///< 0: not known.
    bool is_inlined = false;
    NameOrigin origin = NameOrigin::kNone;
};

struct SymbolizedAddress {
    std::string module_path;  ///< Empty for code that is in no file.
    std::string build_id;
    std::uint64_t module_address =
        0;  ///< As in the file's headers, what other tools call an offset.
    /// Innermost first: inlined functions, then the one they were inlined into. Never empty.
    std::vector<SymbolizedFrame> frames;
};

struct SymbolizerOptions {
    modules::DebugFileOptions debug_files;
    /// File, line and inlined functions from DWARF: reading it for the first time can take long.
    bool use_dwarf = true;
    /// Of addresses with answers that are kept.
    std::size_t max_cached = 1 << 20;
};

/// Names for addresses: late, once for each, with all that the target's files and their debug files
/// tell. It needs the files, not the target. Belongs to one thread at a time; `code_map` must
/// outlive it.
class Symbolizer {
  public:
    Symbolizer(modules::CodeMap& code_map, SymbolizerOptions options);
    ~Symbolizer();

    /// The answer stays where it is until the symbolizer is destroyed or `max_cached` is reached.
    const SymbolizedAddress& symbolize(const modules::NativeFrame& frame);

    /// Reads the symbols of all modules that are known so far, which is otherwise done for each
    /// when a name in it is first asked for.
    void load_all();

    /// The first address of the function that `address` is in, known also for stripped files. Of a
    /// function that the compiler split, that of its main part, unless the part does not tell where
    /// that is.
    std::optional<RemoteAddr> function_start(RemoteAddr address);

    /// The functions that the one which begins at `function` ends in, each by its first address:
    /// see tail_calls(). Parts that were split off from it are not among them.
    std::vector<RemoteAddr> tail_calls(RemoteAddr function);

    /// What was left out of the answers so far, or may be wrong in them; sentences without a full
    /// stop.
    std::vector<std::string> problems() const;

    /// A name for a function without one, by its first address. To be given before it is asked for.
    void add_name(RemoteAddr function, std::string name);

  private:
    struct ModuleSymbols;

    struct Key {
        std::uint32_t module;
        std::uint64_t address;
        bool operator==(const Key&) const = default;
    };
    struct KeyHash {
        std::size_t operator()(const Key& key) const noexcept {
            return std::hash<std::uint64_t>{}(key.address * 0x9e3779b97f4a7c15U + key.module);
        }
    };
    struct Named {
        std::string symbol;
        NameOrigin origin = NameOrigin::kNone;
    };

    ModuleSymbols* symbols_of(std::uint32_t module);
    SymbolizedAddress look_up(std::uint32_t module, std::uint64_t lookup_address, RemoteAddr pc);
    static Named find_symbol(ModuleSymbols& symbols, std::uint64_t address);
    static Named find_in_tables(const ModuleSymbols& symbols, std::uint64_t address);
    void add_dwarf_frames(ModuleSymbols& symbols, std::uint64_t address, const Named& named,
                          SymbolizedAddress& answer);
    void set_names(SymbolizedFrame& frame, const std::string& symbol);

    modules::CodeMap& code_map_;
    SymbolizerOptions options_;
    PerfMap perf_map_;
    std::vector<std::unique_ptr<ModuleSymbols>> modules_;  // By number; null until it is needed.
    std::unordered_map<Key, SymbolizedAddress, KeyHash> answers_;
    std::unordered_map<std::string, ReadableName> readable_;  // By symbol.
};

}  // namespace pystack::symbols
