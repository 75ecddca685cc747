#include "sampling/stop_backoff.h"

#include <doctest/doctest.h>

using pystack::sampling::StopBackoff;

namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kSecond = 1000 * kMs;

}  // namespace

TEST_CASE("stops that take too long are tried ever later, up to ten seconds") {
    StopBackoff backoff;
    CHECK(backoff.retry_at_ns() == 0);
    std::uint64_t now = kSecond;
    std::uint64_t pause = 20 * kMs;
    for (int i = 0; i < 9; ++i) {
        backoff.note_too_long(now);
        CHECK(backoff.retry_at_ns() == now + pause);
        now += pause;
        pause *= 2;
    }
    backoff.note_too_long(now);
    CHECK(backoff.retry_at_ns() == now + 10 * kSecond);
}

TEST_CASE("a sample that succeeds makes the next pause short again") {
    StopBackoff backoff;
    backoff.note_too_long(kSecond);
    backoff.note_too_long(2 * kSecond);
    backoff.note_success();
    backoff.note_too_long(3 * kSecond);
    CHECK(backoff.retry_at_ns() == 3 * kSecond + 20 * kMs);
}

TEST_CASE("refusals end a recording when they last for three seconds without a stop in between") {
    StopBackoff backoff;
    CHECK_FALSE(backoff.note_refusal(kSecond));
    CHECK_FALSE(backoff.note_refusal(4 * kSecond - 1));
    CHECK(backoff.note_refusal(4 * kSecond));
    backoff.note_stop();
    CHECK_FALSE(backoff.note_refusal(5 * kSecond));
    CHECK_FALSE(backoff.note_refusal(7 * kSecond));
    CHECK(backoff.note_refusal(8 * kSecond));
}
