#include "merge/stack_copies.h"

#include <doctest/doctest.h>

#include <vector>

#include "support/bytes.h"
#include "support/fake_target.h"

using namespace pystack;
using namespace pystack::merge;
using pystack::testing::Bytes;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;
using pystack::testing::filled;
using pystack::testing::layout_of;

namespace {

constexpr RemoteAddr kStack{0x7f00'0000'0000};
constexpr std::uint64_t kSize = 64 << 10;
constexpr std::uint64_t kRedZone = 128;

/// A process with a stack of which every word is its own address.
struct Process {
    explicit Process(StackCopyLimits limits = {}, std::uint8_t minor = 13)
        : fake(layout_of(minor)) {
        Bytes bytes;
        for (std::uint64_t at = 0; at < kSize; at += 8)
            pystack::testing::append(bytes, kStack.value + at);
        fake.memory().add(kStack, std::move(bytes));
        target.emplace(fake);
        target->maps = {{.range = {kStack, kStack + kSize}, .readable = true, .writable = true}};
        copies.emplace(*target, fake.layout, limits);
        REQUIRE(copies->update_mappings());
    }

    void add_thread(std::int32_t tid, RemoteAddr sp, RemoteAddr thread_pointer = {}) {
        arch::Registers registers;
        registers.raw.rsp = sp.value;
        registers.raw.fs_base = thread_pointer.value;
        copies->add_thread(tid, registers);
    }

    /// What of the thread's stack was copied; its first word is right.
    RemoteRange copied(std::int32_t tid) const {
        const StackCopies::Thread* thread = copies->find(tid);
        REQUIRE(thread != nullptr);
        if (!thread->bytes.empty()) {
            const auto memory = StackCopies::memory_of(thread);
            const RemoteAddr aligned{(thread->begin.value + 7) / 8 * 8};
            CHECK(memory.read_pointer(aligned) == aligned);
        }
        return {thread->begin, thread->begin + thread->bytes.size()};
    }

    FakeRuntime fake;
    std::optional<FakeTarget> target;
    std::optional<StackCopies> copies;
};

}  // namespace

TEST_CASE("a stack is copied from below its pointer to its end") {
    Process process;
    process.add_thread(1, kStack + 0x8000);
    CHECK_FALSE(process.copies->copied());
    process.copies->copy({});
    CHECK(process.copies->copied());
    CHECK(process.copied(1) == RemoteRange{kStack + 0x8000 - kRedZone, kStack + kSize});
    CHECK_FALSE(process.copies->met_unknown_stack());
    CHECK(process.copies->find(2) == nullptr);
    CHECK_FALSE(StackCopies::memory_of(nullptr).read_pointer(kStack));
}

TEST_CASE("a stack that shares its mapping with others ends at its thread pointer") {
    Process process;
    process.add_thread(1, kStack + 0x1000, kStack + 0x4000);
    process.add_thread(2, kStack + 0x5000, kStack + 0x9000);
    // The thread pointer of a program's first thread is elsewhere.
    process.add_thread(3, kStack + 0xa000, kStack + 0x2000);
    process.copies->copy({});
    CHECK(process.copied(1) == RemoteRange{kStack + 0x1000 - kRedZone, kStack + 0x4000});
    CHECK(process.copied(2) == RemoteRange{kStack + 0x5000 - kRedZone, kStack + 0x9000});
    CHECK(process.copied(3) == RemoteRange{kStack + 0xa000 - kRedZone, kStack + kSize});
}

TEST_CASE("a stack that is newer than the mappings is copied as far as it is readable") {
    Process process;
    const RemoteAddr other{0x7e00'0000'0000};
    process.fake.memory().add(other, filled(0x3000, 7));
    process.add_thread(1, other + 0x1000);
    process.copies->copy({});
    const StackCopies::Thread* thread = process.copies->find(1);
    REQUIRE(thread != nullptr);
    CHECK(thread->bytes.size() == 0x2000 + kRedZone);
    CHECK(process.copies->met_unknown_stack());
    REQUIRE(process.copies->update_mappings());
    CHECK_FALSE(process.copies->met_unknown_stack());
}

TEST_CASE("of one stack and of all together only so much is copied") {
    Process process({.one = 0x1000, .all = 0x2800});
    for (std::int32_t tid = 1; tid <= 4; ++tid)
        process.add_thread(tid, kStack + 0x1000 * static_cast<std::uint64_t>(tid));
    process.copies->copy({});
    std::uint64_t all = 0;
    std::size_t whole = 0;
    for (std::int32_t tid = 1; tid <= 4; ++tid) {
        const std::uint64_t size = process.copied(tid).size();
        CHECK(size <= 0x1000);
        if (size == 0x1000) ++whole;
        all += size;
    }
    CHECK(whole == 2);
    CHECK(all == 0x2800);
}

TEST_CASE("a stack pointer that is none copies nothing") {
    Process process;
    process.add_thread(1, {64});
    process.add_thread(2, {~std::uint64_t{0} - 4096});
    process.add_thread(3, kStack + kSize);
    process.copies->copy({});
    CHECK(process.copied(1) == RemoteRange{{0}, {0}});
    CHECK(process.copied(2).size() == 0);
    // All that is readable is the red zone.
    CHECK(process.copied(3).size() == kRedZone);
}

TEST_CASE("where thread states have C frames, these are read with the stacks") {
    for (const std::uint8_t minor : {10, 11, 12, 13}) {
        CAPTURE(minor);
        Process process({}, minor);
        const RemoteAddr interpreter = process.fake.add_interpreter(0);
        const RemoteAddr state = process.fake.add_thread(interpreter, 1);
        const auto& field = process.fake.layout.thread_state.cframe;
        CHECK(field.has_value() == (minor == 11 || minor == 12));
        const std::vector<cpython::ThreadState> states{{.address = state}, {.address = {0x10}}};
        process.add_thread(1, kStack + 0x8000);
        process.copies->copy(states);
        CHECK(static_cast<bool>(process.copies->c_frame(state)) == field.has_value());
        if (field) {
            CHECK(process.copies->c_frame(state) ==
                  *process.fake.memory().read_pointer(state + *field));
        }
        CHECK_FALSE(process.copies->c_frame({0x10}));
        CHECK(process.copied(1).size() == 0x8000 + kRedZone);
        process.copies->set_c_frame(state, {0x99});
        CHECK(process.copies->c_frame(state) == RemoteAddr{0x99});
    }
}

TEST_CASE("nothing of a sample is left in the next") {
    Process process({}, 11);
    const RemoteAddr state = process.fake.add_thread(process.fake.add_interpreter(0), 1);
    process.add_thread(1, kStack + 0x8000);
    process.copies->copy(std::vector<cpython::ThreadState>{{.address = state}});
    process.copies->clear();
    CHECK_FALSE(process.copies->copied());
    CHECK(process.copies->find(1) == nullptr);
    CHECK_FALSE(process.copies->c_frame(state));
}
