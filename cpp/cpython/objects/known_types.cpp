#include "cpython/objects/known_types.h"

#include <algorithm>
#include <ranges>

namespace pystack::cpython {

namespace {

struct KnownType {
    std::string_view name;
    ValueKind kind;
};

/// Static types of the interpreter itself: tp_name without a module. A class of the program may
/// have the same name, but is a heap type.
constexpr KnownType kBuiltins[] = {
    {"NoneType", ValueKind::kNone},
    {"ellipsis", ValueKind::kEllipsis},
    {"NotImplementedType", ValueKind::kNotImplemented},
    {"bool", ValueKind::kBool},
    {"int", ValueKind::kInt},
    {"float", ValueKind::kFloat},
    {"complex", ValueKind::kComplex},
    {"str", ValueKind::kStr},
    {"bytes", ValueKind::kBytes},
    {"bytearray", ValueKind::kByteArray},
    {"tuple", ValueKind::kTuple},
    {"list", ValueKind::kList},
    {"dict", ValueKind::kDict},
    {"frozendict", ValueKind::kFrozenDict},
    {"mappingproxy", ValueKind::kMappingProxy},
    {"dict_keys", ValueKind::kDictKeys},
    {"dict_values", ValueKind::kDictValues},
    {"dict_items", ValueKind::kDictItems},
    {"set", ValueKind::kSet},
    {"frozenset", ValueKind::kFrozenSet},
    {"range", ValueKind::kRange},
    {"slice", ValueKind::kSlice},
    {"cell", ValueKind::kCell},
    {"BaseException", ValueKind::kException},
    {"type", ValueKind::kClass},
    {"module", ValueKind::kModule},
    {"function", ValueKind::kFunction},
    {"method", ValueKind::kMethod},
    {"builtin_function_or_method", ValueKind::kBuiltin},
    {"method_descriptor", ValueKind::kMethodDescriptor},
    {"wrapper_descriptor", ValueKind::kSlotWrapper},
    {"member_descriptor", ValueKind::kMember},
    {"getset_descriptor", ValueKind::kGetSet},
    {"generator", ValueKind::kGenerator},
    {"coroutine", ValueKind::kCoroutine},
    {"async_generator", ValueKind::kAsyncGenerator},
};

/// Types of extension modules, static or heap types by version.
constexpr KnownType kExtensionTypes[] = {
    {"collections.OrderedDict", ValueKind::kOrderedDict},
    {"collections.defaultdict", ValueKind::kDefaultDict},
    {"collections.deque", ValueKind::kDeque},
    {"datetime.date", ValueKind::kDate},
    {"datetime.datetime", ValueKind::kDateTime},
    {"datetime.time", ValueKind::kTime},
    {"datetime.timedelta", ValueKind::kTimeDelta},
    {"datetime.timezone", ValueKind::kTimeZone},
    {"zoneinfo.ZoneInfo", ValueKind::kZoneInfo},
    {"_thread.lock", ValueKind::kLock},
    {"_thread.RLock", ValueKind::kRLock},
    {"_queue.SimpleQueue", ValueKind::kSimpleQueue},
    {"numpy.ndarray", ValueKind::kNumpyArray},
    {"numpy.bool_", ValueKind::kNumpyScalar},
    {"numpy.bool", ValueKind::kNumpyScalar},
    {"numpy.int8", ValueKind::kNumpyScalar},
    {"numpy.int16", ValueKind::kNumpyScalar},
    {"numpy.int32", ValueKind::kNumpyScalar},
    {"numpy.int64", ValueKind::kNumpyScalar},
    {"numpy.uint8", ValueKind::kNumpyScalar},
    {"numpy.uint16", ValueKind::kNumpyScalar},
    {"numpy.uint32", ValueKind::kNumpyScalar},
    {"numpy.uint64", ValueKind::kNumpyScalar},
    {"numpy.float32", ValueKind::kNumpyScalar},
    {"numpy.float64", ValueKind::kNumpyScalar},
    {"numpy.complex64", ValueKind::kNumpyScalar},
    {"numpy.complex128", ValueKind::kNumpyScalar},
};

/// Classes written in Python, which __module__ tells from others of their names.
constexpr KnownClass kClasses[] = {
    {"Event", "threading", ValueKind::kEvent},
    {"Semaphore", "threading", ValueKind::kSemaphore},
    {"BoundedSemaphore", "threading", ValueKind::kSemaphore},
    {"Condition", "threading", ValueKind::kCondition},
    {"Queue", "queue", ValueKind::kQueue},
    {"LifoQueue", "queue", ValueKind::kQueue},
    {"PriorityQueue", "queue", ValueKind::kQueue},
    {"_PySimpleQueue", "queue", ValueKind::kPySimpleQueue},
    {"Barrier", "threading", ValueKind::kBarrier},
    {"Thread", "threading", ValueKind::kThread},
    {"Future", "concurrent.futures._base", ValueKind::kFuture},
    {"_ModuleLock", "_frozen_importlib", ValueKind::kModuleLock},
    {"_ModuleLock", "importlib._bootstrap", ValueKind::kModuleLock},
    {"_GeneratorContextManager", "contextlib", ValueKind::kGeneratorContext},
    {"_AsyncGeneratorContextManager", "contextlib", ValueKind::kGeneratorContext},
};

}  // namespace

std::optional<ValueKind> kind_of_type(std::string_view tp_name, bool is_heap_type) {
    const auto search = [tp_name](const auto& types) -> std::optional<ValueKind> {
        const auto found = std::ranges::find(types, tp_name, &KnownType::name);
        if (found == std::ranges::end(types)) return std::nullopt;
        return found->kind;
    };
    if (tp_name.find('.') != std::string_view::npos) return search(kExtensionTypes);
    if (is_heap_type) return std::nullopt;
    return search(kBuiltins);
}

const KnownClass* known_class(std::string_view name, std::string_view module) {
    const auto found = std::ranges::find_if(kClasses, [&](const KnownClass& known) {
        return known.name == name && known.module == module;
    });
    return found == std::ranges::end(kClasses) ? nullptr : &*found;
}

bool is_known_class_name(std::string_view name) {
    return std::ranges::find(kClasses, name, &KnownClass::name) != std::ranges::end(kClasses);
}

}  // namespace pystack::cpython
