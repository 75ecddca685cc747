#pragma once

#include <cmath>
#include <cstdint>
#include <random>

namespace pystack::sampling {

/// Where in its interval each sample is taken: 0 to 1, each place as likely as any other.
///
/// Independent places would be as good as any for long recordings. In short ones, their chance is
/// the error: of 100 samples, 3 points of a function that has a third of each 20 ms. Places that
/// follow each other by the golden ratio fill the interval evenly, and halve that. A program with a
/// period of 2.618 intervals could keep in step with them, so they begin anew after a few.
class SampleInstants {
  public:
    explicit SampleInstants(std::uint32_t seed) : random_(seed) {}

    double next() {
        if (count_++ % kRun == 0) {
            place_ = uniform_(random_);
        } else {
            place_ += kGoldenRatio;
            place_ -= std::floor(place_);
        }
        return place_;
    }

  private:
    static constexpr double kGoldenRatio = 0.6180339887498949;
    static constexpr std::uint32_t kRun = 16;

    std::minstd_rand random_;
    std::uniform_real_distribution<double> uniform_{0.0, 1.0};
    double place_ = 0;
    std::uint32_t count_ = 0;
};

}  // namespace pystack::sampling
