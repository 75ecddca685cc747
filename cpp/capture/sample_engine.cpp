#include "capture/sample_engine.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "memory/remote_struct.h"

namespace pystack::capture {

namespace {

using model::StackEnd;

constexpr int kListAttempts = 4;
/// With more threads, the batch of a tick takes too long to be the moment of a proof.
constexpr std::size_t kMostThreadsInline = 6;
/// A target that executes another program has no interpreter for a while.
constexpr std::uint64_t kFindAgainEveryNs = 20'000'000;
/// For so long a stack is the same before its thread is taken to rest: what it does when it wakes
/// may go unnoticed for some milliseconds, see RestWatch.
constexpr std::uint64_t kAsleepForNs = 500'000'000;
constexpr std::uint64_t kLetRestEveryNs = 100'000'000;
/// Programs import asyncio when they like.
constexpr std::uint64_t kFirstFindTasksPauseNs = 20'000'000;
constexpr std::uint64_t kLongestFindTasksPauseNs = 2'000'000'000;

}  // namespace

Result<std::unique_ptr<SampleEngine>> SampleEngine::open(int pid, const SamplerOptions& options) {
    PYSTACK_TRY(target, target::LiveTarget::open(pid));
    PYSTACK_TRY(runtime, cpython::locate_runtime(*target, {.exhaustive = options.exhaustive}));
    return std::unique_ptr<SampleEngine>(
        new SampleEngine(std::move(target), std::move(runtime), options));
}

SampleEngine::SampleEngine(std::unique_ptr<target::LiveTarget> target, cpython::Runtime runtime,
                           const SamplerOptions& options)
    : target_(std::move(target)),
      options_(options),
      prover_(target_->pid(), options.rate_hz),
      identities_(*target_) {
    if (options_.native) options_.stop = true;
    use(std::move(runtime));
}

void SampleEngine::use(cpython::Runtime runtime) {
    runtime_ = std::move(runtime);
    const memory::MemoryReader& memory = target_->memory();
    stacks_ = std::make_unique<cpython::StackReader>(memory, runtime_.layout, options_.max_depth);
    codes_ = std::make_unique<cpython::CodeReader>(memory, runtime_.layout);
    if (interner_) {
        interner_->use(*codes_);
    } else {
        interner_ = std::make_unique<FrameInterner>(*codes_);
    }
    interner_->set_still(options_.stop);
    watch_ = std::make_unique<InterpreterWatch>(memory, runtime_, stacks_->format());
    code_watch_ = std::make_unique<CodeWatch>(memory, *codes_, *interner_);
    prover_.use({*stacks_, *codes_, *interner_, *code_watch_, *watch_});
    native_.reset();
    sleep_watch_.reset();
    if (options_.native) {
        // Fails when the target has ended, which the next sample finds out.
        auto native = NativeSampling::create(
            *target_, runtime_, options_.native->of_process(target_->pid()), *interner_);
        if (native) native_ = std::move(*native);
        sleep_watch_ = std::make_unique<SleepWatch>(target_->pid(), memory, *stacks_);
    }
    rest_watch_ = std::make_unique<RestWatch>(target_->pid());
    tasks_.reset();
    prover_.use_tasks(nullptr);
    find_tasks_at_ns_ = 0;
    find_tasks_pause_ns_ = kFirstFindTasksPauseNs;
    order_.clear();
    indices_.clear();
    by_state_.clear();
    followed_ = 0;
    use_changed_ = true;
}

Result<void> SampleEngine::find_again() {
    if (!target_->alive()) {
        return fail(Error{.code = ErrorCode::kTargetExited, .what = "the process exited"});
    }
    auto runtime = cpython::locate_runtime(*target_, {.exhaustive = options_.exhaustive});
    if (runtime) use(std::move(*runtime));
    return {};
}

Result<void> SampleEngine::sample(std::uint64_t now_ns, model::Batch& batch,
                                  model::SamplerStats& stats) {
    ++stats.ticks;
    prover_.begin_tick(now_ns);
    if (previous_ns_ == 0) previous_ns_ = now_ns;
    find_tasks(now_ns);
    Result<void> result;
    if (options_.stop) {
        result = sample_stopped(now_ns, batch, stats);
    } else {
        sample_moving(now_ns, batch, stats);
    }
    if (watch_->interpreters().empty() && result && now_ns >= retry_find_at_ns_) {
        retry_find_at_ns_ = now_ns + kFindAgainEveryNs;
        result = find_again();
    }
    previous_ns_ = now_ns;
    return result;
}

// --- with the target running ---

void SampleEngine::sample_moving(std::uint64_t now_ns, model::Batch& batch,
                                 model::SamplerStats& stats) {
    if (rest_watch_->find_woken(now_ns)) note_rest();
    read_tick(now_ns);
    if (watch_->interpreters().empty()) return;
    code_watch_->take(batch_, *watch_);
    identify(now_ns);
    const ThreadProver::TickBatch tick{.batch = batch_, .holds = batch_holds_, .pace = batch_pace_};
    for (std::size_t i = 0; i < order_.size(); ++i) {
        if (order_[i]->rests && !wake_holder(i, now_ns)) {
            record(i, StackEnd::kComplete, false, now_ns, batch, stats);
            continue;
        }
        const auto sampled = prover_.sample(*order_[i], watch_->threads()[i], tid_of(i), tick);
        use_changed_ |= sampled.moved;
        record(i, sampled.end, sampled.moved, now_ns, batch, stats);
    }
    update_use();
    let_rest(now_ns);
}

// --- threads that do not run ---

void SampleEngine::note_rest() {
    for (std::size_t i = 0; i < order_.size(); ++i) {
        TrackedThread& thread = *order_[i];
        thread.rests = thread.quiet && thread.sleeps && rest_watch_->rests(tid_of(i));
    }
}

bool SampleEngine::had_gil_last(std::size_t index) const {
    const cpython::ThreadState& state = watch_->threads()[index];
    return watch_->now(state.interpreter).gil.holder == state.address;
}

/// Whoever had the GIL last may have run since the run times were read. Its stack is not in the
/// batch.
bool SampleEngine::wake_holder(std::size_t index, std::uint64_t now_ns) {
    if (!had_gil_last(index)) return false;
    order_[index]->rests = false;
    rest_watch_->wake(tid_of(index), now_ns);
    return true;
}

void SampleEngine::let_rest(std::uint64_t now_ns) {
    if (now_ns < let_rest_at_ns_) return;
    let_rest_at_ns_ = now_ns + kLetRestEveryNs;
    asleep_.clear();
    for (std::size_t i = 0; i < order_.size(); ++i) {
        TrackedThread& thread = *order_[i];
        thread.sleeps = thread.quiet && tid_of(i) != 0 &&
                        thread.activity.sleeps_for(kAsleepForNs, now_ns) && !had_gil_last(i);
        if (thread.sleeps) asleep_.push_back(tid_of(i));
    }
    rest_watch_->let_rest(asleep_, now_ns);
    note_rest();
}

// --- what is read at a tick ---

/// Once asyncio is there, thread states are read up to the running task.
void SampleEngine::find_tasks(std::uint64_t now_ns) {
    if (tasks_ || now_ns < find_tasks_at_ns_) return;
    find_tasks_at_ns_ = now_ns + find_tasks_pause_ns_;
    find_tasks_pause_ns_ = std::min(find_tasks_pause_ns_ * 2, kLongestFindTasksPauseNs);
    const auto offsets = cpython::find_asyncio(*target_, runtime_);
    if (!offsets || !stacks_->add_running_task(offsets->running_task)) return;
    tasks_ = std::make_unique<TaskWatch>(target_->memory(), runtime_.layout, *offsets, *interner_);
    prover_.use_tasks(tasks_.get());
    for (const auto& [state, thread] : by_state_) thread->forget_stack();
}

/// The lists are those that the batch was made for, or the batch is made anew.
void SampleEngine::read_tick(std::uint64_t now_ns) {
    for (int attempt = 0; attempt < kListAttempts; ++attempt) {
        follow_threads(now_ns);
        plan_tick();
        batch_pace_ = stacks_->read(batch_);
        batch_holds_ = watch_->take(batch_, thread_pieces_);
        if (batch_holds_ || watch_->interpreters().empty()) break;
        // Whose states were freed, of them the code objects may have been as well.
        code_watch_->doubt_all();
    }
    follow_threads(now_ns);
}

void SampleEngine::plan_tick() {
    batch_.clear();
    watch_->add_to(batch_);
    thread_pieces_.assign(order_.size(), InterpreterWatch::kNotRead);
    const auto awake = static_cast<std::size_t>(std::count_if(
        order_.begin(), order_.end(), [](const TrackedThread* t) { return !t->rests; }));
    // It comes last, so that its proof is the nearest to one moment.
    std::optional<std::size_t> proved;
    if (awake <= kMostThreadsInline && inline_thread_ < order_.size() &&
        !order_[inline_thread_]->quiet) {
        proved = inline_thread_;
    }
    for (std::size_t i = 0; i < order_.size(); ++i) {
        if (i == proved) continue;
        if (!order_[i]->rests) {
            ask(i, order_[i]->quiet ? Asked::kLook : Asked::kState);
        } else {
            order_[i]->asked = Asked::kState;
            // The link to an older one that may be gone.
            if (i > 0 && !order_[i - 1]->rests) ask(i, Asked::kState);
        }
    }
    if (proved) ask(*proved, Asked::kProof);
    code_watch_->add_to(batch_,
                        runtime_.layout.interpreter_state.code_object_generation.has_value());
    watch_->add_end_to(batch_);
}

/// Adds the pieces of one thread to the tick's batch; without a plan of its stack, no more than the
/// thread state.
void SampleEngine::ask(std::size_t index, Asked what) {
    TrackedThread& thread = *order_[index];
    const RemoteAddr state = watch_->threads()[index].address;
    if (what != Asked::kState && !stacks_->has_plan(state, thread.plan)) what = Asked::kState;
    thread.asked = what;
    if (what == Asked::kState) {
        thread_pieces_[index] = batch_.add(stacks_->format().thread_at(state));
        return;
    }
    thread.first_piece = what == Asked::kLook ? stacks_->add_look(thread.plan, batch_)
                                              : stacks_->add_proof(thread.plan, batch_, true);
    thread_pieces_[index] = cpython::StackReader::thread_piece(thread.plan, thread.first_piece);
}

void SampleEngine::follow_threads(std::uint64_t now_ns) {
    if (followed_ == watch_->changes()) return;
    followed_ = watch_->changes();
    use_changed_ = true;
    std::unordered_map<RemoteAddr, std::unique_ptr<TrackedThread>> known;
    known.swap(by_state_);
    order_.clear();
    indices_.clear();
    for (const cpython::ThreadState& state : watch_->threads()) {
        auto& thread = by_state_[state.address];
        // The address of a dead thread's state may be a new thread's.
        const auto place = known.find(state.address);
        if (place != known.end() && place->second && place->second->unique_id == state.unique_id) {
            thread = std::move(place->second);
        } else if (!thread) {
            thread = std::make_unique<TrackedThread>();
            thread->index = identities_.add(now_ns);
            thread->unique_id = state.unique_id;
            thread->last_ns = previous_ns_ != 0 ? previous_ns_ : now_ns;
        }
        order_.push_back(thread.get());
        indices_.push_back(thread->index);
    }
}

/// What the next tick verifies in its batch, and which thread it proves there.
void SampleEngine::update_use() {
    for (std::size_t i = 0; i < order_.size(); ++i) {
        if (!order_[i]->quiet) inline_thread_ = i;
    }
    if (!use_changed_) return;
    use_changed_ = false;
    code_watch_->begin_use();
    for (const TrackedThread* thread : order_) code_watch_->use(thread->stack);
}

// --- what a sample is ---

void SampleEngine::record(std::size_t index, StackEnd end, bool moved, std::uint64_t now_ns,
                          model::Batch& batch, model::SamplerStats& stats) {
    ++stats.attempted;
    TrackedThread& thread = *order_[index];
    if (end == StackEnd::kTorn || end == StackEnd::kUnreadable) {
        thread.last_ns = now_ns;
        if (!options_.stop && !watch_->is_linked(index)) {
            ++stats.vanished;
        } else {
            ++(end == StackEnd::kTorn ? stats.torn : stats.failed);
        }
        return;
    }
    ++stats.taken;
    add_sample(thread, state_bits(index, moved, now_ns), now_ns, batch);
}

void SampleEngine::add_sample(TrackedThread& thread, std::uint8_t bits, std::uint64_t now_ns,
                              model::Batch& batch) const {
    const std::uint64_t weight = now_ns - std::min(now_ns, thread.last_ns);
    thread.last_ns = now_ns;
    const model::StackId stack = thread.stack.id();
    if (thread.row_batch == batch_number_ && batch.extend(thread.row, now_ns, weight, stack, bits))
        return;
    thread.row_batch = batch_number_;
    thread.row = batch.add(now_ns, weight, thread.index, stack, bits);
}

/// A word of the thread's state, as the tick's batch has it.
std::optional<std::int32_t> SampleEngine::thread_flag(std::size_t index,
                                                      cpython::FieldOffset field) const {
    if (!field || !batch_holds_ || thread_pieces_[index] == InterpreterWatch::kNotRead ||
        !batch_.complete(thread_pieces_[index]))
        return std::nullopt;
    const memory::RemoteStruct state({}, batch_.bytes(thread_pieces_[index]));
    return state.get<std::int32_t>(*field - stacks_->format().thread().begin.value);
}

/// Who moves is on a CPU when it may run Python code; of all others the kernel is asked.
std::uint8_t SampleEngine::state_bits(std::size_t index, bool moved, std::uint64_t now_ns) {
    // _Py_THREAD_ATTACHED [Include/internal/pycore_pystate.h of 3.13]
    constexpr std::int32_t kAttached = 1;
    const cpython::ThreadState& state = watch_->threads()[index];
    const InterpreterWatch::Interpreter& interpreter = watch_->now(state.interpreter);
    const auto& fields = runtime_.layout.thread_state;
    const bool holds = interpreter.gil_holder() == state.address;
    std::uint8_t bits = 0;
    if (interpreter.gil_known) bits |= model::kGilKnown;
    if (holds) bits |= model::kHoldsGil;
    if (holds && interpreter.collecting) bits |= model::kGc;
    if (options_.stop) return bits | order_[index]->activity_bits;
    if (order_[index]->rests) return bits | order_[index]->activity.last_bits();
    const bool attached = thread_flag(index, fields.state) == kAttached;
    return bits | order_[index]->activity.bits(
                      {.now_ns = now_ns,
                       .moved = moved,
                       .runs_python = runtime_.layout.free_threaded ? attached : holds,
                       .asks_for_gil = !holds && thread_flag(index, fields.gil_requested) > 0,
                       .thread_state = state.address,
                       .gil = interpreter.gil_known ? &interpreter.gil : nullptr,
                       .thread_count = order_.size()});
}

void SampleEngine::identify(std::uint64_t now_ns) {
    if (!identities_.update(now_ns, runtime_, *watch_, indices_)) return;
    for (TrackedThread* thread : order_) {
        const model::SampledThread& who = identities_.of(thread->index);
        thread->activity.set_thread(who.pid, who.tid);
    }
}

void SampleEngine::add_new_rows(model::Batch& batch) {
    ++batch_number_;
    const auto tail = [](const auto& rows, std::size_t& handed) {
        const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(handed);
        handed = rows.size();
        return std::vector(begin, rows.end());
    };
    batch.strings = tail(interner_->strings().rows(), handed_.strings);
    batch.frames = tail(interner_->frames(), handed_.frames);
    batch.stacks = tail(interner_->stacks().rows(), handed_.stacks);
    batch.threads = identities_.take_changed();
}

}  // namespace pystack::capture
