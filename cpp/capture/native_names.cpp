#include "capture/native_names.h"

#include <array>
#include <cstdio>

#include "capture/plumbing.h"

namespace pystack::capture {

namespace {

using unwind::NameOrigin;
using unwind::SymbolizedAddress;
using unwind::SymbolizedFrame;

constexpr std::string_view kLoopName = "_PyEval_EvalFrameDefault";

model::NameSource source_of(NameOrigin origin) {
    switch (origin) {
        case NameOrigin::kDwarf:
            return model::NameSource::kDebugInfo;
        case NameOrigin::kSymtab:
        case NameOrigin::kDebugData:
        case NameOrigin::kDynsym:
        case NameOrigin::kPlt:
            return model::NameSource::kSymbols;
        case NameOrigin::kGiven:
            return model::NameSource::kMethodTable;
        case NameOrigin::kNone:
            break;
    }
    return model::NameSource::kNone;
}

std::string_view base_name(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string hex(std::uint64_t value) {
    std::array<char, 24> text;
    std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(value));
    return text.data();
}

bool is_guess(unwind::FrameOrigin origin) {
    return origin != unwind::FrameOrigin::kRegisters &&
           origin != unwind::FrameOrigin::kCallFrameInfo;
}

}  // namespace

NativeNames::NativeNames(const cpython::Runtime& runtime, unwind::CodeMap& modules,
                         unwind::DebugFileOptions debug_files)
    : runtime_(runtime),
      modules_(modules),
      symbolizer_(modules, {.debug_files = std::move(debug_files)}) {}

bool NativeNames::is_loop(const unwind::NativeFrame& frame) {
    const SymbolizedFrame& function = symbolizer_.symbolize(frame).frames.back();
    return function.symbol.starts_with(kLoopName) || function.function.starts_with(kLoopName);
}

void NativeNames::append(const unwind::NativeFrame& native, bool runs_python,
                         std::vector<model::Frame>& out) {
    const SymbolizedAddress& address = symbolizer_.symbolize(native);
    const bool in_interpreter = address.module_path == runtime_.binary;
    for (auto found = address.frames.rbegin(); found != address.frames.rend(); ++found) {
        const bool has_name = found->origin != NameOrigin::kNone;
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
        // Of a function the outermost frame says what it is; what is inlined into it is a part.
        details.is_plumbing =
            runs_python || (found->origin != NameOrigin::kGiven &&
                            is_plumbing(has_name ? found->function : "", in_interpreter));
        out.push_back(std::move(frame));
    }
}

std::string NativeNames::place(RemoteAddr address) {
    const unwind::CodeMap::Area* area = modules_.find(address);
    if (area == nullptr || area->module == unwind::kNoModule) return hex(address.value);
    const auto& module = modules_.module(area->module);
    const std::string name(base_name(modules_.path(area->module)));
    return module ? name + "+" + hex(module->file_address(address)) : name;
}

void mark_start_up(std::vector<model::Frame>& frames) {
    for (std::size_t i = 0; i + 1 < frames.size(); ++i) {
        if (!frames[i].native) return;
        if (frames[i].function == "main") {
            frames[i].native->is_plumbing = frames[i + 1].native && frames[i + 1].native->is_plumbing;
            return;
        }
    }
}

}  // namespace pystack::capture
