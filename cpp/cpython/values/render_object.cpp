#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cpython/values/render_arrays.h"
#include "cpython/values/render_callables.h"
#include "cpython/values/render_containers.h"
#include "cpython/values/render_datetimes.h"
#include "cpython/values/render_instances.h"
#include "cpython/values/render_locks.h"
#include "cpython/values/render_scalars.h"
#include "cpython/values/rendering.h"

namespace pystack::cpython {

namespace {

/// Of every object so much is looked at: enough for the fields of most.
constexpr std::size_t kHeadBytes = 96;
/// What an object costs of the byte budget, whatever it is.
constexpr std::uint64_t kObjectCharge = 64;
/// Values inside values of any kind. Containers end at max_depth; this ends what only a corrupt
/// target has, a slice in a slice in a slice.
constexpr int kMaxRecursion = 300;

Result<void> render(Rendering& r, const Value& value) {
    const bool is_class = value.type.kind == ValueKind::kClass;
    if (value.type.is_enum && !is_class) return render_enum_member(r, value);
    switch (value.type.kind) {
        case ValueKind::kNone:
        case ValueKind::kEllipsis:
        case ValueKind::kNotImplemented:
        case ValueKind::kBool:
        case ValueKind::kInt:
        case ValueKind::kFloat:
        case ValueKind::kComplex:
        case ValueKind::kStr:
        case ValueKind::kBytes:
        case ValueKind::kByteArray:
            return render_scalar(r, value);
        case ValueKind::kTuple:
        case ValueKind::kList:
        case ValueKind::kDict:
        case ValueKind::kFrozenDict:
        case ValueKind::kOrderedDict:
        case ValueKind::kDefaultDict:
        case ValueKind::kMappingProxy:
        case ValueKind::kDictKeys:
        case ValueKind::kDictValues:
        case ValueKind::kDictItems:
        case ValueKind::kSet:
        case ValueKind::kFrozenSet:
        case ValueKind::kDeque:
        case ValueKind::kRange:
        case ValueKind::kSlice:
            return render_container(r, value);
        case ValueKind::kException:
            return render_exception(r, value);
        case ValueKind::kClass:
        case ValueKind::kModule:
        case ValueKind::kFunction:
        case ValueKind::kMethod:
        case ValueKind::kBuiltin:
        case ValueKind::kMethodDescriptor:
        case ValueKind::kSlotWrapper:
        case ValueKind::kMember:
        case ValueKind::kGetSet:
        case ValueKind::kGenerator:
        case ValueKind::kCoroutine:
        case ValueKind::kAsyncGenerator:
            return render_callable(r, value);
        case ValueKind::kDate:
        case ValueKind::kDateTime:
        case ValueKind::kTime:
        case ValueKind::kTimeDelta:
        case ValueKind::kTimeZone:
        case ValueKind::kZoneInfo:
            return render_datetime(r, value);
        case ValueKind::kNumpyArray:
        case ValueKind::kNumpyScalar:
            return render_numpy(r, value);
        case ValueKind::kLock:
        case ValueKind::kRLock:
        case ValueKind::kEvent:
        case ValueKind::kSemaphore:
        case ValueKind::kCondition:
        case ValueKind::kQueue:
            return render_lock(r, value);
        case ValueKind::kCell:
        case ValueKind::kOther:
        case ValueKind::kBarrier:
        case ValueKind::kThread:
        case ValueKind::kFuture:
        case ValueKind::kModuleLock:
        case ValueKind::kSimpleQueue:
        case ValueKind::kPySimpleQueue:
        case ValueKind::kGeneratorContext:
            break;
    }
    return render_instance(r, value);
}

}  // namespace

void Rendering::value(RemoteAddr object) {
    if (!object) {
        out += "<NULL>";
        return;
    }
    if (exhausted() || recursion_ >= kMaxRecursion) {
        out += "...";
        return;
    }
    charge(kObjectCharge);
    const std::size_t begin = out.size();
    ++recursion_;
    if (auto described = describe(object); !described) {
        out.resize(begin);
        unreadable(described.error());
    }
    --recursion_;
}

Result<void> Rendering::describe(RemoteAddr object) {
    std::array<std::byte, kHeadBytes> bytes;
    const std::size_t done = heap.read_up_to(object, bytes);
    const memory::RemoteStruct head(object, std::span(bytes).first(done));
    if (!layout.pyobject.ob_type) {
        return fail(Error{.code = ErrorCode::kOffsetsRejected, .what = "pyobject.ob_type"});
    }
    const auto type_address = head.pointer(*layout.pyobject.ob_type);
    if (!type_address) return fail(read_fault(object + done, *layout.pyobject.ob_type + 8 - done));
    PYSTACK_TRY(type, types.find(*type_address));
    return render(*this, Value{object, *type, head});
}

}  // namespace pystack::cpython
