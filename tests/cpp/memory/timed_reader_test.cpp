#include "memory/timed_reader.h"

#include <doctest/doctest.h>

#include <chrono>

#include "memory/read_batch.h"
#include "support/fake_memory.h"

using namespace pystack;
using namespace pystack::memory;
using std::chrono::nanoseconds;

namespace {

/// Judges reads of one size by times that the test makes up.
class Reads {
  public:
    explicit Reads(std::size_t pieces) {
        memory_.add({0x1000}, std::vector<std::byte>(64));
        for (std::size_t i = 0; i < pieces; ++i) batch_.add({{0x1000}, {0x1008}});
        batch_.read(memory_);
    }
    ReadTiming take(nanoseconds took) { return reader_.judge(batch_, took); }
    void settle(nanoseconds took, int times = 600) {
        for (int i = 0; i < times; ++i) take(took + nanoseconds(i % 7));
    }

  private:
    testing::FakeMemory memory_;
    ReadBatch batch_;
    TimedReader reader_{memory_};
};

}  // namespace

TEST_CASE("reads are fast, normal or interrupted by what a piece takes") {
    Reads reads(4);
    reads.settle(nanoseconds(800));
    CHECK(reads.take(nanoseconds(2'500)) == ReadTiming::kFast);
    CHECK(reads.take(nanoseconds(5'000)) == ReadTiming::kNormal);
    CHECK(reads.take(nanoseconds(20'000)) == ReadTiming::kInterrupted);
}

TEST_CASE("on a slow machine, what it usually takes is fast") {
    Reads reads(2);
    // One lucky moment.
    reads.take(nanoseconds(600));
    reads.settle(nanoseconds(20'000));
    CHECK(reads.take(nanoseconds(21'000)) == ReadTiming::kFast);
    CHECK(reads.take(nanoseconds(40'000)) == ReadTiming::kInterrupted);
}

TEST_CASE("what reads took before the machine became faster is forgotten") {
    Reads reads(2);
    reads.settle(nanoseconds(20'000));
    reads.settle(nanoseconds(700));
    CHECK(reads.take(nanoseconds(20'000)) == ReadTiming::kInterrupted);
}
