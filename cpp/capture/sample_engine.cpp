#include "capture/sample_engine.h"

#include <algorithm>

#include "capture/thread_matching.h"
#include "cpython/gil_state.h"
#include "cpython/thread_names.h"

namespace pystack::capture {

namespace {

using cpython::RawFrame;

/// Each attempt is one system call; what fails that often changes too fast to be seen at this
/// moment.
constexpr int kProofAttempts = 30;
constexpr int kProofRounds = 4;
constexpr int kListAttempts = 4;
/// A target that executes another program has no interpreter for a while.
constexpr std::uint64_t kFindAgainEveryNs = 20'000'000;
constexpr std::uint64_t kFirstIdentifyPauseNs = 5'000'000;
constexpr std::uint64_t kLongestIdentifyPauseNs = 2'000'000'000;

}  // namespace

Result<std::unique_ptr<SampleEngine>> SampleEngine::open(int pid, const SamplerOptions& options) {
    PYSTACK_TRY(target, target::LiveTarget::open(pid));
    PYSTACK_TRY(runtime, cpython::locate_runtime(*target, {.exhaustive = options.exhaustive}));
    return std::unique_ptr<SampleEngine>(
        new SampleEngine(std::move(target), std::move(runtime), options));
}

SampleEngine::SampleEngine(std::unique_ptr<target::LiveTarget> target, cpython::Runtime runtime,
                           const SamplerOptions& options)
    : target_(std::move(target)), options_(options) {
    use(std::move(runtime));
}

void SampleEngine::use(cpython::Runtime runtime) {
    runtime_ = std::move(runtime);
    stacks_ = std::make_unique<cpython::StackReader>(target_->memory(), runtime_.layout,
                                                     options_.max_depth);
    codes_ = std::make_unique<cpython::CodeReader>(target_->memory(), runtime_.layout);
    // Rows stay; what leads to them goes, because addresses mean something else now.
    frame_ids_.clear();
    by_state_.clear();
    unique_ids_.clear();
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
    ++tick_;
    ++stats.ticks;
    if (previous_ns_ == 0) previous_ns_ = now_ns;
    Result<void> result;
    if (options_.stop) {
        result = sample_stopped(now_ns, batch, stats);
    } else {
        walked_ = cpython::walk_moving_interpreters(target_->memory(), runtime_, kListAttempts);
        sample_moving(now_ns, batch, stats);
    }
    if (walked_.interpreters.empty() && result && now_ns >= retry_find_at_ns_) {
        retry_find_at_ns_ = now_ns + kFindAgainEveryNs;
        result = find_again();
    }
    forget_vanished();
    previous_ns_ = now_ns;
    return result;
}

Result<void> SampleEngine::sample_stopped(std::uint64_t now_ns, model::Batch& batch,
                                          model::SamplerStats& stats) {
    auto guard = target_->stop();
    if (!guard) {
        walked_ = {};
        if (guard.error().code != ErrorCode::kPermissionDenied) return find_again();
        return fail(std::move(guard).error());
    }
    struct Read {
        cpython::StackOutcome outcome;
        std::vector<RawFrame> frames;
    };
    walked_ = cpython::walk_interpreters(target_->memory(), runtime_);
    std::vector<Read> reads(walked_.threads.size());
    for (std::size_t i = 0; i < reads.size(); ++i) {
        reads[i].outcome = stacks_->read_still(walked_.threads[i].address, reads[i].frames);
        codes_->verify(reads[i].frames);
        codes_->load(reads[i].frames);
    }
    read_gils();
    guard->release();
    const auto stopped = static_cast<std::uint64_t>(guard->stop_time().count());
    stats.stop_ns_total += stopped;
    stats.stop_ns_max = std::max(stats.stop_ns_max, stopped);

    identify(now_ns);
    for (std::size_t i = 0; i < reads.size(); ++i) {
        frames_.swap(reads[i].frames);
        const cpython::ThreadState& state = walked_.threads[i];
        record(state, reads[i].outcome, now_ns, state_bits(state), batch, stats);
    }
    return {};
}

void SampleEngine::sample_moving(std::uint64_t now_ns, model::Batch& batch,
                                 model::SamplerStats& stats) {
    identify(now_ns);
    for (const cpython::ThreadState& state : walked_.threads) {
        const cpython::StackOutcome outcome = prove(state, thread_of(state, now_ns).plan);
        read_gils();
        record(state, outcome, now_ns, state_bits(state), batch, stats);
    }
}

/// As in Capture::prove: code objects must be known before the proof, and unchanged after it.
cpython::StackOutcome SampleEngine::prove(const cpython::ThreadState& state,
                                          cpython::ReadPlan& plan) {
    cpython::StackOutcome outcome;
    for (int round = 0; round < kProofRounds; ++round) {
        outcome = stacks_->read_moving(state.address, plan, kProofAttempts, frames_);
        if (outcome.end == model::StackEnd::kTorn || outcome.end == model::StackEnd::kUnreadable) {
            return outcome;
        }
        const bool known =
            std::all_of(frames_.begin(), frames_.end(), [this](const RawFrame& frame) {
                return frame.shim || codes_->find(frame.code) != nullptr;
            });
        codes_->load(frames_);
        // Believed in the end: some threads do begin with a generator.
        if (codes_->looks_cut(frames_) && round + 1 < kProofRounds) continue;
        if (known && codes_->instructions_fit(frames_) && codes_->verify(frames_)) return outcome;
    }
    outcome.end = model::StackEnd::kTorn;
    return outcome;
}

void SampleEngine::record(const cpython::ThreadState& state, const cpython::StackOutcome& outcome,
                          std::uint64_t now_ns, std::uint8_t bits, model::Batch& batch,
                          model::SamplerStats& stats) {
    ++stats.attempted;
    Thread& thread = thread_of(state, now_ns);
    const std::uint64_t weight = now_ns - std::min(now_ns, thread.last_ns);
    thread.last_ns = now_ns;
    thread.seen_at_tick = tick_;
    switch (outcome.end) {
        case model::StackEnd::kTorn:
            ++stats.torn;
            return;
        case model::StackEnd::kUnreadable:
            ++stats.failed;
            return;
        case model::StackEnd::kComplete:
        case model::StackEnd::kNoPython:
        case model::StackEnd::kDepthLimit:
            break;
    }
    ++stats.taken;
    batch.add(now_ns, weight, thread.index, intern(frames_), bits);
}

SampleEngine::Thread& SampleEngine::thread_of(const cpython::ThreadState& state,
                                              std::uint64_t now_ns) {
    const auto [place, added] = by_state_.try_emplace(state.address);
    // The address of a dead thread's state may be a new thread's.
    if (!added && unique_ids_[state.address] == state.unique_id) return place->second;
    unique_ids_[state.address] = state.unique_id;
    place->second = Thread{.index = static_cast<std::uint32_t>(threads_.size()),
                           .last_ns = previous_ns_ != 0 ? previous_ns_ : now_ns,
                           .seen_at_tick = tick_,
                           .identify_at_ns = now_ns,
                           .identify_pause_ns = kFirstIdentifyPauseNs,
                           .plan = {}};
    threads_.push_back({.pid = target_->pid(), .tid = 0, .interpreter_id = 0, .name = {}});
    changed_threads_.push_back(place->second.index);
    return place->second;
}

/// Finds out who the threads are, for those whose time has come. A thread that has just started is
/// known by its creator's id, and the main one has no name before `threading` is imported: so each
/// is asked about again, less and less often.
void SampleEngine::identify(std::uint64_t now_ns) {
    std::vector<cpython::ThreadState> due;
    for (const cpython::ThreadState& state : walked_.threads) {
        Thread& thread = thread_of(state, now_ns);
        if (now_ns < thread.identify_at_ns) continue;
        thread.identify_at_ns = now_ns + thread.identify_pause_ns;
        thread.identify_pause_ns = std::min(thread.identify_pause_ns * 4, kLongestIdentifyPauseNs);
        due.push_back(state);
    }
    if (due.empty()) return;
    const auto infos = target_->threads().value_or(std::vector<target::ThreadInfo>{});
    const auto matches = match_threads(walked_.threads, infos, {}, target_->memory());
    std::unordered_map<std::size_t, std::unordered_map<std::uint64_t, std::string>> names;
    for (std::size_t i = 0; i < walked_.threads.size(); ++i) {
        const cpython::ThreadState& state = walked_.threads[i];
        if (std::find(due.begin(), due.end(), state) == due.end()) continue;
        const cpython::InterpreterState& interpreter = walked_.interpreters[state.interpreter];
        model::SampledThread identity{.pid = target_->pid(), .interpreter_id = interpreter.id};
        if (matches[i]) {
            identity.tid = infos[*matches[i]].tid;
            identity.name = infos[*matches[i]].name.value_or("");
            const auto [place, added] = names.try_emplace(state.interpreter);
            if (added) {
                place->second = cpython::read_thread_names(target_->memory(), runtime_.layout,
                                                           interpreter.address)
                                    .value_or(std::unordered_map<std::uint64_t, std::string>{});
            }
            const auto name = place->second.find(state.python_thread_id);
            if (name != place->second.end()) identity.name = name->second;
        }
        set_identity(thread_of(state, now_ns).index, std::move(identity));
    }
}

void SampleEngine::set_identity(std::uint32_t index, model::SampledThread identity) {
    if (threads_[index] == identity) return;
    threads_[index] = std::move(identity);
    changed_threads_.push_back(index);
}

void SampleEngine::forget_vanished() {
    std::erase_if(by_state_, [this](const auto& item) {
        if (item.second.seen_at_tick == tick_) return false;
        unique_ids_.erase(item.first);
        return true;
    });
}

void SampleEngine::read_gils() {
    gil_holders_.assign(walked_.interpreters.size(), {});
    gil_known_.assign(walked_.interpreters.size(), false);
    for (std::size_t i = 0; i < walked_.interpreters.size(); ++i) {
        const auto gil =
            cpython::read_gil(target_->memory(), runtime_, walked_.interpreters[i].address);
        gil_known_[i] = gil.has_value();
        if (gil && gil->enabled && gil->locked) gil_holders_[i] = gil->holder;
    }
}

std::uint8_t SampleEngine::state_bits(const cpython::ThreadState& state) const {
    std::uint8_t bits = 0;
    if (gil_known_[state.interpreter]) bits |= model::kGilKnown;
    const bool holds = gil_holders_[state.interpreter] == state.address;
    if (holds) bits |= model::kHoldsGil;
    if (holds && walked_.interpreters[state.interpreter].gc_collecting.value_or(false))
        bits |= model::kGc;
    return bits;
}

model::StackId SampleEngine::intern(std::span<const RawFrame> frames) {
    model::StackId stack = 0;
    for (auto frame = frames.rbegin(); frame != frames.rend(); ++frame) {
        if (frame->shim) continue;
        const cpython::Code* code = codes_->find(frame->code);
        if (code == nullptr || code->problem || codes_->is_incomplete(*code, *frame)) continue;
        constexpr std::int64_t kOutside = -2;
        const auto offset = codes_->instruction_offset(*code, *frame);
        stack = stack_table_.push(stack, intern(*code, offset.value_or(kOutside)));
    }
    return stack;
}

model::FrameId SampleEngine::intern(const cpython::Code& code, std::int64_t offset) {
    const auto [place, added] =
        frame_ids_.try_emplace({&code, offset}, static_cast<model::FrameId>(frame_rows_.size()));
    if (added) {
        frame_rows_.push_back(
            {.kind = model::FrameKind::kPython,
             .function = strings_.intern(code.qualname.value_or(code.function)),
             .file = strings_.intern(code.file),
             .line = offset < -1 ? -1 : codes_->position(code, offset).line.value_or(-1),
             .first_line = code.identity.first_line});
    }
    return place->second;
}

void SampleEngine::add_new_rows(model::Batch& batch) {
    const auto tail = [](const auto& rows, std::size_t& handed) {
        const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(handed);
        handed = rows.size();
        return std::vector(begin, rows.end());
    };
    batch.strings = tail(strings_.rows(), handed_.strings);
    batch.frames = tail(frame_rows_, handed_.frames);
    batch.stacks = tail(stack_table_.rows(), handed_.stacks);
    std::sort(changed_threads_.begin(), changed_threads_.end());
    const auto end = std::unique(changed_threads_.begin(), changed_threads_.end());
    for (auto index = changed_threads_.begin(); index != end; ++index) {
        batch.threads.emplace_back(*index, threads_[*index]);
    }
    changed_threads_.clear();
}

}  // namespace pystack::capture
