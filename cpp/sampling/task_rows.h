#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "model/tables.h"
#include "sampling/batch_writer.h"
#include "sampling/thread_identities.h"

namespace pystack::sampling {

/// Writes samples of tasks. Tasks come and go by the thousand, so they take places in rows: a row
/// has one task at a time, and is free for the next one when that has ended. In a recording a row
/// looks like a thread (SampledThread::is_of_tasks): it has a name, and does one thing at a time.
class TaskRows {
  public:
    /// So many tasks are followed at a time.
    static constexpr std::size_t kMost = 2000;

    TaskRows(ThreadIdentities& identities, const BatchWriter& writer)
        : identities_(identities), writer_(writer) {}

    /// Whose task it is.
    struct Owner {
        std::int32_t pid = 0;
        std::int32_t tid = 0;  ///< Of the thread of its event loop; 0: not known.
        std::int64_t interpreter_id = 0;
    };
    /// What its samples say.
    struct What {
        model::StackId stack = 0;
        model::WaitId wait = 0;
    };

    /// A sample of each task follows, or why there is none. The samples speak for `weight_ns`, up
    /// to the tick's end.
    void begin(std::uint64_t weight_ns);
    void add(const Tick& tick, RemoteAddr task, const Owner& owner, const What& what);
    /// The task is still there, and there is no sample of it.
    void lose(const Tick& tick, RemoteAddr task);
    /// Tasks of which nothing was said have ended.
    void end();

    /// All samples of the last round once more: no task has moved.
    void repeat(const Tick& tick, std::uint64_t weight_ns);

    /// Threads are numbered anew: there are no rows yet.
    void clear();

  private:
    struct Row {
        std::uint32_t thread = 0;  ///< Its number among the threads.
        std::int32_t tid = 0;
        RowPlace place;
    };
    struct Placed {
        std::size_t row = 0;
        std::uint64_t round = 0;  ///< The last one that said something of it.
        bool is_sampled = false;  ///< There.
        What what;
    };

    /// SIZE_MAX: there is no room.
    std::size_t free_row(const Owner& owner);
    void write(const Tick& tick, const Placed& placed);

    ThreadIdentities& identities_;
    const BatchWriter& writer_;
    std::vector<Row> rows_;
    std::unordered_map<std::int32_t, std::vector<std::size_t>> free_;  ///< By tid.
    std::unordered_map<RemoteAddr, Placed> tasks_;
    std::uint64_t weight_ns_ = 0;
    std::uint64_t round_ = 0;
    std::uint64_t left_out_ = 0;  ///< In the last round.
};

}  // namespace pystack::sampling
