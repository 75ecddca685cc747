#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
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

    /// What was found at one moment follows: of each task what it does, or that it is not known.
    void begin();
    void add(RemoteAddr task, const Owner& owner, const What& what);
    /// The task is there, and nothing is known of it.
    void lose(RemoteAddr task);
    /// Tasks of which nothing was said have ended.
    void end();

    /// Writes a sample of each task, as it was found last. They speak for `weight_ns`, up to the
    /// tick's end.
    void write(const Tick& tick, std::uint64_t weight_ns);

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
        bool is_known = false;    ///< What it does.
        What what;
    };

    /// SIZE_MAX: there is no room.
    std::size_t free_row(const Owner& owner);

    ThreadIdentities& identities_;
    const BatchWriter& writer_;
    std::vector<Row> rows_;
    std::unordered_map<std::int32_t, std::vector<std::size_t>> free_;  ///< By tid.
    std::map<RemoteAddr, Placed> tasks_;
    std::uint64_t round_ = 0;
    std::uint64_t left_out_ = 0;  ///< Tasks without a row, in the last round.
    std::uint64_t lost_ = 0;      ///< Unknown tasks without a row.
};

}  // namespace pystack::sampling
