#include "capture/sample_engine.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "memory/remote_struct.h"
#include "threads/right_of_way.h"

namespace pystack::capture {

namespace {

using model::StackEnd;

/// Each attempt is one system call; what fails that often changes too fast to be seen at this
/// moment.
constexpr int kProofAttempts = 200;
constexpr int kProofRounds = 8;
constexpr int kListAttempts = 4;
/// A call that was never seen before counts when so many of the next proofs show it too.
constexpr int kCallProofs = 2;
constexpr int kCallAttempts = 1000;
/// What a tick may wait for its threads, in pauses that grow.
constexpr std::chrono::nanoseconds kFirstPause = std::chrono::microseconds(50);
constexpr std::chrono::nanoseconds kMostPatience = std::chrono::milliseconds(4);
/// A thread begins with a generator when so many proofs, over so long a time, say so.
constexpr int kCutProofs = 40;
constexpr std::uint64_t kCutForNs = 100'000'000;
/// With more threads, the batch of a tick takes too long to be the moment of a proof.
constexpr std::size_t kMostThreadsInline = 6;
/// A target that executes another program has no interpreter for a while.
constexpr std::uint64_t kFindAgainEveryNs = 20'000'000;
/// Programs import asyncio when they like.
constexpr std::uint64_t kFirstFindTasksPauseNs = 20'000'000;
constexpr std::uint64_t kLongestFindTasksPauseNs = 10'000'000'000;
/// So many proofs in a row find the same stack, before it is looked for only once.
constexpr int kProofsBeforeQuiet = 2;

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
      patience_(std::min(kMostPatience, std::chrono::nanoseconds(
                                            static_cast<std::int64_t>(0.5e9 / options.rate_hz)))),
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
    native_.reset();
    if (options_.native) {
        NativeOptions wanted = *options_.native;
        wanted.debug_roots.insert(wanted.debug_roots.begin(),
                                  "/proc/" + std::to_string(target_->pid()) + "/root");
        // Fails when the target has ended, which the next sample finds out.
        auto native = NativeSampling::create(*target_, runtime_, wanted, *interner_);
        if (native) native_ = std::move(*native);
    }
    tasks_.reset();
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
    waited_ = {};
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

// --- with the target stopped ---

Result<void> SampleEngine::sample_stopped(std::uint64_t now_ns, model::Batch& batch,
                                          model::SamplerStats& stats) {
    std::optional<threads::RightOfWay> right_of_way(std::in_place);
    auto guard = target_->stop();
    if (!guard) {
        if (guard.error().code != ErrorCode::kPermissionDenied) return find_again();
        return fail(std::move(guard).error());
    }
    watch_->walk_still();
    std::vector<StillStack> reads(watch_->threads().size());
    for (std::size_t i = 0; i < reads.size(); ++i) {
        reads[i].outcome = stacks_->read_still(watch_->threads()[i].address, reads[i].frames);
        if (!codes_->verify(reads[i].frames)) interner_->start_anew();
        codes_->load(reads[i].frames);
        if (!tasks_) continue;
        const RemoteAddr state = watch_->threads()[i].address;
        const RemoteAddr task = tasks_->running_task(state);
        TaskWatch::Known unknown;
        if (task) reads[i].task = tasks_->frame_of(state, task, unknown);
    }
    if (native_) {
        native_->begin();
        for (const threads::StoppedThread& thread : guard->threads()) {
            if (!thread.stopped) continue;
            if (const auto registers = guard->registers(thread.tid))
                native_->add_thread(thread.tid, *registers);
        }
        native_->copy(watch_->threads());
    }
    guard->release();
    right_of_way.reset();
    const auto stopped = static_cast<std::uint64_t>(guard->stop_time().count());
    stats.stop_ns_total += stopped;
    stats.stop_ns_max = std::max(stats.stop_ns_max, stopped);
    stats.count_stop(stopped);

    batch_holds_ = false;
    follow_threads(now_ns);
    identify(now_ns);
    if (native_) intern_native(reads, now_ns, stats);
    for (std::size_t i = 0; i < reads.size(); ++i) {
        if (!native_) {
            std::reverse(reads[i].frames.begin(), reads[i].frames.end());
            interner_->intern(reads[i].frames, 0, reads[i].task, order_[i]->stack);
        }
        record(i, reads[i].outcome.end, true, now_ns, batch, stats);
    }
    return {};
}

/// One system thread may run in several interpreters; each of its thread states has all of its
/// stack.
void SampleEngine::intern_native(std::span<const StillStack> reads, std::uint64_t now_ns,
                                 model::SamplerStats& stats) {
    std::vector<RemoteAddr> interpreters;
    for (const auto& one : watch_->interpreters()) interpreters.push_back(one.address);
    native_->catch_up(interpreters, now_ns);
    std::unordered_map<std::int32_t, std::vector<std::size_t>> by_tid;
    for (std::size_t i = 0; i < reads.size(); ++i) {
        const std::int32_t tid = identities_.of(indices_[i]).tid;
        // Of whom it is not known, the Python frames alone are shown.
        by_tid[tid != 0 ? tid : -static_cast<std::int32_t>(i) - 1].push_back(i);
    }
    for (const auto& [tid, mine] : by_tid) {
        std::vector<NativeSampling::State> states;
        for (const std::size_t i : mine) {
            states.push_back({.address = watch_->threads()[i].address,
                              .frames = reads[i].frames,
                              .task = reads[i].task});
        }
        const auto interned = native_->intern(tid, states);
        for (const std::size_t i : mine) {
            order_[i]->stack.entries.assign(1, {.stack = interned.stack});
            if (!interned.is_whole) ++stats.partly_merged;
        }
    }
}

// --- with the target running ---

void SampleEngine::sample_moving(std::uint64_t now_ns, model::Batch& batch,
                                 model::SamplerStats& stats) {
    read_tick(now_ns);
    if (watch_->interpreters().empty()) return;
    code_watch_->take(batch_, *watch_);
    identify(now_ns);
    for (std::size_t i = 0; i < order_.size(); ++i) {
        bool moved = true;
        const StackEnd end = sample_thread(i, now_ns, moved);
        record(i, end, moved, now_ns, batch, stats);
    }
    update_use();
}

/// Once asyncio is there, thread states are read up to the running task.
void SampleEngine::find_tasks(std::uint64_t now_ns) {
    if (tasks_ || now_ns < find_tasks_at_ns_) return;
    find_tasks_at_ns_ = now_ns + find_tasks_pause_ns_;
    find_tasks_pause_ns_ = std::min(find_tasks_pause_ns_ * 2, kLongestFindTasksPauseNs);
    const auto offsets = cpython::find_asyncio(*target_, runtime_);
    if (!offsets || !stacks_->add_running_task(offsets->running_task)) return;
    tasks_ = std::make_unique<TaskWatch>(target_->memory(), runtime_.layout, *offsets, *interner_);
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
    thread_pieces_.resize(order_.size());
    // It comes last, so that its proof is the nearest to one moment.
    std::optional<std::size_t> proved;
    if (order_.size() <= kMostThreadsInline && inline_thread_ < order_.size() &&
        !order_[inline_thread_]->quiet) {
        proved = inline_thread_;
    }
    for (std::size_t i = 0; i < order_.size(); ++i) {
        if (i != proved) ask(i, order_[i]->quiet ? Asked::kLook : Asked::kState);
    }
    if (proved) ask(*proved, Asked::kProof);
    code_watch_->add_to(batch_,
                        runtime_.layout.interpreter_state.code_object_generation.has_value());
    watch_->add_end_to(batch_);
}

/// Adds the pieces of one thread to the tick's batch; without a plan of its stack, no more than the
/// thread state.
void SampleEngine::ask(std::size_t index, Asked what) {
    Thread& thread = *order_[index];
    const RemoteAddr state = watch_->threads()[index].address;
    if (what != Asked::kState && !stacks_->has_plan(state, thread.plan)) what = Asked::kState;
    thread.asked = what;
    if (what == Asked::kState) {
        thread_pieces_[index] = batch_.add(stacks_->format().thread_at(state));
        return;
    }
    thread.first_piece = what == Asked::kLook ? stacks_->add_look(thread.plan, batch_)
                                              : stacks_->add_proof(thread.plan, batch_);
    thread_pieces_[index] = cpython::StackReader::thread_piece(thread.plan, thread.first_piece);
}

void SampleEngine::follow_threads(std::uint64_t now_ns) {
    if (followed_ == watch_->changes()) return;
    followed_ = watch_->changes();
    use_changed_ = true;
    std::unordered_map<RemoteAddr, std::unique_ptr<Thread>> known;
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
            thread = std::make_unique<Thread>();
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
    for (const Thread* thread : order_) code_watch_->use(thread->stack);
}

StackEnd SampleEngine::sample_thread(std::size_t index, std::uint64_t now_ns, bool& moved) {
    Thread& thread = *order_[index];
    const std::size_t old_size = thread.stack.entries.size();
    StackEnd end = StackEnd::kTorn;
    bool in_batch = batch_holds_;
    bool stands = false;
    if (batch_holds_ && thread.asked == Asked::kLook &&
        stacks_->is_unchanged(thread.plan, batch_, thread.first_piece)) {
        moved = false;
        stands = true;
        end = thread.plan.frames().empty() ? StackEnd::kNoPython : StackEnd::kComplete;
    } else if (batch_holds_ && thread.asked == Asked::kProof) {
        end = stacks_->judge_proof(thread.plan, batch_, thread.first_piece, batch_pace_, false).end;
    }
    for (int round = 0; round < kProofRounds; ++round) {
        if (end == StackEnd::kTorn || end == StackEnd::kUnreadable) {
            in_batch = stands = false;
            end = prove(index);
            if (end == StackEnd::kTorn && wait_patiently()) continue;
            if (end == StackEnd::kTorn || end == StackEnd::kUnreadable) break;
        }
        std::optional<model::FrameId> task = thread.stack.task;
        if (!stands && !name_task(index, task) && round + 1 < kProofRounds) {
            end = StackEnd::kTorn;
            continue;
        }
        const std::size_t unchanged = thread.plan.take_unchanged();
        const std::size_t size = thread.plan.frames().size();
        const bool same = unchanged == size && size == old_size && task == thread.stack.task;
        const auto interned =
            interner_->intern(thread.plan.frames(), unchanged, task, thread.stack);
        switch (interned) {
            case FrameInterner::Outcome::kDone:
                if (!may_begin_there(thread, now_ns)) break;
                if (!code_watch_->holds(thread.stack, in_batch,
                                        watch_->threads()[index].interpreter, *watch_)) {
                    break;
                }
                if (!same) use_changed_ = true;
                moved = !same;
                thread.same_proofs =
                    same ? std::min(thread.same_proofs + 1, kProofsBeforeQuiet) : 0;
                thread.quiet = thread.same_proofs == kProofsBeforeQuiet;
                return end;
            case FrameInterner::Outcome::kUnknownCode:
                codes_->load(thread.plan.frames());
                break;
            case FrameInterner::Outcome::kUnproved:
                prove_call(index);
                break;
            case FrameInterner::Outcome::kUnfit:
                break;
        }
        end = StackEnd::kTorn;
    }
    thread.same_proofs = 0;
    thread.quiet = false;
    return end;
}

/// A thread that lost its processor while it was linking frames cannot be proved before it gets it
/// back. False when this tick has waited enough.
bool SampleEngine::wait_patiently() {
    const std::chrono::nanoseconds pause = std::max(kFirstPause, waited_);
    if (waited_ + pause > patience_) return false;
    waited_ += pause;
    std::this_thread::sleep_for(pause);
    return true;
}

/// The frame of the task that the thread ran when it was proved. False when it has ended since.
bool SampleEngine::name_task(std::size_t index, std::optional<model::FrameId>& frame) {
    Thread& thread = *order_[index];
    frame.reset();
    const RemoteAddr task = thread.plan.running_task();
    if (!task || !tasks_) return true;
    frame = tasks_->frame_of(watch_->threads()[index].address, task, thread.task);
    return frame.has_value();
}

/// A chain that begins with a generator lacks its callers, mostly: see FrameFormat::is_outermost.
/// Believed in the end, because some threads do begin so, but not while the thread may just have
/// lost its processor at that moment.
bool SampleEngine::may_begin_there(Thread& thread, std::uint64_t now_ns) const {
    if (!interner_->looks_cut(thread.stack)) {
        thread.cut_proofs = 0;
        return true;
    }
    if (thread.cut_proofs == 0) thread.cut_since_ns = now_ns;
    thread.cut_proofs = std::min(thread.cut_proofs + 1, kCutProofs);
    return thread.cut_proofs == kCutProofs && now_ns - thread.cut_since_ns >= kCutForNs;
}

StackEnd SampleEngine::prove(std::size_t index) {
    return stacks_
        ->prove(watch_->threads()[index].address, order_[index]->plan, kProofAttempts, false)
        .end;
}

/// Whether the call that was found for the first time is found again, and again. One that is made
/// up by mixing two moments is not.
bool SampleEngine::prove_call(std::size_t index) {
    Thread& thread = *order_[index];
    const FrameInterner::CallId call = interner_->unproved_call();
    // What was looked for in vain is looked for ever more seldom.
    const std::uint32_t failures = interner_->count_failure(call);
    if ((failures & (failures - 1)) != 0) return false;
    int seen = 0;
    for (int attempt = 0; attempt < kCallAttempts; ++attempt) {
        const auto outcome = stacks_->prove(watch_->threads()[index].address, thread.plan, 1, true);
        if (outcome.end != StackEnd::kComplete) continue;
        const std::size_t unchanged = thread.plan.take_unchanged();
        const auto interned =
            interner_->intern(thread.plan.frames(), unchanged, thread.stack.task, thread.stack);
        if (interned == FrameInterner::Outcome::kUnknownCode) codes_->load(thread.plan.frames());
        const bool again =
            interned == FrameInterner::Outcome::kUnproved && interner_->unproved_call() == call;
        if (again && ++seen == kCallProofs) {
            interner_->prove_call(call);
            return true;
        }
    }
    return false;
}

// --- what a sample is ---

void SampleEngine::record(std::size_t index, StackEnd end, bool moved, std::uint64_t now_ns,
                          model::Batch& batch, model::SamplerStats& stats) {
    ++stats.attempted;
    Thread& thread = *order_[index];
    const std::uint64_t weight = now_ns - std::min(now_ns, thread.last_ns);
    thread.last_ns = now_ns;
    if (end == StackEnd::kTorn || end == StackEnd::kUnreadable) {
        if (!options_.stop && !watch_->is_linked(index)) {
            ++stats.vanished;
        } else {
            ++(end == StackEnd::kTorn ? stats.torn : stats.failed);
        }
        return;
    }
    ++stats.taken;
    const std::uint8_t bits = state_bits(index, moved, now_ns);
    const model::StackId stack = thread.stack.id();
    if (thread.row_batch == batch_number_ && batch.extend(thread.row, now_ns, weight, stack, bits))
        return;
    thread.row_batch = batch_number_;
    thread.row = batch.add(now_ns, weight, thread.index, stack, bits);
}

/// A word of the thread's state, as the tick's batch has it.
std::optional<std::int32_t> SampleEngine::thread_flag(std::size_t index,
                                                      cpython::FieldOffset field) const {
    if (!field || !batch_holds_ || !batch_.complete(thread_pieces_[index])) return std::nullopt;
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
    if (options_.stop) return bits;
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
    for (Thread* thread : order_) {
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
