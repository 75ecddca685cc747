#pragma once

#include <nanobind/nanobind.h>

#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/guard.h"
#include "base/result.h"
#include "base/work_limits.h"

namespace pystack::bindings {

/// `max_memory`: in bytes; nullopt: the default.
inline std::shared_ptr<WorkLimits> make_limits(std::optional<std::uint64_t> max_memory) {
    return std::make_shared<WorkLimits>(max_memory.value_or(WorkLimits::kDefaultBytes));
}

/// A call into the core that its caller can give up: the core works on a thread of its own, while
/// the caller's thread handles signals. What a handler raises (KeyboardInterrupt), or a `cancelled`
/// that returns true, cancels the limits; the core is then waited for, and the exception goes on.
class CoreCall {
  public:
    /// `cancelled`: None, or a function that is asked many times a second. Needs the GIL.
    CoreCall(std::shared_ptr<WorkLimits> limits, nanobind::object cancelled)
        : limits_(std::move(limits)), cancelled_(std::move(cancelled)) {}

    /// What `work` returns, a Result. To be called with the GIL, which `work` does not have. Throws
    /// what Python has raised meanwhile.
    template <class Work>
    auto run(Work work) -> decltype(work()) {
        std::optional<decltype(work())> result;
        auto started = guarded([&]() -> Result<std::thread> {
            return std::thread([&] {
                result.emplace(guarded(work));
                finish();
            });
        });
        if (!started) return fail(std::move(started).error());
        attend();
        started->join();
        if (raised_) std::rethrow_exception(raised_);
        return std::move(*result);
    }

    /// For `work`: has the caller's thread call `ask`, with the GIL, and waits for it. Exceptions
    /// of `ask` end the call as those of signal handlers do. False: it was not called.
    bool on_caller(const std::function<void()>& ask);

    const std::shared_ptr<WorkLimits>& limits() const { return limits_; }

  private:
    void attend();
    void finish();
    template <class Ask>
    void with_python(Ask ask);

    std::shared_ptr<WorkLimits> limits_;
    nanobind::object cancelled_;
    std::mutex mutex_;
    std::condition_variable news_;
    const std::function<void()>* question_ = nullptr;
    bool has_ended_ = false;
    std::exception_ptr raised_;  ///< Only used by the caller's thread.
};

}  // namespace pystack::bindings
