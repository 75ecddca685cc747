#include "symbols/symbolizer.h"

#include <elf.h>

#include <array>
#include <span>
#include <utility>

#include "base/text.h"
#include "modules/debug_sections.h"
#include "modules/function_extent.h"
#include "symbols/cython_names.h"
#include "symbols/plt_names.h"
#include "symbols/split_functions.h"
#include "symbols/tail_calls.h"

namespace pystack::symbols {

/// What is read of one module when a name in it is first asked for.
struct Symbolizer::ModuleSymbols {
    std::shared_ptr<const modules::CodeModule> module;
    modules::ElfSections sections;
    modules::SymbolTable symtab;
    std::optional<modules::DebugFile> debug_file;
    modules::SymbolTable debug_file_symtab;
    std::vector<std::byte> debug_data;
    modules::SymbolTable debug_data_symtab;
    modules::SymbolTable dynsym;
    std::unique_ptr<DebugInfo> dwarf;
    modules::FdeIndex functions;
    SplitFunctions split_functions;
    std::unordered_map<std::uint64_t, std::string> given;

    ModuleSymbols(const std::shared_ptr<const modules::CodeModule>& code,
                  const SymbolizerOptions& options)
        : module(code),
          sections(code->bytes()),
          symtab(sections, SHT_SYMTAB),
          functions(code),
          split_functions(code, functions) {
        const bool has_dwarf = modules::find_debug_section(sections, ".debug_info") != nullptr;
        if (symtab.empty() || (options.use_dwarf && !has_dwarf)) {
            debug_file = modules::find_debug_file(*code, sections, options.debug_files);
        }
        if (symtab.empty() && debug_file) {
            debug_file_symtab =
                modules::SymbolTable(modules::ElfSections(debug_file->image->bytes()), SHT_SYMTAB);
        }
        if (symtab.empty() && debug_file_symtab.empty()) {
            debug_data = modules::unpack_debug_data(sections, *options.debug_files.limits);
            debug_data_symtab = modules::SymbolTable(modules::ElfSections(debug_data), SHT_SYMTAB);
        }
        dynsym = modules::SymbolTable(sections, SHT_DYNSYM);
        if (!options.use_dwarf) return;
        if (has_dwarf) {
            dwarf = DebugInfo::open(code->bytes(), code->path(), code, options.debug_files);
        } else if (debug_file) {
            dwarf = DebugInfo::open(debug_file->image->bytes(), debug_file->path, debug_file->image,
                                    options.debug_files);
        }
    }
};

Symbolizer::Symbolizer(modules::CodeMap& code_map, SymbolizerOptions options)
    : code_map_(code_map), options_(std::move(options)), perf_map_(code_map.target()) {}
Symbolizer::~Symbolizer() = default;

const SymbolizedAddress& Symbolizer::symbolize(const modules::NativeFrame& frame) {
    const Key key{frame.module, frame.lookup_address().value};
    if (const auto known = answers_.find(key); known != answers_.end()) return known->second;
    if (answers_.size() >= options_.max_cached) answers_.clear();
    return answers_.emplace(key, look_up(frame.module, key.address, frame.pc)).first->second;
}

Symbolizer::ModuleSymbols* Symbolizer::symbols_of(std::uint32_t module) {
    if (module >= code_map_.module_count()) return nullptr;
    if (module >= modules_.size()) modules_.resize(code_map_.module_count());
    if (!modules_[module]) {
        const auto& code = code_map_.module(module);
        if (!code) return nullptr;
        modules_[module] = std::make_unique<ModuleSymbols>(code, options_);
    }
    return modules_[module].get();
}

void Symbolizer::load_all() {
    for (std::uint32_t i = 0; i < code_map_.module_count(); ++i) symbols_of(i);
}

SymbolizedAddress Symbolizer::look_up(std::uint32_t module, std::uint64_t lookup_address,
                                      RemoteAddr pc) {
    SymbolizedAddress answer;
    if (module < code_map_.module_count()) answer.module_path = code_map_.path(module);
    answer.module_address = pc.value;
    if (ModuleSymbols* symbols = symbols_of(module)) {
        answer.build_id = symbols->module->build_id();
        answer.module_address = symbols->module->file_address(pc);
        const std::uint64_t address = symbols->module->file_address({lookup_address});
        const Named named = find_symbol(*symbols, address);
        if (symbols->dwarf) add_dwarf_frames(*symbols, address, named, answer);
        if (answer.frames.empty() && named.origin != NameOrigin::kNone) {
            SymbolizedFrame& frame = answer.frames.emplace_back();
            frame.origin = named.origin;
            set_names(frame, named.symbol);
        }
        if (symbols->dwarf && answer.frames.size() == 1 && answer.frames.front().file.empty()) {
            if (const auto line = symbols->dwarf->line(address)) {
                answer.frames.front().file = line->file;
                answer.frames.front().line = line->line;
            }
        }
    }
    const bool is_made =
        module == modules::kNoModule && code_map_.find({lookup_address}) != nullptr;
    if (const auto* name = is_made ? perf_map_.find({lookup_address}) : nullptr) {
        SymbolizedFrame& frame = answer.frames.emplace_back();
        frame.function = frame.signature = *name;
        frame.origin = NameOrigin::kPerfMap;
    }
    if (answer.frames.empty()) {
        SymbolizedFrame& frame = answer.frames.emplace_back();
        const std::string_view name = base_name(answer.module_path);
        frame.function = name.empty() ? to_hex(pc.value)
                                      : std::string(name) + "+" + to_hex(answer.module_address);
        frame.signature = frame.function;
    }
    return answer;
}

Symbolizer::Named Symbolizer::find_symbol(ModuleSymbols& symbols, std::uint64_t address) {
    if (auto named = find_in_tables(symbols, address); named.origin != NameOrigin::kNone)
        return named;
    if (auto name = plt_name(*symbols.module, symbols.sections, address)) {
        return {std::move(*name), NameOrigin::kPlt};
    }
    const auto range = symbols.functions.find(address);
    if (!range) return {};
    const auto main_part = symbols.split_functions.main_part(*range);
    for (const std::uint64_t begin : {range->begin, main_part ? main_part->begin : range->begin}) {
        if (const auto given = symbols.given.find(begin); given != symbols.given.end()) {
            return {given->second, NameOrigin::kGiven};
        }
    }
    return main_part ? find_in_tables(symbols, main_part->begin) : Named();
}

Symbolizer::Named Symbolizer::find_in_tables(const ModuleSymbols& symbols, std::uint64_t address) {
    const std::array<std::pair<const modules::SymbolTable*, NameOrigin>, 4> tables = {
        {{&symbols.symtab, NameOrigin::kSymtab},
         {&symbols.debug_file_symtab, NameOrigin::kSymtab},
         {&symbols.debug_data_symtab, NameOrigin::kDebugData},
         {&symbols.dynsym, NameOrigin::kDynsym}}};
    for (const auto& [table, origin] : tables) {
        const modules::FunctionSymbol* symbol =
            modules::find_function(*table, *symbols.module, symbols.functions, address);
        if (symbol != nullptr) return {std::string(symbol->name), origin};
    }
    return {};
}

void Symbolizer::add_dwarf_frames(ModuleSymbols& symbols, std::uint64_t address, const Named& named,
                                  SymbolizedAddress& answer) {
    for (DebugFrame& found : symbols.dwarf->frames(address)) {
        SymbolizedFrame& frame = answer.frames.emplace_back();
        frame.origin = NameOrigin::kDwarf;
        frame.file = std::move(found.file);
        frame.line = found.line;
        frame.is_inlined = found.is_inlined;
        const bool from_table = !found.is_inlined && found.linkage_name.empty() &&
                                (named.symbol.starts_with("_Z") || named.symbol.starts_with("_R"));
        if (!found.linkage_name.empty() || from_table) {
            // The mangled name tells overloads apart.
            set_names(frame, from_table ? named.symbol : found.linkage_name);
        } else if (auto cython = cython_name(found.name)) {
            frame.function = frame.signature = *std::move(cython);
            frame.symbol = found.is_inlined ? found.name : named.symbol;
        } else {
            const bool has_arguments = found.name.find_first_of("<(") != std::string::npos;
            frame.function = has_arguments ? shorten_cpp(found.name) : found.name;
            frame.signature = found.name;
            if (!found.is_inlined) frame.symbol = named.symbol;
        }
        // The C library's own names for its functions are not those that programs know.
        const bool is_internal = frame.function.starts_with("__") && !named.symbol.starts_with('_');
        if (is_internal && !named.symbol.empty() && !found.is_inlined && !from_table) {
            frame.function = frame.signature = demangle(named.symbol).short_name;
        }
        if (frame.function.empty() && !named.symbol.empty() && !found.is_inlined) {
            frame.origin = named.origin;
            set_names(frame, named.symbol);
        }
        if (frame.function.empty()) frame.function = frame.signature = "(unnamed)";
    }
}

void Symbolizer::set_names(SymbolizedFrame& frame, const std::string& symbol) {
    auto known = readable_.find(symbol);
    if (known == readable_.end()) {
        if (readable_.size() >= options_.max_cached) readable_.clear();
        const bool is_given =
            frame.origin == NameOrigin::kGiven || frame.origin == NameOrigin::kPlt;
        known =
            readable_.emplace(symbol, is_given ? ReadableName{symbol, symbol} : demangle(symbol))
                .first;
    }
    frame.function = known->second.short_name;
    frame.signature = known->second.full;
    if (frame.origin != NameOrigin::kGiven) frame.symbol = symbol;
}

std::optional<RemoteAddr> Symbolizer::function_start(RemoteAddr address) {
    const modules::CodeMap::Area* area = code_map_.find(address);
    ModuleSymbols* symbols = area != nullptr ? symbols_of(area->module) : nullptr;
    if (symbols == nullptr) return std::nullopt;
    auto range = symbols->functions.find(symbols->module->file_address(address));
    if (!range) return std::nullopt;
    if (const auto main_part = symbols->split_functions.main_part(*range)) range = main_part;
    return RemoteAddr{range->begin + symbols->module->bias()};
}

std::vector<RemoteAddr> Symbolizer::tail_calls(RemoteAddr function) {
    std::vector<RemoteAddr> found;
    const modules::CodeMap::Area* area = code_map_.find(function);
    ModuleSymbols* symbols = area != nullptr ? symbols_of(area->module) : nullptr;
    if (symbols == nullptr) return found;
    const std::uint64_t address = symbols->module->file_address(function);
    const auto range = symbols->functions.find(address);
    if (!range || range->begin != address) return found;
    for (const std::uint64_t target :
         symbols::tail_calls(*symbols->module, symbols->functions, *range)) {
        const auto called = symbols->functions.find(target);
        if (called && !symbols->split_functions.main_part(*called)) {
            found.push_back(RemoteAddr{target + symbols->module->bias()});
        }
    }
    return found;
}

std::vector<std::string> Symbolizer::problems() const {
    std::vector<std::string> problems;
    for (const auto& symbols : modules_) {
        if (!symbols) continue;
        const std::string& path = symbols->module->path();
        const bool is_torn = symbols->module->is_torn() ||
                             (symbols->debug_file && symbols->debug_file->image->is_torn());
        if (is_torn) problems.push_back(path + " was truncated while it was read");
        if (symbols->dwarf && !symbols->dwarf->problem().empty()) {
            problems.push_back("some debug information of " + path +
                               " was not used: " + symbols->dwarf->problem());
        }
    }
    if (options_.debug_files.limits->exhausted()) {
        problems.push_back(
            "some names and lines of native frames are missing: the limit for debug information "
            "was reached");
    }
    return problems;
}

void Symbolizer::add_name(RemoteAddr function, std::string name) {
    const modules::CodeMap::Area* area = code_map_.find(function);
    if (ModuleSymbols* symbols = area != nullptr ? symbols_of(area->module) : nullptr) {
        symbols->given.try_emplace(symbols->module->file_address(function), std::move(name));
    }
}

}  // namespace pystack::symbols
