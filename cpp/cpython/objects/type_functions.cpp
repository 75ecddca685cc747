#include "cpython/objects/type_functions.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <span>

#include "memory/remote_struct.h"

namespace pystack::cpython {

namespace {

using memory::MemoryReader;
using memory::RemoteStruct;

constexpr std::size_t kMaxTable = 4096;
constexpr std::size_t kMaxNameLength = 256;

/// Members of public structures behind their first one, in every version [cpython/object.h,
/// methodobject.h, descrobject.h]: PyTypeObject's begin with tp_name.
namespace type_member {
constexpr std::uint32_t kDealloc = 24;
constexpr std::uint32_t kAsAsync = 56;
constexpr std::uint32_t kRepr = 64;
constexpr std::uint32_t kAsNumber = 72;
constexpr std::uint32_t kAsSequence = 80;
constexpr std::uint32_t kAsMapping = 88;
constexpr std::uint32_t kHash = 96;
constexpr std::uint32_t kCall = 104;
constexpr std::uint32_t kStr = 112;
constexpr std::uint32_t kGetattro = 120;
constexpr std::uint32_t kSetattro = 128;
constexpr std::uint32_t kTraverse = 160;
constexpr std::uint32_t kClear = 168;
constexpr std::uint32_t kRichcompare = 176;
constexpr std::uint32_t kIter = 192;
constexpr std::uint32_t kIternext = 200;
constexpr std::uint32_t kMethods = 208;
constexpr std::uint32_t kGetset = 224;
constexpr std::uint32_t kBase = 232;
constexpr std::uint32_t kDescrGet = 248;
constexpr std::uint32_t kDescrSet = 256;
constexpr std::uint32_t kInit = 272;
constexpr std::uint32_t kNew = 288;
constexpr std::uint32_t kFinalize = 368;
constexpr std::uint32_t kVectorcall = 376;  // Since 3.8.
constexpr std::uint32_t kEnd = 384;
}  // namespace type_member

struct Slot {
    const char* name;
    std::uint32_t table;  ///< Member of the type that points to a structure; 0: the type itself.
    std::uint32_t offset;
};

// Where two methods share a slot (__add__ and __radd__) the first is named; where they are as
// likely, the slot.
constexpr Slot kSlots[] = {
    {"__call__", 0, type_member::kCall},
    {"__iter__", 0, type_member::kIter},
    {"__next__", 0, type_member::kIternext},
    {"__init__", 0, type_member::kInit},
    {"__new__", 0, type_member::kNew},
    {"__new__", 0, type_member::kVectorcall},
    {"__repr__", 0, type_member::kRepr},
    {"__str__", 0, type_member::kStr},
    {"__hash__", 0, type_member::kHash},
    {"__getattribute__", 0, type_member::kGetattro},
    {"__setattr__", 0, type_member::kSetattro},
    {"__get__", 0, type_member::kDescrGet},
    {"__set__", 0, type_member::kDescrSet},
    {"__del__", 0, type_member::kFinalize},
    {"tp_richcompare", 0, type_member::kRichcompare},
    {"tp_dealloc", 0, type_member::kDealloc},
    {"tp_traverse", 0, type_member::kTraverse},
    {"tp_clear", 0, type_member::kClear},
    {"__await__", type_member::kAsAsync, 0},
    {"__aiter__", type_member::kAsAsync, 8},
    {"__anext__", type_member::kAsAsync, 16},
    {"__len__", type_member::kAsMapping, 0},
    {"__getitem__", type_member::kAsMapping, 8},
    {"__setitem__", type_member::kAsMapping, 16},
    {"__len__", type_member::kAsSequence, 0},
    {"__add__", type_member::kAsSequence, 8},
    {"__mul__", type_member::kAsSequence, 16},
    {"__getitem__", type_member::kAsSequence, 24},
    {"__setitem__", type_member::kAsSequence, 40},
    {"__contains__", type_member::kAsSequence, 56},
    {"__iadd__", type_member::kAsSequence, 64},
    {"__imul__", type_member::kAsSequence, 72},
    {"__add__", type_member::kAsNumber, 0},
    {"__sub__", type_member::kAsNumber, 8},
    {"__mul__", type_member::kAsNumber, 16},
    {"__mod__", type_member::kAsNumber, 24},
    {"__divmod__", type_member::kAsNumber, 32},
    {"__pow__", type_member::kAsNumber, 40},
    {"__neg__", type_member::kAsNumber, 48},
    {"__pos__", type_member::kAsNumber, 56},
    {"__abs__", type_member::kAsNumber, 64},
    {"__bool__", type_member::kAsNumber, 72},
    {"__invert__", type_member::kAsNumber, 80},
    {"__lshift__", type_member::kAsNumber, 88},
    {"__rshift__", type_member::kAsNumber, 96},
    {"__and__", type_member::kAsNumber, 104},
    {"__xor__", type_member::kAsNumber, 112},
    {"__or__", type_member::kAsNumber, 120},
    {"__int__", type_member::kAsNumber, 128},
    {"__float__", type_member::kAsNumber, 144},
    {"__iadd__", type_member::kAsNumber, 152},
    {"__isub__", type_member::kAsNumber, 160},
    {"__imul__", type_member::kAsNumber, 168},
    {"__imod__", type_member::kAsNumber, 176},
    {"__ipow__", type_member::kAsNumber, 184},
    {"__ilshift__", type_member::kAsNumber, 192},
    {"__irshift__", type_member::kAsNumber, 200},
    {"__iand__", type_member::kAsNumber, 208},
    {"__ixor__", type_member::kAsNumber, 216},
    {"__ior__", type_member::kAsNumber, 224},
    {"__floordiv__", type_member::kAsNumber, 232},
    {"__truediv__", type_member::kAsNumber, 240},
    {"__ifloordiv__", type_member::kAsNumber, 248},
    {"__itruediv__", type_member::kAsNumber, 256},
    {"__index__", type_member::kAsNumber, 264},
    {"__matmul__", type_member::kAsNumber, 272},
    {"__imatmul__", type_member::kAsNumber, 280},
};
constexpr std::uint32_t kSlotTableSize = 288;

/// The tables begin with a name and a function; `size` is that of one row. `functions`: how many
/// there are in it.
std::vector<NamedFunction> read_table(const MemoryReader& reader, RemoteAddr table,
                                      std::size_t size, std::size_t functions) {
    std::vector<NamedFunction> found;
    std::array<std::byte, 40> row;
    for (std::size_t i = 0; table && i < kMaxTable; ++i) {
        const RemoteAddr address = table + i * size;
        if (!reader.read(address, std::span(row).first(size))) break;
        const RemoteStruct fields(address, row);
        const RemoteAddr name = fields.pointer(0).value_or(RemoteAddr{});
        if (!name) break;
        const auto text = reader.read_c_string(name, kMaxNameLength);
        if (!text) break;
        for (std::size_t j = 0; j < functions; ++j) {
            const RemoteAddr function = fields.pointer(8 + 8 * j).value_or(RemoteAddr{});
            if (function) found.push_back({function, *text});
        }
    }
    return found;
}

}  // namespace

std::vector<NamedFunction> read_method_table(const MemoryReader& reader, RemoteAddr table) {
    return read_table(reader, table, 32, 1);
}

TypeFunctions read_type_functions(const MemoryReader& reader, const Layout& layout,
                                  RemoteAddr type) {
    TypeFunctions found;
    found.slots.resize(std::size(kSlots));
    if (!layout.type_object.tp_name) return found;
    const RemoteAddr begin = type + *layout.type_object.tp_name;
    std::array<std::byte, type_member::kEnd> bytes;
    // Those of the last versions are behind what the first ones have.
    const std::size_t behind = layout.type_object.struct_size - *layout.type_object.tp_name;
    const auto known = std::span(bytes).first(std::min(bytes.size(), behind));
    if (!reader.read(begin, known)) return found;
    const RemoteStruct members(begin, known);
    const auto member = [&](std::uint32_t offset) {
        return members.pointer(offset).value_or(RemoteAddr{});
    };
    found.base = member(type_member::kBase);
    found.methods = read_method_table(reader, member(type_member::kMethods));
    found.accessors = read_table(reader, member(type_member::kGetset), 40, 2);
    std::array<std::byte, kSlotTableSize> table_bytes;
    std::optional<RemoteStruct> table;
    std::uint32_t table_member = 0;
    for (std::size_t i = 0; i < std::size(kSlots); ++i) {
        const Slot& slot = kSlots[i];
        if (slot.table == 0) {
            found.slots[i] = member(slot.offset);
            continue;
        }
        if (slot.table != table_member) {
            table_member = slot.table;
            table.reset();
            const RemoteAddr address = member(slot.table);
            if (address) {
                const std::size_t size = reader.read_up_to(address, table_bytes);
                table.emplace(address, std::span<const std::byte>(table_bytes).first(size));
            }
        }
        if (table) found.slots[i] = table->pointer(slot.offset).value_or(RemoteAddr{});
    }
    return found;
}

const char* slot_name(std::size_t i) {
    return i < std::size(kSlots) ? kSlots[i].name : "";
}

}  // namespace pystack::cpython
