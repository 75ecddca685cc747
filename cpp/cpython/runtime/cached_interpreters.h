#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "cpython/frames/stack_reader.h"
#include "cpython/runtime/gil_state.h"
#include "cpython/runtime/interpreter_walker.h"
#include "memory/read_batch.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

/// Keeps the lists of interpreters and threads, and what there is to know of each interpreter, at
/// the cost of a few pieces of a batch for each reading: the heads and links are read again, and
/// only where one has changed is a list followed. Bytes come from the batch of the tick; nothing is
/// trusted that the next batch does not confirm.
class CachedInterpreters {
  public:
    /// The part of an interpreter that changes while it lives.
    struct Interpreter {
        std::optional<Gil> gil;  ///< nullopt: not known.
        bool collecting = false;
        std::optional<std::uint64_t> code_generation;  ///< Moves when a code object dies; 3.14+.

        /// The thread state that holds the GIL; null: nobody, or not known.
        RemoteAddr gil_holder() const {
            return gil && gil->enabled && gil->locked ? gil->holder : RemoteAddr{};
        }
    };

    /// `most_states`: see most_thread_states; asked when the lists have changed.
    CachedInterpreters(
        const memory::MemoryReader& memory, const Runtime& runtime, const FrameFormat& format,
        std::function<std::size_t()> most_states = [] { return most_thread_states(0); })
        : memory_(memory),
          runtime_(runtime),
          format_(format),
          most_states_(std::move(most_states)) {
        plan_items();
    }

    /// Before the threads' pieces.
    void add_to(memory::ReadBatch& batch);
    /// After them: what must have been the same all the time.
    void add_end_to(memory::ReadBatch& batch);

    /// In the place of a piece: the thread has not run, so its state was not read. The link to an
    /// older one that may have run must have been.
    static constexpr std::size_t kNotRead = SIZE_MAX;

    /// `thread_pieces[i]` is the piece of `batch` that holds the thread state of threads()[i].
    /// Takes what the batch says of the interpreters. False when the lists were not those that it
    /// was made for: they have been followed anew, and the batch does not belong to them.
    bool accept(const memory::ReadBatch& batch, const std::vector<std::size_t>& thread_pieces);

    /// As often as the lists have changed.
    std::uint64_t changes() const { return changes_; }
    const std::vector<InterpreterState>& interpreters() const { return walked_.interpreters; }
    /// Per interpreter, oldest first.
    const std::vector<ThreadState>& threads() const { return walked_.threads; }
    const WalkedInterpreters& walked() const { return walked_; }
    const Interpreter& now(std::size_t interpreter) const { return now_[interpreter]; }
    /// The GIL as it is now, with all of its futexes.
    std::optional<Gil> gil_now(std::size_t interpreter) const {
        return read_gil(memory_, runtime_, walked_.interpreters[interpreter].address);
    }
    /// Whether the generations were the same at both ends of the batch.
    bool generations_held() const { return generations_held_; }
    /// The generation as it is now, for one interpreter; nullopt where there is none.
    std::optional<std::uint64_t> read_generation(std::size_t interpreter) const;

    /// Reads everything by calls of its own, until the lists are those of one moment.
    void read();
    /// Only what changes while an interpreter lives, as it is now. False: the interpreters have
    /// changed.
    bool read_now();
    /// Whether the list still leads to this thread.
    bool is_linked(std::size_t thread) const;
    /// The same of this thread and no later one, also when the list has changed around it. To be
    /// trusted while the thread itself stands still: the links are not read at one moment.
    bool is_listed(std::size_t thread) const;

  private:
    /// Something to read in each batch. What lies near each other is one piece.
    struct Item {
        RemoteRange range;
        std::size_t piece = 0;  ///< Counted from the first of these.
        std::uint64_t offset = 0;
    };
    struct Items {
        std::size_t links = 0;  ///< next, threads_head.
        std::optional<std::size_t> gc;
        std::optional<std::size_t> generation;
        std::optional<std::size_t> gil;
    };

    bool is_in_list(std::size_t thread) const;
    bool is_same(std::size_t thread) const;
    void plan_items();
    memory::RemoteStruct item(const memory::ReadBatch& batch, std::size_t index) const;
    void read_all();
    void start(WalkedInterpreters walked);
    /// Of one interpreter: the next one, and its newest thread.
    std::optional<std::pair<RemoteAddr, RemoteAddr>> links(const memory::ReadBatch& batch,
                                                           std::size_t index) const;
    bool interpreters_hold(const memory::ReadBatch& batch) const;
    bool links_hold(const memory::ReadBatch& batch,
                    const std::vector<std::size_t>& thread_pieces) const;
    void follow(const memory::ReadBatch& batch, const std::vector<std::size_t>& thread_pieces);
    std::optional<ListedThread> parse(RemoteAddr address, std::size_t interpreter,
                                      const std::byte* bytes) const;
    RemoteRange links_of(RemoteAddr interpreter) const;
    void accept_values(const memory::ReadBatch& batch);
    void update_gil(const memory::ReadBatch& batch, std::size_t index);

    const memory::MemoryReader& memory_;
    const Runtime& runtime_;
    const FrameFormat& format_;
    std::function<std::size_t()> most_states_;
    WalkedInterpreters walked_;
    std::vector<Interpreter> now_;
    std::vector<Item> items_;  ///< The first is the pointer to the first interpreter.
    std::vector<Items> of_interpreter_;
    std::vector<RemoteRange> ranges_;  ///< Of the pieces.
    std::size_t first_piece_ = 0;
    std::size_t end_piece_ = 0;  ///< The generations, read again.
    std::uint64_t changes_ = 0;
    bool generations_held_ = false;
    memory::ReadBatch full_batch_;
    std::vector<std::size_t> full_pieces_;
};

}  // namespace pystack::cpython
