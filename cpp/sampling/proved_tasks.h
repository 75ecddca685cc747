#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_set>
#include <vector>

#include "base/pace.h"
#include "base/work_limits.h"
#include "cpython/tasks/asyncio_offsets.h"
#include "cpython/tasks/raw_task.h"
#include "cpython/tasks/task_reader.h"
#include "cpython/tasks/trio_reader.h"
#include "memory/page_cache.h"
#include "sampling/program_readers.h"

namespace pystack::sampling {

/// Reads the tasks of asyncio and trio of a target that goes on running. Everything is read twice,
/// and the second reading begins after the first has ended. What is the same in both was so at the
/// moment between them, as long as nothing changed and changed back meanwhile: a task would have to
/// run, and come to the same place of the same await.
class ProvedTasks {
  public:
    explicit ProvedTasks(const ProgramReaders& program);

    /// The target runs another program.
    void begin_program();
    /// Looks for the libraries, which programs import when they like, less and less often. False:
    /// none is imported.
    bool find_libraries(std::uint64_t now_ns);

    struct Reading {
        std::vector<cpython::RawTask> proved;
        std::vector<RemoteAddr> moved;  ///< These were there, but not the same in both.
        std::vector<cpython::RawEventLoop> loops;
    };
    Reading read();

  private:
    /// One of the two readings.
    struct Copy {
        explicit Copy(const memory::MemoryReader& memory) : pages(memory) {}

        memory::PageCache pages;
        std::optional<cpython::TaskReader> asyncio;
        std::optional<cpython::TrioReader> trio;
        cpython::RawTasks asyncio_tasks;
        cpython::RawTasks trio_tasks;
    };

    void copy_pages(Copy& copy) const;
    void follow(Copy& copy);
    bool read_copies();
    void read_twice();
    bool load_codes();
    void compare(Reading& reading);

    const ProgramReaders& program_;
    WorkLimits limits_;  ///< Of one reading.
    bool has_asyncio_ = false;
    bool has_trio_ = false;
    std::optional<cpython::AsyncioOffsets> offsets_;  ///< Of asyncio, where it publishes them.
    std::uint64_t find_at_ns_ = 0;
    std::uint64_t find_pause_ns_ = 0;
    Pace find_pace_;
    std::optional<Copy> first_;
    std::optional<Copy> second_;
    std::unordered_set<RemoteAddr> new_codes_;  ///< Not known when the tasks were read.
    int readings_ = 0;                          ///< Since the copies began anew.
};

}  // namespace pystack::sampling
