#include "cpython/sync/process_semaphores.h"

#include "cpython/sync/bound_methods.h"

namespace pystack::cpython {

RemoteAddr waited_process_semaphore(const memory::MemoryReader& memory, const Layout& layout,
                                    TypeCache& types, RemoteAddr futex,
                                    std::span<const RemoteAddr> objects) {
    if (layout.pyobject.struct_size == 0) return {};
    for (const RemoteAddr object : objects) {
        const RemoteAddr semaphore = self_or_object(memory, layout, types, object);
        const auto type = semaphore ? types.of(semaphore) : fail(Error{});
        if (!type || (*type)->tp_name != "_multiprocessing.SemLock") continue;
        // Behind its head it has a pointer to a sem_t, 3.6 to 3.15
        // [Modules/_multiprocessing/semaphore.c].
        const auto handle = memory.read_pointer(semaphore + layout.pyobject.struct_size);
        if (handle && *handle == futex) return semaphore;
    }
    return {};
}

}  // namespace pystack::cpython
