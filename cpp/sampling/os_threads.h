#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model/tables.h"
#include "sampling/frame_interner.h"
#include "sampling/program_readers.h"
#include "sampling/thread_table.h"

namespace pystack::sampling {

/// Which thread states are one OS thread at a tick: a thread that has called other interpreters has
/// a state in each, and has one sample, of all its frames. In a program with one interpreter every
/// state is a thread of its own, which costs nothing to find out.
class OsThreads {
  public:
    /// Groups the states of a table that has been updated and identified. Up to 3.12 a state does
    /// not tell on which thread it runs, so those of subinterpreters are looked at before.
    void build(const ProgramReaders& program, ThreadTable& table);

    /// The states of each thread, innermost first as far as the last samples say, as indexes into
    /// the table.
    std::span<const std::vector<std::size_t>> threads() const {
        return std::span(threads_).first(count_);
    }

    /// What was just read of a state.
    struct Frames {
        std::span<const cpython::RawFrame> frames;
        RemoteAddr outermost;  ///< Of them.
        RemoteAddr c_frame;    ///< See StackOutcome.
    };
    /// Notes it, where there are several interpreters.
    static void note_frames(const ProgramReaders& program, std::size_t state, const Frames& read,
                            TrackedThread& thread);
    /// Sorts the states of one thread by what was noted last: innermost first. Notes in the first
    /// state whether that is a guess.
    static void sort(const ProgramReaders& program, const ThreadTable& table,
                     std::span<std::size_t> states);
    /// The state that has the samples of a thread: that of the interpreter in which it began.
    static std::size_t first_state(const ProgramReaders& program,
                                   std::span<const std::size_t> states);

    /// The frame that begins the frames of an interpreter that another one called.
    static model::FrameId mark(FrameInterner& interner, std::int64_t interpreter_id);
    /// The stack of a thread with several states: their stacks, one upon the other, with marks
    /// between them.
    static model::StackId join(const ProgramReaders& program, const ThreadTable& table,
                               std::span<const std::size_t> innermost_first);

  private:
    void look(const ProgramReaders& program, const ThreadTable& table);
    std::vector<std::size_t>& add_thread();

    std::vector<std::vector<std::size_t>> threads_;  ///< Kept beyond count_, with their memory.
    std::size_t count_ = 0;
    /// The table's changes() that threads_ are of, if there was one interpreter.
    std::optional<std::uint64_t> single_of_changes_;
    std::vector<cpython::RawFrame> frames_;  ///< While states are looked at.
};

}  // namespace pystack::sampling
