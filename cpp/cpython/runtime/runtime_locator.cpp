#include "cpython/runtime/runtime_locator.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "base/checked.h"
#include "cpython/layout/debug_offsets.h"
#include "cpython/layout/layout_check.h"
#include "cpython/layout/layout_table.h"
#include "cpython/layout/version_guesses.h"
#include "cpython/runtime/gil_symbols.h"
#include "cpython/runtime/interpreter_pointers.h"
#include "cpython/runtime/interpreter_shape.h"

namespace pystack::cpython {

namespace {

using elf::Mapping;
using elf::Module;
using memory::MemoryReader;

constexpr std::string_view kCookie = "xdebugpy";
/// Writable memory searched in one piece; larger mappings are searched piece by piece.
constexpr std::size_t kSearchBlock = 1 << 20;
/// A .bss or heap beyond this is not the interpreter's: the search must end.
constexpr std::uint64_t kMaxSearched = std::uint64_t{4} << 30;
/// For all searches: memory that is full of pointers takes long.
constexpr auto kSearchBudget = std::chrono::seconds(2);

Error not_python(const target::Target& target) {
    Error error{
        .code = ErrorCode::kNotPython,
        .what = "not a Python process",
        .detail = "process " + std::to_string(target.pid()) + " (" +
                  target.executable().value_or("unknown program") + ") " +
                  (has_interpreter_file(target)
                       ? "runs no Python now: its interpreter has not started yet, or has ended"
                       : "is not a Python process, or its interpreter has not started yet")};
    for (const std::string& part : target.left_out_parts()) error.detail += "; " + part;
    return error;
}

Error not_found_in_time(const target::Target& target) {
    Error error = not_python(target);
    error.detail += "; not all of its memory could be searched in time";
    return error;
}

class Locator {
  public:
    Locator(const target::Target& target, const LocateOptions& options)
        : target_(target), memory_(target.memory()), options_(options) {}

    Result<Runtime> locate() {
        PYSTACK_TRY(modules, target_.modules());
        modules_ = std::move(modules);
        sort_by_promise();
        for (Module& module : modules_) {
            if (auto runtime = from_symbols(module)) return std::move(*runtime);
        }
        WorkLimits& limits = target_.limits();
        limits.end_at(WorkLimits::Clock::now() + kSearchBudget);
        auto found = search_memory();
        const bool timed_out = limits.timed_out();
        limits.never_end();
        if (found) return std::move(*found);
        if (timed_out && !rejected_) return fail(not_found_in_time(target_));
        if (rejected_) return fail(std::move(*rejected_));
        return fail(not_python(target_));
    }

    std::optional<Runtime> from_symbols(Module& module) {
        if (!target_.open_module(module)) return std::nullopt;
        const elf::ElfImage& image = *module.image;
        // Its own section since 3.10 [Python/pylifecycle.c]: survives strip.
        if (const auto section = image.section(".PyRuntime")) {
            if (auto runtime = accept(module, {section->address + module.bias})) return runtime;
        }
        if (const auto symbol = image.symbol("_PyRuntime")) {
            if (auto runtime = accept(module, {symbol->address + module.bias})) return runtime;
        }
        if (const auto symbol = image.symbol("interp_head")) {
            const RemoteAddr head{symbol->address + module.bias};
            return accept_guesses(module, [&](const Layout&) { return std::optional(head); });
        }
        return std::nullopt;
    }

  private:
    /// Files named as interpreters are first, then the program, then everything else.
    void sort_by_promise() {
        const std::string program = target_.executable().value_or("");
        const auto rank = [&](const Module& module) {
            if (is_interpreter_name(module.path)) return 0;
            return module.path == program ? 1 : 2;
        };
        std::stable_sort(modules_.begin(), modules_.end(),
                         [&](const Module& a, const Module& b) { return rank(a) < rank(b); });
    }

    std::optional<Runtime> search_memory() {
        for (const Module& module : modules_) {
            if (auto runtime = from_cookie(module)) return runtime;
        }
        for (Module& module : modules_) {
            if (auto runtime = from_shape(module)) return runtime;
        }
        return options_.exhaustive ? from_anonymous_memory() : std::nullopt;
    }

    /// A runtime at a known address: by its table, or by every layout that may fit.
    std::optional<Runtime> accept(const Module& module, RemoteAddr address) {
        std::array<std::byte, kDebugOffsetsMaxSize> table;
        const std::size_t size = memory_.read_up_to(address, table);
        if (parse_debug_offsets_header(std::span(table).first(size))) {
            return accept_table(module, address, std::span(table).first(size));
        }
        return accept_guesses(module, [&](const Layout& layout) -> std::optional<RemoteAddr> {
            const auto offset = layout.runtime_state.interpreters_head;
            return offset ? std::optional(address + *offset) : std::nullopt;
        });
    }

