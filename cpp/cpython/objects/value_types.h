#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Which way an object is shown. Subclasses have the kind of the built-in they derive from.
enum class ValueKind : std::uint8_t {
    kOther,  ///< Instances of classes, and everything that nobody here knows.
    kNone,
    kEllipsis,
    kNotImplemented,
    kBool,
    kInt,
    kFloat,
    kComplex,
    kStr,
    kBytes,
    kByteArray,
    kTuple,
    kList,
    kDict,
    kFrozenDict,  ///< 3.15+
    kOrderedDict,
    kDefaultDict,
    kMappingProxy,
    kDictKeys,
    kDictValues,
    kDictItems,
    kSet,
    kFrozenSet,
    kDeque,
    kRange,
    kSlice,
    kCell,
    kException,
    kClass,
    kModule,
    kFunction,
    kMethod,
    kBuiltin,
    kMethodDescriptor,
    kSlotWrapper,
    kMember,
    kGetSet,
    kGenerator,
    kCoroutine,
    kAsyncGenerator,
    kDate,
    kDateTime,
    kTime,
    kTimeDelta,
    kTimeZone,
    kZoneInfo,
    kNumpyArray,
    kNumpyScalar,
    kLock,
    kRLock,
    kEvent,  ///< This and the others below: classes of threading and queue.
    kSemaphore,
    kCondition,
    kQueue,
    kBarrier,
    kThread,
    kFuture,            ///< Of concurrent.futures.
    kModuleLock,        ///< importlib's: who imports a module.
    kSimpleQueue,       ///< queue.SimpleQueue in C.
    kPySimpleQueue,     ///< The same in Python, where there is no C.
    kGeneratorContext,  ///< What @contextmanager and @asynccontextmanager make.
};

/// What is known of one type object. Names are escaped.
struct TypeInfo {
    RemoteAddr address;
    ValueKind kind = ValueKind::kOther;
    bool exact = false;  ///< The built-in itself, no subclass of it.
    bool heap = false;   ///< Made at run time: by a class statement or by an extension module.
    bool is_enum = false;
    std::uint64_t flags = 0;
    std::uint64_t basic_size = 0;
    std::uint64_t own_members = 0;  ///< Py_SIZE of a heap type: the number of its PyMemberDefs.
    RemoteAddr base;
    RemoteAddr metatype;
    RemoteAddr dict;
    std::string tp_name;
    std::string name;      ///< __name__
    std::string qualname;  ///< __qualname__, where there is one.
};

/// An attribute that lives in the object itself because of __slots__.
struct SlotMember {
    std::string name;
    std::uint64_t offset;
};

/// Whether a search among these keys (PyDictKeysObject) ends soon: no class and no instance has
/// more than some hundreds of attributes, and a target whose memory is corrupt must not cost
/// seconds.
bool is_searchable(const memory::MemoryReader& memory, const Layout& layout, RemoteAddr keys);

/// Reads type objects, each once. Static types are told by their names alone; so a class made with
/// type() whose name pretends to be "collections.deque" is read as one, and shows nonsense.
class TypeCache {
  public:
    TypeCache(const memory::MemoryReader& memory, const Layout& layout);

    void clear() { types_.clear(); }

    /// Valid until the cache is cleared.
    Result<const TypeInfo*> find(RemoteAddr type);
    Result<const TypeInfo*> of(RemoteAddr object);

    /// With the module, as in "int" or "app.models.User".
    const std::string& full_name(const TypeInfo& type);
    /// The field names of a namedtuple class; nullptr for any other.
    const std::vector<std::string>* named_fields(const TypeInfo& type);
    /// Of the class and its bases, the outermost base first; in the order of `__slots__` where that
    /// is a tuple or a list.
    const std::vector<SlotMember>& slots(const TypeInfo& type);

  private:
    struct Entry {
        Result<TypeInfo> info;
        std::optional<std::string> full_name;
        std::optional<std::optional<std::vector<std::string>>> named_fields;
        std::optional<std::vector<SlotMember>> slots;
    };

    Entry& entry(RemoteAddr type, int depth);
    Result<TypeInfo> read(RemoteAddr type, int depth);
    Result<TypeInfo> read_head(RemoteAddr type);
    Result<void> classify(TypeInfo& info, int depth);
    /// An attribute of the class itself, not of its bases.
    std::optional<RemoteAddr> attribute(const TypeInfo& type, std::string_view name);
    std::optional<ValueKind> kind_of_class(const TypeInfo& type);
    std::optional<std::string> module_of(const TypeInfo& type);  ///< Escaped __module__.
    std::optional<std::vector<std::string>> read_names(RemoteAddr sequence);
    std::vector<SlotMember> read_slots(const TypeInfo& type);
    /// The class and its bases, itself first, as tp_base links them.
    std::vector<const TypeInfo*> bases(const TypeInfo& type);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    std::unordered_map<RemoteAddr, Entry> types_;
};

}  // namespace pystack::cpython
