#include "sampling/stop_need.h"

#include <doctest/doctest.h>

using pystack::sampling::StopNeed;

TEST_CASE("stops are needed when proofs fail in a row") {
    StopNeed need;
    for (int i = 0; i < 3; ++i) need.note_proof(true);
    CHECK_FALSE(need.is_due());
    need.note_proof(true);
    CHECK(need.is_due());
}

TEST_CASE("rare failures are no reason, frequent ones are") {
    const auto is_due_with = [](int proofs_per_failure) {
        StopNeed need;
        for (int i = 0; i < 1000; ++i) need.note_proof(i % proofs_per_failure == 0);
        return need.is_due();
    };
    CHECK_FALSE(is_due_with(12));
    CHECK(is_due_with(5));
}

TEST_CASE("after some stops a proof is tried again") {
    StopNeed need;
    for (int i = 0; i < 4; ++i) need.note_proof(true);
    int stops = 0;
    for (; need.is_due(); ++stops) need.note_stop();
    CHECK(stops >= 10);
    need.note_proof(true);
    CHECK(need.is_due());  // At once.
    while (need.is_due()) need.note_stop();
    for (int i = 0; i < 100; ++i) need.note_proof(false);
    need.note_proof(true);
    CHECK_FALSE(need.is_due());
}
