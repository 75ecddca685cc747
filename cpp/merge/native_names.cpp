#include "merge/native_names.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "cpython/runtime/glue_functions.h"
#include "merge/interpreter_glue.h"
#include "modules/jit_file.h"

namespace pystack::merge {

namespace {

using symbols::NameOrigin;
using symbols::SymbolizedAddress;
using symbols::SymbolizedFrame;

/// How the names of its files begin, with glibc and with musl.
constexpr std::array<std::string_view, 6> kCLibraries = {"libc.so", "libc-",    "libpthread",
                                                         "libm.so", "ld-linux", "ld-musl"};

model::NameSource source_of(NameOrigin origin) {
    switch (origin) {
        case NameOrigin::kDwarf:
            return model::NameSource::kDebugInfo;
        case NameOrigin::kSymtab:
        case NameOrigin::kDebugData:
        case NameOrigin::kDynsym:
        case NameOrigin::kPlt:
            return model::NameSource::kSymbols;
        case NameOrigin::kPerfMap:
            return model::NameSource::kPerfMap;
        case NameOrigin::kGiven:
        case NameOrigin::kNone:
            break;
    }
    return model::NameSource::kNone;
}

bool is_c_library(std::string_view path) {
    const std::string_view name = base_name(path);
    return std::any_of(kCLibraries.begin(), kCLibraries.end(),
                       [name](std::string_view prefix) { return name.starts_with(prefix); });
}

bool is_guess(modules::FrameOrigin origin) {
    return origin != modules::FrameOrigin::kRegisters &&
           origin != modules::FrameOrigin::kCallFrameInfo;
}

/// What CPython itself makes at run time (perf trampolines, its JIT) has such names, for gdb and in
/// perf maps [Python/perf_trampoline.c, Python/jit_unwind.c].
bool is_made_by_python(std::string_view function, std::string_view module) {
    return (module.empty() || module == modules::kJitPath) && function.starts_with("py::");
}

/// What stands for the code that a signal handler returns to.
std::string signal_text(const modules::NativeFrame& frame) {
    std::string text = "<signal handler called";
    if (frame.fault_address)
        text += ", last fault at address " + to_hex(frame.fault_address->value);
    return text + ">";
}

/// Whether the symbol tells more than the name in a type: of a slot that Python cannot call
/// (tp_dealloc), or of one that holds a function of the C API, which anybody may call
/// (PyObject_Free).
bool says_more(std::string_view symbol, std::string_view python_name) {
    if (symbol.empty()) return false;
    if (python_name.find(".tp_") != std::string_view::npos) return true;
    const bool is_slot = python_name.find(".__") != std::string_view::npos;
    return is_slot && (symbol.starts_with("Py") || symbol.starts_with("_Py"));
}

}  // namespace

NativeNames::NativeNames(const cpython::Runtime& runtime, modules::CodeMap& modules,
                         modules::DebugFileOptions debug_files)
    : runtime_(runtime),
      modules_(modules),
      symbolizer_(modules, {.debug_files = std::move(debug_files)}) {}

bool NativeNames::is_loop(const modules::NativeFrame& frame) {
    const SymbolizedFrame& function = symbolizer_.symbolize(frame).frames.back();
    return function.symbol.starts_with(cpython::kEvalLoopName) ||
           function.function.starts_with(cpython::kEvalLoopName);
}

void NativeNames::append(const modules::NativeFrame& native, bool runs_python,
                         std::vector<model::Frame>& out) {
    const SymbolizedAddress& address = symbolizer_.symbolize(native);
    const bool in_interpreter = address.module_path == runtime_.binary;
    const std::string name = python_name(native, address.frames.back());
    for (auto found = address.frames.rbegin(); found != address.frames.rend(); ++found) {
        const bool is_nameless = found->origin == NameOrigin::kNone;
        model::Frame frame;
        frame.kind = model::FrameKind::kNative;
        frame.function = found->function;
        frame.file = found->file;
        if (found->line > 0) frame.position.line = static_cast<std::int32_t>(found->line);
        model::NativeDetails& details = frame.native.emplace();
        details.signature = found->signature;
        details.symbol = found->symbol;
        details.module = address.module_path;
        details.build_id = address.build_id;
        details.address = native.pc.value;
        details.offset = address.module_address;
        details.is_inlined = found->is_inlined;
        details.is_guess = is_guess(native.origin);
        details.name_source = source_of(found->origin);
        if (!found->is_inlined) details.python_name = name;
        if (is_nameless && !details.python_name.empty()) {
            frame.function = details.signature = details.python_name;
            details.name_source = model::NameSource::kMethodTable;
        }
        if (native.returns_from_signal && !found->is_inlined) {
            frame.function = details.signature = signal_text(native);
            frame.file = {};
            frame.position = {};
        }
        details.is_plumbing =
            runs_python || native.is_perf_trampoline ||
            is_made_by_python(found->function, address.module_path) ||
            is_interpreter_glue(is_nameless ? "" : found->function, details.python_name,
                                base_name(address.module_path), in_interpreter);
        out.push_back(std::move(frame));
    }
}

std::string NativeNames::python_name(const modules::NativeFrame& frame,
                                     const symbols::SymbolizedFrame& symbol) {
    if (python_names_.empty()) return {};
    const auto function = symbolizer_.function_start(frame.lookup_address());
    if (!function) return {};
    if (const auto known = python_names_.find(*function); known != python_names_.end())
        return says_more(symbol.symbol, known->second) ? std::string() : known->second;
    if (symbol.origin != NameOrigin::kNone) return {};
    const cpython::FunctionNames& passed = passed_names(frame.module);
    const auto known = passed.find(*function);
    return known != passed.end() ? known->second : std::string();
}

/// What Python calls may do nothing but jump to the function that does the work, which is then all
/// that is on the stack.
const cpython::FunctionNames& NativeNames::passed_names(std::uint32_t module) {
    const auto [place, is_new] = passed_names_.try_emplace(module);
    if (!is_new) return place->second;
    std::unordered_map<RemoteAddr, std::vector<std::string>> found;
    for (const auto& [function, name] : python_names_) {
        const modules::CodeMap::Area* area = modules_.find(function);
        if (area == nullptr || area->module != module) continue;
        for (const RemoteAddr called : symbolizer_.tail_calls(function)) {
            if (!python_names_.contains(called)) found[called].push_back(name);
        }
    }
    constexpr std::size_t kMaxNames = 3;
    for (auto& [function, names] : found) {
        if (names.size() > kMaxNames) continue;
        std::sort(names.begin(), names.end());
        std::string text = names.front();
        for (std::size_t i = 1; i < names.size(); ++i) text += " or " + names[i];
        place->second.emplace(function, std::move(text));
    }
    return place->second;
}

std::string NativeNames::place(RemoteAddr address) {
    const modules::CodeMap::Area* area = modules_.find(address);
    if (area == nullptr || area->module == modules::kNoModule) return to_hex(address.value);
    const auto& module = modules_.module(area->module);
    const std::string name(base_name(modules_.path(area->module)));
    return module ? name + "+" + to_hex(module->file_address(address)) : name;
}

void mark_glue_by_place(std::vector<model::Frame>& frames, bool complete) {
    const auto is_nameless = [](const model::Frame& frame) {
        return frame.native && frame.native->name_source == model::NameSource::kNone;
    };
    const auto is_in = [](const model::Frame& frame, const std::string& module) {
        return frame.native && !module.empty() && frame.native->module == module;
    };
    const auto is_made_code = [&is_nameless](const model::Frame& frame) {
        return is_nameless(frame) && frame.native->module.empty();
    };
    bool starts = complete;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        if (!frames[i].native) {
            starts = false;
            continue;
        }
        model::NativeDetails& frame = *frames[i].native;
        const model::Frame* const caller = i > 0 ? &frames[i - 1] : nullptr;
        const bool loop_calls = caller == nullptr ? !complete : !caller->native;
        if (is_made_code(frames[i]) && (loop_calls || (caller != nullptr && is_made_code(*caller) &&
                                                       caller->native->is_plumbing))) {
            frame.is_plumbing = true;
        }
        starts = starts && (caller == nullptr || (caller->native && caller->native->is_plumbing));
        if (starts && frames[i].function == "main" && i + 1 < frames.size()) {
            const auto& next = frames[i + 1].native;
            frame.is_plumbing = next && next->is_plumbing;
        }
        const bool in_callers_module = caller != nullptr && is_in(*caller, frame.module);
        if (starts && is_nameless(frames[i])) {
            // Those of C++ begin in its own library.
            frame.is_plumbing |= caller == nullptr || in_callers_module ||
                                 base_name(frame.module).starts_with("libstdc++");
        }
        const bool is_internal =
            is_nameless(frames[i]) || frames[i].function.view().starts_with("__");
        if (in_callers_module && is_internal && is_c_library(frame.module)) {
            frame.is_plumbing |= !is_nameless(*caller) || caller->native->is_plumbing;
        }
    }
}

}  // namespace pystack::merge
