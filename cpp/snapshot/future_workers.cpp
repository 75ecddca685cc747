#include "snapshot/future_workers.h"

#include <algorithm>

#include "cpython/sync/stack_ends.h"

namespace pystack::snapshot {

namespace {

using cpython::Code;
using cpython::RawFrame;

bool waits_for_future(const RawThread& thread) {
    return thread.wait && thread.wait->wait.kind == model::WaitKind::kFuture;
}

}  // namespace

bool FutureWorkers::reads(const Code& code) {
    return cpython::ThreadPools::is_worker(code) || cpython::ThreadPools::is_work(code) ||
           cpython::ProcessPools::is_manager(code) || cpython::LoopFutures::is_loop(code);
}

void FutureWorkers::find(RawSnapshot& raw) {
    if (std::ranges::none_of(raw.threads, waits_for_future)) return;
    const std::vector<Worker> workers = find_workers(raw);
    const std::vector<Loop> loops = find_loops(raw);
    const auto process_pools = find_process_pools(raw);
    for (RawThread& thread : raw.threads) {
        if (!waits_for_future(thread)) continue;
        RawWait& wait = *thread.wait;
        const auto worker = std::ranges::find(workers, wait.object, &Worker::future);
        if (worker != workers.end()) {
            wait.workers = {worker->thread};
        } else if (!find_queue(workers, wait)) {
            find_loop(loops, wait);
        }
        for (const auto& pool : process_pools) {
            if (std::ranges::find(pool.futures, wait.object) == pool.futures.end()) continue;
            for (const std::int32_t pid : pool.processes)
                wait.wait.pool_processes.push_back({.pid = pid, .command = {}});
        }
    }
}

std::vector<cpython::ProcessPools::Pool> FutureWorkers::find_process_pools(const RawSnapshot& raw) {
    std::vector<cpython::ProcessPools::Pool> pools;
    for (const RawThread& thread : raw.threads) {
        const auto add = [&](const Code& code, const RawFrame& frame) {
            if (!cpython::ProcessPools::is_manager(code)) return;
            if (auto pool = process_pools_.pool_of(code, frame)) pools.push_back(*std::move(pool));
        };
        cpython::for_each_code(raw.codes, thread.frames, add);
    }
    return pools;
}

std::vector<FutureWorkers::Worker> FutureWorkers::find_workers(const RawSnapshot& raw) {
    std::vector<Worker> workers;
    for (std::size_t t = 0; t < raw.threads.size(); ++t) {
        RemoteAddr future;
        // The frames of the work come before that of the worker which does it.
        const auto add = [&](const Code& code, const RawFrame& frame) {
            if (cpython::ThreadPools::is_work(code)) {
                if (const RemoteAddr found = pools_.future_of(code, frame)) future = found;
            } else if (cpython::ThreadPools::is_worker(code)) {
                if (auto pool = pools_.pool_of(code, frame))
                    workers.push_back({.thread = t, .pool = *pool, .future = future});
            }
        };
        cpython::for_each_code(raw.codes, raw.threads[t].frames, add);
    }
    return workers;
}

bool FutureWorkers::find_queue(const std::vector<Worker>& workers, RawWait& wait) {
    std::vector<RemoteAddr> asked;
    for (const Worker& worker : workers) {
        const RemoteAddr queue = worker.pool.queue;
        if (std::ranges::find(asked, queue) != asked.end()) continue;
        asked.push_back(queue);
        const auto queued = pools_.queued_futures(queue);
        if (std::ranges::find(queued, wait.object) == queued.end()) continue;
        for (const Worker& one : workers) {
            if (one.pool.queue == queue) wait.workers.push_back(one.thread);
        }
        wait.worker_proof = model::HolderProof::kPool;
        // Else who submits more work starts another thread, which does this first.
        wait.pool_is_full = worker.pool.most_workers == wait.workers.size();
        return true;
    }
    return false;
}

std::vector<FutureWorkers::Loop> FutureWorkers::find_loops(const RawSnapshot& raw) {
    std::vector<Loop> loops;
    for (std::size_t t = 0; t < raw.threads.size(); ++t) {
        const auto add = [&](const Code& code, const RawFrame& frame) {
            if (!cpython::LoopFutures::is_loop(code)) return;
            const RemoteAddr loop = loop_futures_.loop_of(code, frame);
            loops.push_back(
                {.thread = t, .loop = loop, .not_begun = loop_futures_.not_begun(loop)});
        };
        cpython::for_each_code(raw.codes, raw.threads[t].frames, add);
    }
    return loops;
}

void FutureWorkers::find_loop(const std::vector<Loop>& loops, RawWait& wait) {
    const auto is_its = [&](const Loop& one) {
        return loop_futures_.has_task(one.loop, wait.object) ||
               std::ranges::find(one.not_begun, wait.object) != one.not_begun.end();
    };
    const auto loop = std::ranges::find_if(loops, is_its);
    if (loop == loops.end()) return;
    wait.workers = {loop->thread};
    wait.worker_proof = model::HolderProof::kLoop;
}

}  // namespace pystack::snapshot
