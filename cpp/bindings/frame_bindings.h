#pragma once

#include <nanobind/nanobind.h>

#include <array>
#include <compare>
#include <cstdint>
#include <map>

#include "model/frame.h"

namespace pystack::bindings {

/// Makes the frames of one snapshot. Frames and names that are equal are one object each, as they
/// are in the target: recursion a million calls deep is a list of one thing.
class FrameMaker {
  public:
    nanobind::object make(const model::Frame& frame);

  private:
    /// What tells Python frames that show no variables from each other; names are the same object
    /// if they are of the same code.
    struct Key {
        std::array<const void*, 3> names;
        std::array<std::int64_t, 7> numbers;
        auto operator<=>(const Key&) const = default;
    };
    static Key key_of(const model::Frame& frame);
    nanobind::dict python_dict(const model::Frame& frame);
    nanobind::dict native_dict(const model::Frame& frame);
    nanobind::object name(const model::Text& text);

    std::map<Key, nanobind::dict> made_;
    std::map<const void*, nanobind::object> names_;
};

}  // namespace pystack::bindings