    /// By every layout that may fit; `head_of` says where it has the list of interpreters, if it
    /// can.
    template <class HeadOf>
    std::optional<Runtime> accept_guesses(const Module& module, HeadOf head_of) {
        for (const PythonVersion& version : possible_versions(memory_, module)) {
            for (const bool debug : {false, true}) {
                auto layout = static_layout(version, false, debug);
                if (!layout || !check(*layout)) continue;
                const std::optional<RemoteAddr> head = head_of(*layout);
                if (!head) continue;
                if (auto runtime = accept_layout(module, std::move(*layout), *head)) return runtime;
            }
        }
        return std::nullopt;
    }

    std::optional<Runtime> accept_table(const Module& module, RemoteAddr address,
                                        std::span<const std::byte> table) {
        auto layout = layout_from_debug_offsets(table);
        if (!layout) {
            reject(std::move(layout).error());
            return std::nullopt;
        }
        if (!check(*layout)) return std::nullopt;
        const RemoteAddr head = address + *layout->runtime_state.interpreters_head;
        layout_is_certain_ = true;
        auto runtime = accept_layout(module, std::move(*layout), head);
        layout_is_certain_ = false;
        return runtime;
    }

    std::optional<Runtime> accept_layout(const Module& module, Layout layout, RemoteAddr head) {
        const auto interpreter = memory_.read_pointer(head);
        if (!interpreter || !is_interpreter(memory_, layout, *interpreter)) return std::nullopt;
        // A table says what it is; anything else was a guess.
        if (!layout_is_certain_ && !has_interpreter_dicts(memory_, layout, *interpreter))
            return std::nullopt;
        RemoteAddr address;
        if (const auto offset = layout.runtime_state.interpreters_head) address = head - *offset;
        const PythonVersion version = layout.version;
        Runtime runtime{
            .layout = std::move(layout),
            .version = version,
            .is_version_exact = layout_is_certain_ || module.image || module.path.empty(),
            .debug = has_debug_symbols(module),
            .address = address,
            .interpreters_head = head,
            .gil_symbols = {},
            .binary = module.path};
        if (runtime.layout.gil_place == GilPlace::kSymbols)
            runtime.gil_symbols = find_gil_symbols(module);
        return runtime;
    }

    /// Exported only where references are counted for debugging [Objects/object.c].
    static bool has_debug_symbols(const Module& module) {
        return module.image && module.image->symbol("_Py_NegativeRefcount").has_value();
    }

    bool check(const Layout& layout) {
        auto checked = check_layout(layout);
        if (checked) return true;
        reject(std::move(checked).error());
        return false;
    }

    /// Remembers why a candidate that was a runtime could not be used: better than "not Python".
    void reject(Error error) {
        if (!rejected_) rejected_ = std::move(error);
    }

    /// Calls `visit(block address, bytes)` for the readable writable memory of `range` until it
    /// returns a runtime. Blocks overlap by 8 bytes only in the sense that words are aligned: none
    /// straddles.
    template <class Visit>
    std::optional<Runtime> search(RemoteRange range, Visit visit) {
        std::vector<std::byte> block(std::min<std::uint64_t>(kSearchBlock, range.size()));
        for (RemoteAddr at = range.begin; at < range.end; at = at + kSearchBlock) {
            if (searched_ > kMaxSearched) return std::nullopt;
            const std::size_t wanted = std::min<std::uint64_t>(kSearchBlock, range.end - at);
            const std::size_t size = memory_.read_up_to(at, std::span(block).first(wanted));
            searched_ += wanted;  // Or the search may not end.
            if (size == 0) continue;
            if (auto runtime = visit(at, std::span<const std::byte>(block).first(size)))
                return runtime;
        }
        return std::nullopt;
    }

    std::optional<Runtime> search_cookie(const Module& module, RemoteRange range) {
        return search(
            range, [&](RemoteAddr at, std::span<const std::byte> bytes) -> std::optional<Runtime> {
                const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                                            bytes.size());
                for (std::size_t i = text.find(kCookie); i != std::string_view::npos;
                     i = text.find(kCookie, i + 1)) {
                    if (i % alignof(std::uint64_t) != 0) continue;
                    if (auto runtime = accept(module, at + i)) return runtime;
                }
                return std::nullopt;
            });
    }

    std::optional<Runtime> from_cookie(const Module& module) {
        for (const Mapping& mapping : module.mappings) {
            if (!mapping.writable || mapping.path.empty()) continue;
            if (auto runtime = search_cookie(module, mapping.range)) return runtime;
        }
        return std::nullopt;
    }

    /// Below 3.13: a word of the module's data that points at an interpreter is the head of the
    /// list. It is the first such word: `main` and the others stand behind `head`
    /// [Include/internal/pystate.h].
    std::optional<Runtime> search_shape(const Module& module, RemoteRange range) {
        return search(
            range, [&](RemoteAddr at, std::span<const std::byte> bytes) -> std::optional<Runtime> {
                std::vector<std::uint64_t> words(bytes.size() / sizeof(std::uint64_t));
                std::memcpy(words.data(), bytes.data(), words.size() * sizeof(std::uint64_t));
                for (const PythonVersion& version : shape_versions_) {
                    auto layout = static_layout(version, false, false);
                    if (!layout || !check(*layout)) continue;
                    if (auto runtime = search_words(module, *layout, at, words)) return runtime;
                }
                return std::nullopt;
            });
    }

