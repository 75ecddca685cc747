#include "sampling/tracked_thread.h"

#include <doctest/doctest.h>

using pystack::sampling::TrackedThread;
using Motion = TrackedThread::Motion;

TEST_CASE("a thread is quiet after two proofs of the same stack") {
    TrackedThread thread;
    CHECK(thread.motion() == Motion::kMoving);
    thread.note_sample(true);
    CHECK_FALSE(thread.is_quiet());
    thread.note_sample(true);
    CHECK(thread.motion() == Motion::kQuiet);
    thread.note_sample(false);
    CHECK(thread.motion() == Motion::kMoving);
    thread.note_sample(true);
    CHECK_FALSE(thread.is_quiet());
}

TEST_CASE("a thread that sleeps goes on sleeping while its stack is the same") {
    TrackedThread thread;
    thread.note_sample(true);
    thread.note_sample(true);
    for (const Motion motion : {Motion::kAsleep, Motion::kIdle}) {
        thread.set_motion(motion);
        thread.note_sample(true);
        CHECK(thread.motion() == motion);
        CHECK(thread.is_quiet());
    }
    CHECK(thread.is_idle());
    thread.note_sample(false);
    CHECK(thread.motion() == Motion::kMoving);
}

TEST_CASE("of a thread state that may be another's nothing is believed") {
    TrackedThread thread;
    thread.note_sample(true);
    thread.note_sample(true);
    thread.set_motion(Motion::kIdle);
    thread.forget_stack();
    CHECK(thread.motion() == Motion::kMoving);
    thread.note_sample(true);
    CHECK_FALSE(thread.is_quiet());
}
