#pragma once

#include <nanobind/nanobind.h>

#include <map>

#include "bindings/frame_bindings.h"
#include "model/task.h"

namespace pystack::bindings {

nanobind::dict event_loop_dict(const model::EventLoop& loop);

/// Makes the tasks of one snapshot. Those at the same place share one list of frames.
class TaskMaker {
  public:
    explicit TaskMaker(FrameMaker& frames) : frames_(frames) {}

    nanobind::dict make(const model::Task& task);

  private:
    nanobind::list frames_of(const model::Task& task);

    FrameMaker& frames_;
    std::map<const void*, nanobind::list> made_;
};

}  // namespace pystack::bindings
