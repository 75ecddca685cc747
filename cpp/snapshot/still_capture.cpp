#include "snapshot/still_capture.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "process/process_clock.h"

namespace pystack::snapshot {

namespace {

using Clock = std::chrono::steady_clock;

/// How long a running target is looked at until it stands still by itself.
constexpr auto kStillBudget = std::chrono::milliseconds(300);
constexpr auto kStillPause = std::chrono::milliseconds(2);

/// Whether no thread of a process ran between the making of this and a later question. A thread
/// that ran is charged for it by the kernel when it leaves its CPU; until then it is runnable.
class Stillness {
  public:
    explicit Stillness(const target::LiveTarget& target)
        : target_(target), before_(run_time_if_none_runs()) {}

    bool began() const { return before_.has_value(); }
    bool lasted() const { return before_ && run_time_if_none_runs() == before_; }

  private:
    std::optional<std::uint64_t> run_time_if_none_runs() const {
        const auto infos = target_.threads();
        if (!infos) return std::nullopt;
        const bool any_runs = std::ranges::any_of(
            *infos, [](const target::ThreadInfo& info) { return info.run_state == 'R'; });
        return any_runs ? std::nullopt : process::process_run_time_ns(target_.pid());
    }

    const target::LiveTarget& target_;
    std::optional<std::uint64_t> before_;
};

}  // namespace

std::vector<std::string> StillCapture::read() {
    rehearse();
    const bool wants_tasks = tasks_ != nullptr && tasks_->has_library();
    std::vector<std::string> missing;
    if ((wants_tasks || locals_ != nullptr) && !read_while_still()) {
        if (wants_tasks) {
            missing.emplace_back(
                "the tasks are missing: the process kept running while they were read");
        }
        if (locals_ != nullptr) {
            missing.emplace_back(
                "the variables are missing: the process kept running while they were read");
        }
    } else if (moved_ > 0) {
        missing.push_back("the variables of " + std::to_string(moved_) +
                          " threads are missing: they ran after their stacks were read");
    }
    if (tasks_ != nullptr && !wants_tasks) raw_.tasks.emplace();
    return missing;
}

/// What is read now is forgotten, but not which pages of memory it took.
void StillCapture::rehearse() {
    if (locals_ != nullptr) {
        for (RawThread& thread : raw_.threads) locals_->rehearse(raw_, thread.frames);
    }
    if (tasks_ != nullptr) tasks_->rehearse(raw_);
    if (locals_ != nullptr) locals_->rehearse_tasks(raw_);
    forget();
}

bool StillCapture::read_while_still() {
    const auto end = Clock::now() + kStillBudget;
    do {
        const Stillness still(target_);
        if (still.began()) {
            target_.limits().renew_steps();
            read_once();
            if (still.lasted()) return true;
            forget();
        }
        std::this_thread::sleep_for(kStillPause);
    } while (Clock::now() < end && !raw_.target.limits().cancelled());
    return false;
}

void StillCapture::read_once() {
    if (tasks_ != nullptr) tasks_->read(raw_);
    if (locals_ == nullptr) return;
    locals_->read(raw_);
    // The stacks were proved a moment ago.
    std::vector<cpython::RawFrame> frames;
    for (RawThread& thread : raw_.threads) {
        if (thread.frames.empty()) continue;
        raw_.stacks.read_stopped(thread.state.address, frames, raw_.most_frames());
        if (frames == thread.frames) continue;
        thread.variables.clear();
        ++moved_;
    }
}

void StillCapture::forget() {
    moved_ = 0;
    raw_.clear_variables();
    raw_.clear_tasks();
}

}  // namespace pystack::snapshot
