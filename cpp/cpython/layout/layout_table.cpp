#include "cpython/layout/layout_table.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace pystack::cpython {

namespace {

struct Column {
    std::uint8_t first_minor;
    std::uint8_t last_minor;
    bool free_threaded;
    bool release;
    bool debug;
};

constexpr Column kColumns[] = {
#define LAYOUT_COLUMN(first, last, free_threaded, release, debug) \
    {first, last, free_threaded, release, debug},
#define LAYOUT_ROW(section, field, ...)
#define LAYOUT_ROW_ON(architecture, section, field, ...)
#include "cpython/layout/layouts.inc"
};

constexpr std::uint8_t kFirstMinorWithOffsetTable = 13;
constexpr std::size_t kColumnCount = sizeof kColumns / sizeof kColumns[0];

void set_offsets(Layout& layout, std::size_t column, Architecture architecture) {
    constexpr std::uint32_t no = 0xffffffff;  // FieldOffset's own mark of absence.
    static_assert(!FieldOffset(no).has_value());
#define LAYOUT_COLUMN(first, last, free_threaded, release, debug)
#define LAYOUT_ROW(section, field, ...)                                    \
    {                                                                      \
        static constexpr std::uint32_t kValues[] = {__VA_ARGS__};          \
        static_assert(sizeof kValues == kColumnCount * sizeof kValues[0]); \
        layout.section.field = kValues[column];                            \
    }
#define LAYOUT_ROW_ON(name, section, field, ...) \
    if (architecture == Architecture::name) LAYOUT_ROW(section, field, __VA_ARGS__)
#include "cpython/layout/layouts.inc"
}

/// What differs between versions and is not an offset. Each fact names the header it is from.
void set_formats(Layout& layout, int minor) {
    // pystate.h (cpython/pystate.h): frame; cframe, until it went away with 3.13.
    layout.frame_chain = minor >= 13   ? FrameChain::kCurrentFrame
                         : minor >= 11 ? FrameChain::kCFrame
                                       : FrameChain::kFrameObject;
    // frameobject.h (f_lasti), pycore_frame.h (prev_instr, instr_ptr).
    layout.instruction = minor >= 13   ? Instruction::kCurrentUnit
                         : minor >= 11 ? Instruction::kPreviousUnit
                         : minor == 10 ? Instruction::kUnitIndex
                                       : Instruction::kByteIndex;
    // Objects/lnotab_notes.txt, InternalDocs/code_objects.md.
    layout.line_table = minor >= 11   ? LineTableFormat::kLocations311
                        : minor == 10 ? LineTableFormat::kLineTable310
                                      : LineTableFormat::kLnotab;
    // pycore_frame.h: FRAME_OWNED_BY_CSTACK since 3.12, FRAME_OWNED_BY_INTERPRETER in its place
    // since 3.14.
    layout.entry_mark = minor >= 12   ? EntryMark::kOwner
                        : minor == 11 ? EntryMark::kIsEntry
                                      : EntryMark::kNone;
    layout.first_shim_owner = minor >= 12 ? 3 : 255;
    // pycore_interp.h, pycore_runtime.h; 3.6: Python/ceval_gil.h, Modules/gcmodule.c.
    layout.gil_place = minor >= 12  ? GilPlace::kInterpreter
                       : minor >= 7 ? GilPlace::kRuntime
                                    : GilPlace::kSymbols;
    layout.gc_place = minor >= 9   ? GcPlace::kInterpreter
                      : minor >= 7 ? GcPlace::kRuntime
                                   : GcPlace::kNone;
    // pycore_stackref.h.
    layout.stack_ref = minor >= 15   ? StackRef::kTaggedIntInvalid
                       : minor == 14 ? StackRef::kTaggedInt
                                     : StackRef::kPointer;
    // pycore_frame.h, pycore_interpframe_structs.h.
    layout.stack_top = minor >= 14   ? StackTop::kPointer
                       : minor >= 11 ? StackTop::kIndex
                       : minor == 10 ? StackTop::kDepth
                                     : StackTop::kPointerIfSuspended;
    // Objects/genobject.c; 3.15: Modules/_remote_debugging/asyncio.c.
    layout.await_mark = minor >= 13   ? AwaitMark::kState
                        : minor >= 11 ? AwaitMark::kNextResume
                                      : AwaitMark::kNextYieldFrom;
    layout.awaited_slot = minor >= 15 ? 2 : 1;
    // Modules/_asynciomodule.c.
    layout.running_loop = minor >= 14   ? RunningLoopPlace::kPublished
                          : minor == 13 ? RunningLoopPlace::kBehindThreadState
                                        : RunningLoopPlace::kThreadDict;
    // cpython/longintrepr.h.
    layout.int_format = minor >= 12 ? IntFormat::kTag : IntFormat::kObSize;
    // pycore_dict.h; Objects/dict-common.h.
    layout.dict_format = minor >= 11 ? DictFormat::kLog2 : DictFormat::kSlots;
    // pycore_object.h.
    layout.instance_dict = minor >= 13   ? InstanceDict::kInlineValues
                           : minor == 12 ? InstanceDict::kTaggedBefore
                           : minor == 11 ? InstanceDict::kValuesBefore
                                         : InstanceDict::kDictOffset;
    layout.managed_dict_word = layout.free_threaded ? -1 : -3;
    // cpython/unicodeobject.h: `interned` is a char of its own in the free-threaded build
    // since 3.14.
    if (layout.free_threaded && minor >= 14) {
        layout.unicode_state = {.kind_shift = 8, .compact_shift = 11, .ascii_shift = 12};
    }
    // opcode.h; pycore_opcode_ids.h, opcode_ids.h.
    layout.with_handler = minor >= 15   ? WithHandler{.first = 30, .second = 41}
                          : minor == 14 ? WithHandler{.first = 32, .second = 43}
                          : minor == 13 ? WithHandler{.first = 33, .second = 44}
                          : minor >= 11 ? WithHandler{.first = 35, .second = 49}
                          : minor >= 9  ? WithHandler{.first = 49}
                                        : WithHandler{.first = 81};
    // pycore_frame.h, enum _framestate; 3.10: cpython/frameobject.h.
    constexpr std::int8_t kNone = GeneratorStates::kNone;
    if (minor >= 15) {
        layout.generator_states = {.created = 0,
                                   .suspended = 1,
                                   .yield_from = 2,
                                   .yield_from_locked = 3,
                                   .executing = 4,
                                   .finished = 5};
    } else if (minor >= 13) {
        layout.generator_states = {.created = -3,
                                   .suspended = -2,
                                   .yield_from = -1,
                                   .yield_from_locked = kNone,
                                   .executing = 0,
                                   .finished = 1};
    } else if (minor >= 10) {
        layout.generator_states = {.created = -2,
                                   .suspended = -1,
                                   .yield_from = kNone,
                                   .yield_from_locked = kNone,
                                   .executing = 0,
                                   .finished = 1};
    } else {
        layout.generator_states = {kNone, kNone, kNone, kNone, kNone, kNone};
    }
}

}  // namespace

