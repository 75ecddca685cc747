#include "sampling/tick_reader.h"

#include <algorithm>

#include "memory/remote_struct.h"

namespace pystack::sampling {

namespace {

constexpr int kListAttempts = 4;
/// With more threads, the batch of a tick takes too long to be the moment of a proof.
constexpr std::ptrdiff_t kMostThreadsWithProof = 6;

using Asked = TrackedThread::Asked;

}  // namespace

void TickReader::read(const Tick& tick) {
    cpython::CachedInterpreters& interpreters = program_.interpreters();
    for (int attempt = 0; attempt < kListAttempts; ++attempt) {
        threads_.update(interpreters, tick);
        plan();
        timing_ = program_.stacks().read(batch_);
        holds_ = interpreters.accept(batch_, thread_pieces_);
        if (holds_ || interpreters.interpreters().empty()) break;
        // If a thread state was freed, its code objects may have been freed too.
        program_.code_validator().doubt_all();
    }
    threads_.update(interpreters, tick);
}

void TickReader::plan() {
    batch_.clear();
    program_.interpreters().add_to(batch_);
    thread_pieces_.assign(threads_.size(), cpython::CachedInterpreters::kNotRead);
    const auto awake = std::count_if(threads_.begin(), threads_.end(),
                                     [](const TrackedThread* t) { return !t->is_idle(); });
    // It comes last, so that its proof is the nearest to one moment.
    std::optional<std::size_t> proved;
    if (awake <= kMostThreadsWithProof && proved_thread_ < threads_.size() &&
        !threads_[proved_thread_].is_quiet()) {
        proved = proved_thread_;
    }
    for (std::size_t i = 0; i < threads_.size(); ++i) {
        if (i == proved) continue;
        if (!threads_[i].is_idle()) {
            ask(i, threads_[i].is_quiet() ? Asked::kLook : Asked::kState);
        } else {
            threads_[i].asked = Asked::kState;
            // The link to an older one that may be gone.
            if (i > 0 && !threads_[i - 1].is_idle()) ask(i, Asked::kState);
        }
    }
    if (proved) ask(*proved, Asked::kProof);
    program_.code_validator().add_to(
        batch_, program_.runtime().layout.interpreter_state.code_object_generation.has_value());
    program_.interpreters().add_end_to(batch_);
}

/// Adds the pieces of one thread; without a plan of its stack, no more than the thread state.
void TickReader::ask(std::size_t index, Asked what) {
    TrackedThread& thread = threads_[index];
    cpython::StackReader& stacks = program_.stacks();
    const RemoteAddr state = program_.interpreters().threads()[index].address;
    if (what != Asked::kState && !stacks.has_plan(state, thread.plan)) what = Asked::kState;
    thread.asked = what;
    if (what == Asked::kState) {
        thread_pieces_[index] = batch_.add(stacks.format().thread_at(state));
        return;
    }
    thread.first_piece = what == Asked::kLook ? stacks.add_look(thread.plan, batch_)
                                              : stacks.add_proof(thread.plan, batch_, true);
    thread_pieces_[index] = cpython::StackReader::thread_piece(thread.plan, thread.first_piece);
}

std::optional<std::int32_t> TickReader::thread_flag(std::size_t thread,
                                                    cpython::FieldOffset field) const {
    const std::size_t piece = thread_pieces_[thread];
    if (!field || !holds_ || piece == cpython::CachedInterpreters::kNotRead ||
        !batch_.complete(piece))
        return std::nullopt;
    const memory::RemoteStruct state({}, batch_.bytes(piece));
    return state.get<std::int32_t>(*field - program_.stacks().format().thread().begin.value);
}

}  // namespace pystack::sampling
