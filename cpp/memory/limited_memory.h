#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "base/work_limits.h"
#include "memory/memory_reader.h"

namespace pystack::memory {

/// The memory of a target as one reading may use it: each read takes steps, and once there are none
/// left, or the reading is cancelled, nothing can be read any more. Every walk whose length the
/// target chooses (lists, dicts, searches) reads at each turn, so this ends all of them, within
/// microseconds of the cancellation. The source must outlive it.
class LimitedMemory final : public MemoryReader {
  public:
    LimitedMemory(const MemoryReader& source, std::shared_ptr<WorkLimits> limits)
        : source_(source), limits_(std::move(limits)) {}

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        return may_read(1, destination.size()) ? source_.read_up_to(address, destination) : 0;
    }

    void read_many(std::span<ReadRequest> requests) const override {
        // As many as the kernel takes at once, so that a batch is as few calls as without us.
        for (std::size_t first = 0; first < requests.size(); first += kMostAtOnce) {
            const auto some =
                requests.subspan(first, std::min(kMostAtOnce, requests.size() - first));
            std::size_t bytes = 0;
            for (const ReadRequest& request : some) bytes += request.destination.size();
            if (!may_read(some.size(), bytes)) return;
            source_.read_many(some);
        }
    }

  private:
    static constexpr std::size_t kMostAtOnce = 1024;
    // A step is some ten nanoseconds of work: a call, a piece of it, and bytes.
    static constexpr std::uint64_t kStepsPerPiece = 8;
    static constexpr std::uint64_t kBytesPerStep = 64;

    bool may_read(std::size_t pieces, std::size_t bytes) const {
        return limits_->charge_steps(pieces * kStepsPerPiece + bytes / kBytesPerStep);
    }

    const MemoryReader& source_;
    std::shared_ptr<WorkLimits> limits_;
};

}  // namespace pystack::memory