bool PythonVersion::is_plausible() const {
    constexpr std::uint8_t kMostMinor = 99;
    const bool known_level = (release_level >= 0xA && release_level <= 0xC) || is_final();
    return major == 3 && minor <= kMostMinor && known_level;
}

bool PythonVersion::has_offset_table() const {
    return major > 3 || (major == 3 && minor >= kFirstMinorWithOffsetTable);
}

PythonVersion PythonVersion::from_hex(std::uint32_t hex) {
    return {.major = static_cast<std::uint8_t>(hex >> 24),
            .minor = static_cast<std::uint8_t>(hex >> 16),
            .micro = static_cast<std::uint8_t>(hex >> 8),
            .release_level = static_cast<std::uint8_t>((hex >> 4) & 0xF),
            .serial = static_cast<std::uint8_t>(hex & 0xF)};
}

std::string PythonVersion::to_string() const {
    std::string text =
        std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(micro);
    const char* level = release_level == 0xA   ? "a"
                        : release_level == 0xB ? "b"
                        : release_level == 0xC ? "rc"
                        : is_final()           ? nullptr
                                               : "?";
    if (level != nullptr) text += level + std::to_string(serial);
    return text;
}

Result<Layout> static_layout_of_minor(PythonVersion version, bool free_threaded, bool debug,
                                      Architecture architecture) {
    for (std::size_t i = 0; i < kColumnCount; ++i) {
        const Column& column = kColumns[i];
        if (version.major != 3 || version.minor < column.first_minor ||
            version.minor > column.last_minor || free_threaded != column.free_threaded ||
            !(debug ? column.debug : column.release)) {
            continue;
        }
        Layout layout;
        layout.version = version;
        layout.free_threaded = free_threaded;
        layout.debug = debug;
        set_offsets(layout, i, architecture);
        set_formats(layout, version.minor);
        return layout;
    }
    return fail(unsupported_version(version, free_threaded, ""));
}

Result<Layout> static_layout(PythonVersion version, bool free_threaded, bool debug,
                             Architecture architecture) {
    PYSTACK_TRY(layout, static_layout_of_minor(version, free_threaded, debug, architecture));
    if (!version.is_final()) {
        return fail(unsupported_version(version, free_threaded, " (a pre-release)"));
    }
    return layout;
}

std::vector<PythonVersion> versions_without_offset_table() {
    std::uint8_t oldest = kFirstMinorWithOffsetTable;
    for (const Column& column : kColumns) oldest = std::min(oldest, column.first_minor);
    std::vector<PythonVersion> versions;
    for (std::uint8_t minor = kFirstMinorWithOffsetTable; minor-- > oldest;) {
        versions.push_back({.major = 3, .minor = minor});
    }
    return versions;
}

std::string supported_versions_text() {
    const Column* oldest = &kColumns[0];
    const Column* newest = &kColumns[0];
    for (const Column& column : kColumns) {
        if (column.first_minor < oldest->first_minor) oldest = &column;
        if (column.last_minor > newest->last_minor) newest = &column;
    }
    return "3." + std::to_string(oldest->first_minor) + " to 3." +
           std::to_string(newest->last_minor);
}

Error unsupported_version(PythonVersion version, bool free_threaded, const char* reason) {
    return Error{.code = ErrorCode::kVersionUnsupported,
                 .what = "Python version",
                 .detail = std::string(free_threaded ? "free-threaded " : "") + "Python " +
                           version.to_string() + reason + " is not supported; supported are " +
                           supported_versions_text()};
}

}  // namespace pystack::cpython
