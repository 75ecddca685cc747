#include "cpython/objects/builtin_types.h"

#include <optional>
#include <string_view>

#include "cpython/objects/objects.h"

namespace pystack::cpython {

namespace {

using memory::MemoryReader;

// Bits of tp_flags [Include/object.h]; those above the lower half are not used.
constexpr std::uint64_t kReady = std::uint64_t{1} << 12;
constexpr std::uint64_t kDictSubclass = std::uint64_t{1} << 29;
constexpr std::uint64_t kTypeSubclass = std::uint64_t{1} << 31;
/// int, list, tuple, bytes, str, dict, exceptions, types: nothing is two of them.
constexpr std::uint64_t kAnySubclass = std::uint64_t{0xff} << 24;
constexpr std::uint64_t kUnused = std::uint64_t{0xffffffff} << 32;

/// sizeof(_Py_CODEUNIT).
constexpr std::int64_t kUnitBytes = 2;

/// nullopt: the name cannot be read.
std::optional<bool> has_name(const MemoryReader& reader, const Layout& layout, RemoteAddr type,
                             std::string_view wanted) {
    const auto pointer = reader.read_pointer(type + *layout.type_object.tp_name);
    if (!pointer) return false;  // The type itself cannot be read: it is none.
    const auto name = reader.read_c_string(*pointer, wanted.size() + 1);
    if (name) return *name == wanted;
    if (name.error().code != ErrorCode::kReadFault) return false;
    return std::nullopt;
}

bool has_flags(const MemoryReader& reader, const Layout& layout, RemoteAddr type,
               std::uint64_t subclass) {
    const auto flags = read_type_flags(reader, layout, type);
    return flags && (*flags & (kReady | kAnySubclass | kUnused)) == (kReady | subclass);
}

/// A type that is ready, as is its own type.
bool is_type(const MemoryReader& reader, const Layout& layout, RemoteAddr type,
             std::uint64_t subclass) {
    if (!has_flags(reader, layout, type, subclass)) return false;
    const auto metatype = read_type(reader, layout, type);
    return metatype && has_flags(reader, layout, *metatype, kTypeSubclass);
}

}  // namespace

bool is_dict_type(const MemoryReader& reader, const Layout& layout, RemoteAddr type) {
    if (const auto named = has_name(reader, layout, type, "dict")) return *named;
    return is_type(reader, layout, type, kDictSubclass);
}

bool is_code_type(const MemoryReader& reader, const Layout& layout, RemoteAddr type) {
    if (const auto named = has_name(reader, layout, type, "code")) return *named;
    const auto& fields = layout.type_object;
    if (!fields.tp_basicsize || !fields.tp_itemsize || !is_type(reader, layout, type, 0))
        return false;
    const auto size = reader.read_value<std::int64_t>(type + *fields.tp_basicsize);
    const auto item_size = reader.read_value<std::int64_t>(type + *fields.tp_itemsize);
    if (!size || !item_size) return false;
    // The instructions are part of the object since 3.11 [Objects/codeobject.c].
    const auto instructions = layout.code_object.co_code_adaptive;
    const auto wanted_size = instructions ? *instructions : layout.code_object.struct_size;
    return *size == wanted_size && *item_size == (instructions ? kUnitBytes : 0);
}

}  // namespace pystack::cpython
