#include "sampling/program_readers.h"

#include <algorithm>
#include <utility>

#include "cpython/runtime/other_runtimes.h"
#include "model/sample.h"

namespace pystack::sampling {

namespace {

/// Of the memory limit, half is for what is dropped again and for debug files; an eighth is kept of
/// code objects before those that died are dropped. Not often: those in use must be read again.
constexpr std::uint64_t kPartOfDropped = 2;
constexpr std::uint64_t kPartOfCodes = 8;
constexpr std::uint64_t kRenewCodesEveryNs = 1'000'000'000;
constexpr std::uint64_t kFirstFindPauseNs = 20'000'000;
constexpr std::uint64_t kLongestFindPauseNs = 2'000'000'000;

/// Tables grow only, so they have limits of their own: code objects are read when they are full,
/// too.
std::shared_ptr<WorkLimits> part_for_tables(WorkLimits& all) {
    const std::uint64_t bytes = all.max_bytes() - all.max_bytes() / kPartOfDropped;
    return std::make_shared<WorkLimits>(all.charge_bytes(bytes) ? bytes : 0);
}

}  // namespace

ProgramReaders::ProgramReaders(const target::Target& target, const SamplerOptions& options)
    : target_(target),
      limits_(options.limits),
      max_depth_(options.max_depth),
      stops_(options.stops()),
      table_limits_(part_for_tables(*limits_)) {}

void ProgramReaders::use(cpython::Runtime runtime) {
    runtime_ = std::move(runtime);
    const memory::MemoryReader& memory = target_.memory();
    stacks_ = std::make_unique<cpython::StackReader>(memory, runtime_.layout, max_depth_);
    interpreters_ = std::make_unique<cpython::CachedInterpreters>(
        memory, runtime_, stacks_->format(),
        [this] { return cpython::most_thread_states(target_.thread_count()); });
    use_new_codes();
    interner_->set_stopped(stops_);
    tasks_.reset();
    find_tasks_at_ns_ = 0;
    find_tasks_pause_ns_ = find_others_pause_ns_ = kFirstFindPauseNs;
    others_.clear();
    find_others_at_ns_ = 0;
}

void ProgramReaders::use_new_codes() {
    const memory::MemoryReader& memory = target_.memory();
    auto codes = std::make_unique<cpython::CodeReader>(memory, runtime_.layout, limits_);
    if (interner_) {
        interner_->use(*codes);
    } else {
        interner_ = std::make_unique<FrameInterner>(*codes, table_limits_);
    }
    code_validator_ = std::make_unique<CodeValidator>(memory, *codes, *interner_);
    codes_ = std::move(codes);
}

bool ProgramReaders::renew_codes(std::uint64_t now_ns) {
    if (codes_->bytes() < limits_->max_bytes() / kPartOfCodes || now_ns < renew_codes_at_ns_)
        return false;
    renew_codes_at_ns_ = now_ns + kRenewCodesEveryNs;
    use_new_codes();
    return true;
}

void ProgramReaders::renew_tables() {
    table_limits_->return_all_bytes();
    interner_->renew_tables();
}

bool ProgramReaders::find_tasks(std::uint64_t now_ns) {
    if (tasks_ || now_ns < find_tasks_at_ns_ || !find_tasks_pace_.is_due()) return false;
    const auto begin = Pace::Clock::now();
    find_tasks_at_ns_ = now_ns + find_tasks_pause_ns_;
    find_tasks_pause_ns_ = std::min(find_tasks_pause_ns_ * 2, kLongestFindPauseNs);
    const auto offsets = cpython::find_asyncio(target_, runtime_);
    find_tasks_pace_.worked_since(begin);
    if (!offsets || !stacks_->add_running_task(offsets->running_task)) return false;
    tasks_ = std::make_unique<TaskNames>(target_.memory(), runtime_.layout, *offsets, *interner_);
    return true;
}

void ProgramReaders::find_others(std::uint64_t now_ns) {
    if (now_ns < find_others_at_ns_ || !find_others_pace_.is_due()) return;
    const auto begin = Pace::Clock::now();
    find_others_at_ns_ = now_ns + find_others_pause_ns_;
    find_others_pause_ns_ = std::min(find_others_pause_ns_ * 2, kLongestFindPauseNs);
    // One that has ended was there all the same.
    for (std::string& other : cpython::other_runtimes(target_, runtime_)) {
        if (std::ranges::find(others_, other) == others_.end()) others_.push_back(std::move(other));
    }
    find_others_pace_.worked_since(begin);
}

std::uint8_t ProgramReaders::gil_bits(const cpython::ThreadState& state) const {
    const auto& interpreter = interpreters_->now(state.interpreter);
    if (!interpreter.gil) return 0;
    if (interpreter.gil_holder() != state.address) return model::kGilKnown;
    const std::uint8_t bits = model::kGilKnown | model::kHoldsGil;
    return interpreter.collecting ? bits | model::kGc : bits;
}

}  // namespace pystack::sampling
