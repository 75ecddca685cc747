#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/snapshot.h"
#include "model/tables.h"
#include "snapshot/raw_snapshot.h"

namespace pystack::snapshot {

/// Says in a thread that one of its frames was left out.
void leave_out_frame(model::Thread& thread, const std::string& reason);

/// The Python frames of a snapshot. Recursion makes many that are equal: each place in the code is
/// looked up once.
class FrameMaker {
  public:
    explicit FrameMaker(RawSnapshot& raw) : raw_(raw) {}

    /// Nothing for frames that run no Python code, and for those that are left out.
    void add(const RawThread& read, std::size_t index, model::Thread& thread);
    /// A frame without variables; null for one that runs no Python code, or whose code object is
    /// not known. Valid until the next call.
    const model::Frame* make(const cpython::RawFrame& raw_frame);

  private:
    const model::Frame& frame_at(const cpython::Code& code, const cpython::RawFrame& raw_frame);

    RawSnapshot& raw_;
    /// One name for all of them: where memory is short there are many.
    const model::Frame left_out_{.function = "<left out: memory limit>"};
    model::IdMap places_;
    std::vector<model::Frame> frames_;
};

}  // namespace pystack::snapshot
