#pragma once

#include <cstddef>
#include <vector>

#include "cpython/sync/loop_futures.h"
#include "cpython/sync/process_pools.h"
#include "cpython/sync/thread_pools.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

/// Finds the threads that work on the futures that others wait for, or would if they were not
/// occupied: the workers of ThreadPoolExecutors, and the threads of event loops. And the processes
/// of ProcessPoolExecutors, of which it is not known which one works on what.
class FutureWorkers {
  public:
    /// All must outlive this.
    FutureWorkers(const memory::MemoryReader& memory, const cpython::Layout& layout,
                  cpython::TypeCache& types, const cpython::FrameObjects& objects)
        : pools_(memory, layout, types, objects),
          process_pools_(memory, layout, types, objects),
          loop_futures_(memory, layout, types, objects) {}

    /// Whether find() reads frames of this code.
    static bool reads(const cpython::Code& code);

    /// Completes the waits of all threads.
    void find(RawSnapshot& raw);

  private:
    /// A thread of a pool.
    struct Worker {
        std::size_t thread = 0;  ///< Index into the threads of the snapshot.
        cpython::ThreadPools::Pool pool;
        RemoteAddr future;  ///< That it works on; null: none.
    };

    /// A thread in which an event loop runs.
    struct Loop {
        std::size_t thread = 0;
        RemoteAddr loop;
        std::vector<RemoteAddr> not_begun;  ///< As LoopFutures::not_begun().
    };

    std::vector<Worker> find_workers(const RawSnapshot& raw);
    bool find_queue(const std::vector<Worker>& workers, RawWait& wait);
    std::vector<Loop> find_loops(const RawSnapshot& raw);
    void find_loop(const std::vector<Loop>& loops, RawWait& wait);
    std::vector<cpython::ProcessPools::Pool> find_process_pools(const RawSnapshot& raw);

    cpython::ThreadPools pools_;
    cpython::ProcessPools process_pools_;
    cpython::LoopFutures loop_futures_;
};

}  // namespace pystack::snapshot