    /// `words` begin at `at`.
    std::optional<Runtime> search_words(const Module& module, const Layout& layout, RemoteAddr at,
                                        std::span<const std::uint64_t> words) {
        constexpr std::size_t kBatch = 1024;
        std::vector<std::size_t> indices;
        for (std::size_t i = 0; i < words.size(); ++i) {
            if (pointers_.may_be_pointer(words[i])) indices.push_back(i);
            if (indices.size() < kBatch && i + 1 < words.size()) continue;
            if (!target_.limits().charge_steps(indices.size())) return std::nullopt;
            for (const std::size_t index : pointers_.among(layout, words, indices)) {
                const RemoteAddr head = at + index * sizeof(std::uint64_t);
                if (auto runtime = accept_layout(module, layout, head)) return runtime;
            }
            indices.clear();
        }
        return std::nullopt;
    }

    std::optional<Runtime> from_shape(Module& module) {
        if (!prepare_shape_search(module)) return std::nullopt;
        const RemoteAddr end = end_of_data(module);
        for (const Mapping& mapping : module.mappings) {
            if (!mapping.writable || mapping.range.begin >= end) continue;
            const RemoteRange range{mapping.range.begin, std::min(mapping.range.end, end)};
            if (auto runtime = search_shape(module, range)) return runtime;
        }
        return std::nullopt;
    }

    /// Where the file's own data ends: the heap or another allocation may follow at once, which has
    /// pointers to the interpreter too, and they are not the list's head.
    static RemoteAddr end_of_data(const Module& module) {
        if (!module.image) return module.range().end;
        std::uint64_t end = 0;
        for (const elf::LoadSegment& segment : module.image->load_segments()) {
            end = std::max(end, checked_add(segment.address, segment.memory_size).value_or(0));
        }
        return {module.bias + end};
    }

    /// Only files that can hold an interpreter are worth a search: those that say so, by their name
    /// or by the symbols any embedded interpreter exports.
    bool prepare_shape_search(Module& module) {
        const bool named = is_interpreter_name(module.path);
        const bool opened = target_.open_module(module).has_value();
        const bool exports = opened && module.image->symbol("PyEval_EvalCode").has_value();
        const bool is_program = module.path == target_.executable().value_or("");
        if (!named && !exports && !(is_program && !opened)) return false;
        shape_versions_ = possible_versions(memory_, module);
        if (!pointers_.knows_mappings()) {
            if (const auto mappings = target_.mappings()) pointers_.use(*mappings);
        }
        return true;
    }

    /// Tables, which are sure, come first, and then shapes of the versions that strings in the
    /// program's memory name: a shape alone does not tell 3.9 from 3.10.
    std::optional<Runtime> from_anonymous_memory() {
        const auto mappings = target_.mappings();
        if (!mappings) return std::nullopt;
        pointers_.use(*mappings);
        for (const Mapping& mapping : *mappings) {
            if (!mapping.readable || !mapping.writable) continue;
            if (auto runtime = search_cookie({}, mapping.range)) return runtime;
        }
        note_versions(*mappings);
        for (const Mapping& mapping : *mappings) {
            if (!mapping.readable || !mapping.writable) continue;
            if (auto runtime = search_shape({}, mapping.range)) return runtime;
        }
        return std::nullopt;
    }

    void note_versions(std::span<const Mapping> mappings) {
        shape_versions_.clear();
        for (const Mapping& mapping : mappings) {
            if (!mapping.readable || mapping.writable || !mapping.path.empty()) continue;
            search(mapping.range, [&](RemoteAddr, std::span<const std::byte> bytes) {
                for (const PythonVersion& version : versions_in(bytes)) {
                    if (std::ranges::find(shape_versions_, version) == shape_versions_.end())
                        shape_versions_.push_back(version);
                }
                return std::optional<Runtime>();
            });
        }
    }

    const target::Target& target_;
    const MemoryReader& memory_;
    InterpreterPointers pointers_{memory_};
    LocateOptions options_;
    std::vector<Module> modules_;
    std::vector<PythonVersion> shape_versions_;
    std::uint64_t searched_ = 0;
    bool layout_is_certain_ = false;
    std::optional<Error> rejected_;
};

}  // namespace

Result<Runtime> locate_runtime(const target::Target& target, const LocateOptions& options) {
    return Locator(target, options).locate();
}

std::optional<Runtime> runtime_of_file(const target::Target& target, elf::Module& module) {
    return Locator(target, {}).from_symbols(module);
}

}  // namespace pystack::cpython
