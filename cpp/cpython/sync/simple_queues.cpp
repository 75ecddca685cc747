#include "cpython/sync/simple_queues.h"

#include "cpython/sync/bound_methods.h"
#include "cpython/sync/parking.h"

namespace pystack::cpython {

RemoteAddr waited_simple_queue(const memory::MemoryReader& memory, const Layout& layout,
                               TypeCache& types, RemoteAddr futex,
                               std::span<const RemoteAddr> objects) {
    if (layout.pyobject.struct_size == 0) return {};
    for (const RemoteAddr object : objects) {
        const RemoteAddr queue = self_or_object(memory, layout, types, object);
        const auto type = queue ? types.of(queue) : fail(Error{});
        if (!type || (*type)->kind != ValueKind::kSimpleQueue) continue;
        // Behind its head it has a pointer to a semaphore (up to 3.12), or the flag that its
        // waiters are parked at [Modules/_queuemodule.c].
        const RemoteAddr first = queue + layout.pyobject.struct_size;
        const auto semaphore = memory.read_pointer(first);
        if (semaphore && *semaphore == futex) return queue;
        const auto parked = parked_at(memory, futex);
        if (parked && *parked == first) return queue;
    }
    return {};
}

}  // namespace pystack::cpython
