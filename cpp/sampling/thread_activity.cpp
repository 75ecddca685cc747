#include "sampling/thread_activity.h"

#include <algorithm>
#include <array>

#include "model/sample.h"
#include "waits/pthreads.h"

namespace pystack::sampling {

namespace {

/// How long a thread that stands still is not looked at: an eighth of the time that it has stood
/// still for, at most this long, or, with very many threads, so long for each of them.
constexpr std::uint64_t kPauseShare = 8;
constexpr std::uint64_t kLongestPauseNs = 100'000'000;
constexpr std::uint64_t kPausePerThreadNs = 1'000'000;

}  // namespace

std::uint8_t ThreadActivity::bits(const Sample& sample) {
    if (sample.moved) moved_ns_ = sample.now_ns;
    if (sample.moved && sample.runs_python) {
        bits_ = model::kOnCpu | model::kCpuKnown;
        forget_call();
    } else if (sample.asks_for_gil) {
        bits_ = model::kWaitsForGil | model::kCpuKnown;
        forget_call();
    } else if (sample.moved || sample.now_ns >= look_at_ns_) {
        const std::uint64_t pause = (sample.now_ns - moved_ns_) / kPauseShare;
        const std::uint64_t longest =
            std::max(kLongestPauseNs, kPausePerThreadNs * sample.thread_count);
        look_at_ns_ = sample.now_ns + std::min(pause, longest);
        bits_ = look(sample);
    }
    return bits_;
}

bool ThreadActivity::sleeps_for(std::uint64_t ns, std::uint64_t now_ns) const {
    return bits_ == model::kCpuKnown && moved_ns_ + ns <= now_ns;
}

std::uint8_t ThreadActivity::look(const Sample& sample) {
    std::array<char, 256> text;
    const auto said = file_.read(text);
    ++looks_;
    call_ = said ? process::parse_syscall(*said) : std::nullopt;
    if (!said) return 0;
    std::uint8_t bits = model::kCpuKnown;
    // On a CPU, or waiting for one.
    if (said->starts_with("running")) bits |= model::kOnCpu;
    if (sample.gil != nullptr && waits_for_gil(sample)) bits |= model::kWaitsForGil;
    return bits;
}

bool ThreadActivity::waits_for_gil(const Sample& sample) const {
    auto state = cpython::gil_state(*sample.gil, sample.thread_state, call_);
    if (state == model::GilState::kNone && call_ && sample.read_gil &&
        waits::may_wait_on_stack(*call_)) {
        const auto gil = sample.read_gil();
        if (gil) state = cpython::gil_state(*gil, sample.thread_state, call_);
    }
    return state == model::GilState::kWaits || state == model::GilState::kDropping;
}

/// It runs: the kernel is asked as soon as that ends.
void ThreadActivity::forget_call() {
    look_at_ns_ = 0;
    if (!call_) return;
    call_.reset();
    ++looks_;
}

std::optional<arch::Syscall> ThreadActivity::call_now() {
    std::array<char, 256> text;
    const auto said = file_.read(text);
    return said ? process::parse_syscall(*said) : std::nullopt;
}

std::optional<process::BlockedAt> ThreadActivity::place_now() {
    std::array<char, 256> text;
    const auto said = file_.read(text);
    return said ? process::parse_blocked_at(*said) : std::nullopt;
}

}  // namespace pystack::sampling
