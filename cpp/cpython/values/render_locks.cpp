#include "cpython/values/render_locks.h"

#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/lock_objects.h"
#include "cpython/objects/objects.h"
#include "cpython/values/render_instances.h"

namespace pystack::cpython {

namespace {

/// lock_repr and rlock_repr of Modules/_threadmodule.c.
Result<void> render_primitive(Rendering& r, const Value& value, LockKind kind) {
    PYSTACK_TRY(state, read_lock(r.heap, r.layout, value.address, kind));
    r.out += state.locked ? "<locked " : "<unlocked ";
    r.out += value.type.tp_name;
    r.out += " object";
    if (kind == LockKind::kRLock) {
        r.out += " owner=" + std::to_string(state.owner) + " count=" + std::to_string(state.count);
    }
    r.out += " at ";
    append_address(r, value.address);
    r.out += '>';
    return {};
}

Result<RemoteAddr> attribute(Rendering& r, const Value& value, std::string_view name) {
    PYSTACK_TRY(found, instance_attribute(r.heap, r.layout, value.address, name));
    if (!found) return fail(corrupt("object without the attributes of its class", value.address));
    return *found;
}

Result<std::string> integer(Rendering& r, const Value& value, std::string_view name) {
    PYSTACK_TRY(object, attribute(r, value, name));
    PYSTACK_TRY(type, r.types.of(object));
    if (type->kind == ValueKind::kNone) return std::string("None");
    if (type->kind != ValueKind::kInt && type->kind != ValueKind::kBool)
        return fail(corrupt("attribute of a lock", object));
    PYSTACK_TRY(number, read_int64(r.heap, r.layout, object));
    return number ? std::to_string(*number) : std::string("?");
}

/// How many items a list or deque has.
Result<std::string> length(Rendering& r, const Value& value, std::string_view name) {
    PYSTACK_TRY(object, attribute(r, value, name));
    PYSTACK_TRY(type, r.types.of(object));
    FieldOffset field;
    if (type->kind == ValueKind::kDeque) field = r.layout.deque_object.ob_size;
    if (type->kind == ValueKind::kList) field = r.layout.list_object.ob_size;
    if (!field) return fail(corrupt("attribute of a lock", object));
    PYSTACK_TRY(size, r.heap.read_value<std::uint64_t>(object + *field));
    return std::to_string(size);
}

void append_head(Rendering& r, const Value& value) {
    r.out += '<' + r.types.full_name(value.type) + " at ";
    append_address(r, value.address);
    r.out += ": ";
}

Result<void> render_event(Rendering& r, const Value& value) {
    PYSTACK_TRY(flag, integer(r, value, "_flag"));
    append_head(r, value);
    r.out += flag == "0" ? "unset>" : "set>";
    return {};
}

Result<void> render_semaphore(Rendering& r, const Value& value) {
    PYSTACK_TRY(number, integer(r, value, "_value"));
    std::string text = "value=" + number;
    if (value.type.name == "BoundedSemaphore") {
        PYSTACK_TRY(initial, integer(r, value, "_initial_value"));
        text += '/' + initial;
    }
    append_head(r, value);
    r.out += text + '>';
    return {};
}

Result<void> render_condition(Rendering& r, const Value& value) {
    PYSTACK_TRY(lock, attribute(r, value, "_lock"));
    PYSTACK_TRY(waiters, length(r, value, "_waiters"));
    const Nesting nesting(r, value.address);
    r.out += "<Condition(";
    if (nesting.cycle()) {
        r.out += "...";
    } else {
        r.value(lock);
    }
    r.out += ", " + waiters + ")>";
    return {};
}

/// Has no repr() of its own.
Result<void> render_queue(Rendering& r, const Value& value) {
    PYSTACK_TRY(items, attribute(r, value, "queue"));
    PYSTACK_TRY(count, length(r, value, "queue"));
    PYSTACK_TRY(most, integer(r, value, "maxsize"));
    PYSTACK_TRY(unfinished, integer(r, value, "unfinished_tasks"));
    const Nesting nesting(r, value.address);
    append_head(r, value);
    r.out += count + " items, maxsize=" + most + ", unfinished_tasks=" + unfinished + ", queue=";
    if (nesting.cycle()) {
        r.out += "...";
    } else {
        r.named_value("queue", items);
    }
    r.out += '>';
    return {};
}

}  // namespace

Result<void> render_lock(Rendering& r, const Value& value) {
    if (value.type.kind == ValueKind::kLock) return render_primitive(r, value, LockKind::kLock);
    if (value.type.kind == ValueKind::kRLock) return render_primitive(r, value, LockKind::kRLock);
    // A subclass may have attributes of its own, which say more.
    if (!value.type.exact) return render_instance(r, value);
    const std::size_t begin = r.out.size();
    Result<void> done;
    switch (value.type.kind) {
        case ValueKind::kEvent:
            done = render_event(r, value);
            break;
        case ValueKind::kSemaphore:
            done = render_semaphore(r, value);
            break;
        case ValueKind::kCondition:
            done = render_condition(r, value);
            break;
        default:
            done = render_queue(r, value);
            break;
    }
    if (done) return {};
    // One that is being made, or whose attributes were replaced.
    r.out.resize(begin);
    return render_instance(r, value);
}

}  // namespace pystack::cpython
