#include "bindings/core_call.h"

#include <chrono>

#include "bindings/gil.h"

namespace nb = nanobind;

namespace pystack::bindings {

namespace {

/// How late a signal may be handled.
constexpr auto kSlice = std::chrono::milliseconds(50);

}  // namespace

void CoreCall::finish() {
    // Notified with the lock: once it is free, the caller may be gone with the condition.
    const std::lock_guard lock(mutex_);
    has_ended_ = true;
    news_.notify_all();
}

bool CoreCall::on_caller(const std::function<void()>& ask) {
    std::unique_lock lock(mutex_);
    if (limits_->cancelled()) return false;
    question_ = &ask;
    news_.notify_all();
    news_.wait(lock, [this] { return question_ == nullptr; });
    return true;
}

/// The first exception counts, and gives the call up.
template <class Ask>
void CoreCall::with_python(Ask ask) {
    if (raised_) return;
    const WithGil gil;
    try {
        ask();
    } catch (...) {
        raised_ = std::current_exception();
        limits_->cancel();
    }
}

void CoreCall::attend() {
    const WithoutGil without_gil;
    std::unique_lock lock(mutex_);
    while (!has_ended_) {
        news_.wait_for(lock, kSlice, [this] { return has_ended_ || question_ != nullptr; });
        const std::function<void()>* const question = question_;
        if (has_ended_) break;
        lock.unlock();
        with_python([&] {
            if (question != nullptr) (*question)();
            if (PyErr_CheckSignals() != 0) throw nb::python_error();
            if (!cancelled_.is_none() && nb::cast<bool>(cancelled_())) limits_->cancel();
        });
        lock.lock();
        if (question != nullptr) {
            question_ = nullptr;
            news_.notify_all();
        }
    }
}

}  // namespace pystack::bindings
