#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

/// Bits of PyTypeObject.tp_flags [Include/object.h]; the kinds of builtin types are the same
/// since 3.0.
struct TypeFlags {
    static constexpr std::uint64_t kInlineValues = 1u << 2;  ///< 3.13+
    static constexpr std::uint64_t kManagedDict = 1u << 4;   ///< 3.11+
    static constexpr std::uint64_t kHeapType = 1u << 9;
    static constexpr std::uint64_t kLong = 1u << 24;
    static constexpr std::uint64_t kList = 1u << 25;
    static constexpr std::uint64_t kTuple = 1u << 26;
    static constexpr std::uint64_t kBytes = 1u << 27;
    static constexpr std::uint64_t kUnicode = 1u << 28;
    static constexpr std::uint64_t kDict = 1u << 29;
};

/// The beginning of a str. The text is UTF-8 in which lone surrogates keep their three-byte form:
/// what Python decodes with "surrogatepass".
struct StrPrefix {
    std::string text{};
    std::uint64_t length = 0;  ///< Of the whole str, in code points.
    bool complete = true;
};

struct BytesPrefix {
    std::vector<std::byte> bytes;
    std::uint64_t size = 0;  ///< Of the whole object.
};

// None of these functions asks whether the object is of the type it is read as: the caller knows,
// or has looked at the type's flags. An object that cannot be such a one is kCorruptData.

/// The whole str; kCorruptData if it is longer than `max_length` code points.
Result<std::string> read_str(const memory::MemoryReader& reader, const Layout& layout,
                             RemoteAddr str, std::size_t max_length);

/// As much of it as `max_length` code points.
Result<StrPrefix> read_str_prefix(const memory::MemoryReader& reader, const Layout& layout,
                                  RemoteAddr str, std::size_t max_length);

/// Many at once, with as many system calls as for one.
std::vector<Result<StrPrefix>> read_str_prefixes(const memory::MemoryReader& reader,
                                                 const Layout& layout,
                                                 std::span<const RemoteAddr> strs,
                                                 std::size_t max_length);

/// The contents of a bytes object; kCorruptData if there are more than `max_size`.
Result<std::vector<std::byte>> read_bytes_object(const memory::MemoryReader& reader,
                                                 const Layout& layout, RemoteAddr bytes,
                                                 std::size_t max_size);

Result<BytesPrefix> read_bytes_prefix(const memory::MemoryReader& reader, const Layout& layout,
                                      RemoteAddr bytes, std::size_t max_size);

/// The value of an int (or bool); nullopt when it does not fit.
Result<std::optional<std::int64_t>> read_int64(const memory::MemoryReader& reader,
                                               const Layout& layout, RemoteAddr integer);

/// How many bytes of an int decode_int64 needs, and the value from them, for reads in batches.
std::size_t int64_object_size(const Layout& layout);
Result<std::optional<std::int64_t>> decode_int64(const Layout& layout,
                                                 const memory::RemoteStruct& integer);

/// The address of the object's type.
Result<RemoteAddr> read_type(const memory::MemoryReader& reader, const Layout& layout,
                             RemoteAddr object);

Result<std::uint64_t> read_type_flags(const memory::MemoryReader& reader, const Layout& layout,
                                      RemoteAddr type);

/// tp_name of the object's type: the bare name for classes, with the module for most static types.
Result<std::string> read_type_name(const memory::MemoryReader& reader, const Layout& layout,
                                   RemoteAddr object);

/// The first `max_items` items of a tuple.
Result<std::vector<RemoteAddr>> read_tuple_items(const memory::MemoryReader& reader,
                                                 const Layout& layout, RemoteAddr tuple,
                                                 std::size_t max_items);

}  // namespace pystack::cpython
