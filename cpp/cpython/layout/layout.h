#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace pystack::cpython {

/// An offset inside a structure of the target, or its absence in this version.
class FieldOffset {
  public:
    constexpr FieldOffset() = default;
    constexpr FieldOffset(std::uint32_t offset) : offset_(offset) {}

    constexpr bool has_value() const { return offset_ != kAbsent; }
    constexpr explicit operator bool() const { return has_value(); }
    /// Only after has_value().
    constexpr std::uint32_t operator*() const { return offset_; }
    constexpr bool operator==(const FieldOffset&) const = default;

  private:
    static constexpr std::uint32_t kAbsent = 0xffffffff;
    std::uint32_t offset_ = kAbsent;
};

struct PythonVersion {
    std::uint8_t major = 0;
    std::uint8_t minor = 0;
    std::uint8_t micro = 0;
    /// As in PY_VERSION_HEX: 0xA alpha, 0xB beta, 0xC candidate, 0xF final.
    std::uint8_t release_level = 0xF;
    std::uint8_t serial = 0;

    constexpr auto operator<=>(const PythonVersion&) const = default;
    /// Neither a pre-release nor a level that does not exist.
    bool is_final() const { return release_level == 0xF; }
    /// That there can be such a release.
    bool is_plausible() const;
    /// Whether its interpreters publish their offsets, _Py_DebugOffsets: since 3.13.
    bool has_offset_table() const;
    static PythonVersion from_hex(std::uint32_t hex);
    std::string to_string() const;
};

/// Differences between versions that are not offsets. No code outside layout_* compares versions:
/// it switches on these.
enum class FrameChain : std::uint8_t {
    kFrameObject,   ///< <= 3.10: tstate.frame, heap PyFrameObjects linked by f_back.
    kCFrame,        ///< 3.11, 3.12: tstate.cframe -> current_frame.
    kCurrentFrame,  ///< 3.13+: tstate.current_frame.
};
enum class Instruction : std::uint8_t {
    kByteIndex,     ///< <= 3.9: f_lasti counts bytes, -1 = not started.
    kUnitIndex,     ///< 3.10: f_lasti counts 2-byte code units, -1 = not started.
    kPreviousUnit,  ///< 3.11, 3.12: prev_instr points at the last unit executed.
    kCurrentUnit,   ///< 3.13+: instr_ptr points at the unit being executed.
};
enum class LineTableFormat : std::uint8_t { kLnotab, kLineTable310, kLocations311 };
enum class EntryMark : std::uint8_t {
    kNone,     ///< <= 3.10: nothing in the frame tells.
    kIsEntry,  ///< 3.11: interpreter_frame.is_entry.
    kOwner,    ///< 3.12+: a shim frame whose owner is not a thread, generator or frame object.
};
enum class GilPlace : std::uint8_t {
    kSymbols,      ///< 3.6: separate static variables, found by symbol.
    kRuntime,      ///< 3.7-3.11: embedded in _PyRuntime.
    kInterpreter,  ///< 3.12+: interpreter_state.ceval_gil points at it.
};
enum class GcPlace : std::uint8_t { kNone, kRuntime, kInterpreter };
/// What a frame's localsplus, executable and funcobj hold. pycore_stackref.h of 3.13 declares
/// tagged references too, but nothing in a frame is one there, not even in the free-threaded build.
enum class StackRef : std::uint8_t {
    kPointer,    ///< <= 3.13: plain PyObject*.
    kTaggedInt,  ///< 3.14: low bits 1 = not counted, 3 = an int (bits >> 2); 1 alone is NULL.
    kTaggedIntInvalid,  ///< 3.15: as kTaggedInt, and 2 = not an object (an error).
};
/// What interpreter_frame.stackpointer says.
enum class StackTop : std::uint8_t {
    kPointerIfSuspended,  ///< <= 3.9: f_stacktop, null while the frame runs.
    kDepth,               ///< 3.10: f_stackdepth, entries above valuestack; -1 while it runs.
    kIndex,               ///< 3.11-3.13: an int, index into localsplus; -1 while it runs.
    kPointer,             ///< 3.14+: null while it runs.
};
/// How a suspended generator or coroutine says that it awaits another (or yields from one), and
/// does not just yield. [_PyGen_yf, Objects/genobject.c]
enum class AwaitMark : std::uint8_t {
    kNextYieldFrom,  ///< <= 3.10: the next instruction is YIELD_FROM.
    kNextResume,     ///< 3.11, 3.12: the next instruction is a RESUME whose argument says so.
    kState,          ///< 3.13+: GeneratorStates::yield_from.
};
/// Where a thread has the asyncio event loop that runs in it.
enum class RunningLoopPlace : std::uint8_t {
    kThreadDict,         ///< <= 3.12: in the dict of the thread state.
    kBehindThreadState,  ///< 3.13: the word at thread_state.struct_size [pycore_tstate.h].
    kPublished,          ///< 3.14+: where the offsets that asyncio publishes say.
};
enum class IntFormat : std::uint8_t { kObSize, kTag };
enum class DictFormat : std::uint8_t {
    kSlots,  ///< 3.6-3.10: dk_size slots, index width from it, 24-byte entries.
    kLog2,   ///< 3.11+: logarithms and dk_kind.
};
/// Where the attributes of an instance are whose type has Py_TPFLAGS_MANAGED_DICT (3.11+, bit 4 of
/// tp_flags); other types have a dict pointer at tp_dictoffset in every version. Words before the
/// object: Layout::managed_dict_word. [pycore_object.h]
enum class InstanceDict : std::uint8_t {
    kDictOffset,    ///< <= 3.10: no such types.
    kValuesBefore,  ///< 3.11: dict pointer, and a pointer to values in the word before it.
    kTaggedBefore,  ///< 3.12: one word: the dict, or with bit 0 set the values (at word + 1).
    kInlineValues,  ///< 3.13+: dict pointer, and dict_values at tp_basicsize: theirs when they are
                    ///< `valid` and the type has Py_TPFLAGS_INLINE_VALUES (bit 2).
};
/// gen_object.gi_frame_state and PyFrameState. States at or above `finished` are over.
/// [pycore_frame.h]
struct GeneratorStates {
    static constexpr std::int8_t kNone = 127;  ///< This version has no such state.
    std::int8_t created = 0;
    std::int8_t suspended = 1;
    std::int8_t yield_from = 2;         ///< 3.13+: suspended in an await or yield from.
    std::int8_t yield_from_locked = 3;  ///< 3.15+: the same while another thread looks.
    std::int8_t executing = 4;
    std::int8_t finished = 5;
};
/// How the handler of a with block begins: PUSH_EXC_INFO and WITH_EXCEPT_START (3.11+), or with
/// WITH_EXCEPT_START or WITH_CLEANUP_START alone. [opcode.h, opcode_ids.h]
struct WithHandler {
    std::uint8_t first = 0;
    std::uint8_t second = 0;
};
/// Bits of PyASCIIObject.state. In the free-threaded 3.14+ `interned` is a whole byte.
struct UnicodeState {
    std::uint8_t kind_shift = 2;
    std::uint8_t compact_shift = 5;
    std::uint8_t ascii_shift = 6;
};

