#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model/boxed.h"
#include "model/text.h"
#include "model/variables.h"

namespace pystack::model {

enum class FrameKind : std::uint8_t {
    kPython,
    kNative,
    kMarker,
    kGap,  ///< Native frames are missing here; `function` says why.
};

/// Where the name of a native function is from.
enum class NameSource : std::uint8_t {
    kNone,         ///< There is none: `function` is the module and the address.
    kDebugInfo,    ///< DWARF.
    kSymbols,      ///< A symbol table.
    kMethodTable,  ///< The interpreter's tables of functions: the name is that in Python.
    kPerfMap,      ///< The file in which the target names code that it made at run time.
};

/// What a native frame has that a Python frame has not.
struct NativeDetails {
    std::string python_name;  ///< By the interpreter's tables of functions; empty if in none.
    std::string signature;    ///< With parameters; as `function` where that is all there is.
    std::string symbol;       ///< As in the symbol table; empty when there is none.
    std::string module;       ///< Path; empty for code that is in no file.
    std::string build_id;
    std::uint64_t address = 0;  ///< The next instruction, in the target.
    std::uint64_t offset = 0;   ///< The same as in the module's headers.
    bool is_inlined = false;
    bool is_plumbing = false;
    bool is_guess = false;  ///< There was no call frame information that leads here.
    NameSource name_source = NameSource::kNone;
};

/// Positions as co_positions() gives them: lines from 1, columns as UTF-8 byte offsets from 0.
struct SourcePosition {
    std::optional<std::int32_t> line{};
    std::optional<std::int32_t> end_line{};
    std::optional<std::int32_t> column{};
    std::optional<std::int32_t> end_column{};

    bool operator==(const SourcePosition&) const = default;
};

struct Frame {
    FrameKind kind = FrameKind::kPython;
    Text function;
    std::optional<Text> qualname;
    Text file;
    std::int32_t first_line = 0;
    SourcePosition position;
    Boxed<FrameVariables> variables;  ///< Only when they were asked for.
    Boxed<NativeDetails> native;      ///< Only of native frames.
    /// Of a Python frame that another interpreter runs than the thread it is listed with.
    std::optional<std::int64_t> interpreter_id;
};

}  // namespace pystack::model
