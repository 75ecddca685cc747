#pragma once

#include <cstddef>
#include <vector>

#include "cpython/sync/process_pools.h"
#include "cpython/sync/thread_pools.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

/// Finds the threads that work on the futures that others wait for, or would if they were not
/// occupied: the workers of ThreadPoolExecutors. And the processes of ProcessPoolExecutors, of
/// which it is not known which one works on what.
class FutureWorkers {
  public:
    /// All must outlive this.
    FutureWorkers(const memory::MemoryReader& memory, const cpython::Layout& layout,
                  cpython::TypeCache& types, const cpython::FrameObjects& objects)
        : pools_(memory, layout, types, objects), process_pools_(memory, layout, types, objects) {}

    /// Completes the waits of all threads.
    void find(RawSnapshot& raw);

  private:
    /// A thread of a pool.
    struct Worker {
        std::size_t thread = 0;  ///< Index into the threads of the snapshot.
        cpython::ThreadPools::Pool pool;
        RemoteAddr future;  ///< That it works on; null: none.
    };

    std::vector<Worker> find_workers(const RawSnapshot& raw);
    void find_queue(const std::vector<Worker>& workers, RawWait& wait);
    std::vector<cpython::ProcessPools::Pool> find_process_pools(const RawSnapshot& raw);

    cpython::ThreadPools pools_;
    cpython::ProcessPools process_pools_;
};

}  // namespace pystack::snapshot