/// The shape of one interpreter's structures: _Py_DebugOffsets extended. Offsets are in bytes. The
/// size of a section is `struct_size` (0: the structure does not exist in this version).
///
/// From the target's own table on 3.13+ (debug_offsets.h), from generated rows below and for fields
/// the table lacks (layout_table.h); always checked (layout_check.h) before first use.
struct Layout {
    PythonVersion version;
    bool free_threaded = false;
    /// Py_DEBUG build with a layout of its own: below 3.8 two more words head each object. From 3.8
    /// on no offset that is kept here depends on it, and it stays as the caller gave it.
    bool debug = false;

    FrameChain frame_chain = FrameChain::kCurrentFrame;
    Instruction instruction = Instruction::kCurrentUnit;
    LineTableFormat line_table = LineTableFormat::kLocations311;
    EntryMark entry_mark = EntryMark::kOwner;
    GilPlace gil_place = GilPlace::kInterpreter;
    GcPlace gc_place = GcPlace::kInterpreter;
    StackRef stack_ref = StackRef::kPointer;
    IntFormat int_format = IntFormat::kTag;
    DictFormat dict_format = DictFormat::kLog2;
    InstanceDict instance_dict = InstanceDict::kInlineValues;
    StackTop stack_top = StackTop::kPointer;
    AwaitMark await_mark = AwaitMark::kState;
    /// Where on the value stack of a suspended coroutine the awaited object is: 1 is the top.
    std::uint8_t awaited_slot = 1;
    RunningLoopPlace running_loop = RunningLoopPlace::kPublished;
    UnicodeState unicode_state;
    GeneratorStates generator_states;
    WithHandler with_handler;
    /// interpreter_frame.owner values at or above this mark frames that run no Python code: 3
    /// on 3.12, 3.13 (C stack) and 3.14, 3.15 (interpreter; 3.14 also declares 4). 255, which no
    /// frame has, on 3.11.
    std::uint8_t first_shim_owner = 3;
    /// interpreter_frame.owner of frames that live inside a generator or coroutine.
    std::uint8_t generator_owner = 1;
    /// interpreter_frame.owner of frames that a frame object has taken over. The interpreter runs
    /// none of these; compiled code does.
    std::uint8_t frame_object_owner = 2;
    /// Where the managed dict pointer is, in pointer-sized words from the object: -3, or -1
    /// free-threaded.
    std::int8_t managed_dict_word = -3;

#define PYSTACK_LAYOUT_SECTION(section) \
    struct section##_fields {           \
        std::uint32_t struct_size = 0;
#define PYSTACK_LAYOUT_FIELD(section, field, width) FieldOffset field;
#define PYSTACK_LAYOUT_END(section) \
    }                               \
    section;
#include "cpython/layout/layout_fields.def"
};

}  // namespace pystack::cpython
