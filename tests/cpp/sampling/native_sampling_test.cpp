#include "sampling/native_sampling.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "support/fake_program.h"
#include "support/native_chain.h"

using namespace pystack;
using namespace pystack::sampling;
using cpython::RawFrame;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::layout_of;
using pystack::testing::NativeChain;

namespace {

constexpr std::int32_t kCoroutine = 0x80;  // CO_COROUTINE
constexpr RemoteAddr kState{0x7000};

/// A real child with a native stack, whose Python frames are made up: their shim lies in the stack
/// frame of chain_loop(), as that of a real loop does.
struct Sampling {
    explicit Sampling(merge::NativeOptions options = {})
        : fake(layout_of(13)), program(fake), codes(fake.memory(), fake.layout), interner(codes) {
        interner.set_stopped(true);
        for (const char* name : {"inner", "outer"})
            frames.push_back(program.codes.frame(program.code(name), 2));
        codes.load(frames);
        frames.push_back({.address = chain.in_loop(), .shim = true});
        auto created =
            NativeSampling::create(*chain.child.target, fake.runtime, std::move(options), interner);
        REQUIRE_MESSAGE(created, created.error().message());
        native = *std::move(created);
    }

    std::int32_t tid() const { return chain.child.target->pid(); }

    /// As a sample with the target stopped.
    void copy() {
        native->begin();
        auto guard = chain.child.target->stop();
        REQUIRE(guard);
        for (const process::StoppedThread& thread : guard->threads())
            native->add_thread(thread.tid, *guard->registers(thread.tid));
        native->copy({});
    }

    NativeSampling::State state(std::optional<model::FrameId> task = {}) const {
        return {.address = kState, .frames = frames, .task = task};
    }
    NativeSampling::Interned intern(const std::vector<NativeSampling::State>& states) {
        return native->intern(tid(), states);
    }

    /// Outermost first.
    std::vector<std::string> names_of(model::StackId id) const {
        std::vector<std::string> found;
        const auto& rows = interner.stacks().rows();
        for (; id != 0; id = rows[id].parent) {
            const model::FrameRow& row = interner.frames()[rows[id].frame];
            found.insert(found.begin(), interner.strings().rows()[row.function]);
        }
        return found;
    }

    NativeChain chain;
    FakeRuntime fake;
    FakeProgram program;
    cpython::CodeReader codes;
    FrameInterner interner;
    std::vector<RawFrame> frames;  ///< Innermost first, with a shim at the end.
    std::unique_ptr<NativeSampling> native;
};

std::vector<std::string> from(const std::vector<std::string>& names, const std::string& first) {
    return {std::find(names.begin(), names.end(), first), names.end()};
}

bool starts_with(const std::vector<std::string>& names, const std::vector<std::string>& first) {
    return names.size() >= first.size() && std::equal(first.begin(), first.end(), names.begin());
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("Python frames take the place of the loop that runs them") {
    Sampling sampling;
    sampling.copy();
    const auto interned = sampling.intern({sampling.state()});
    CHECK(interned.is_whole);
    const Names names = from(sampling.names_of(interned.stack), "chain_outer");
    CHECK(starts_with(names, {"chain_outer", "Class.outer", "Class.inner", "chain_inner"}));
    // The same stack is the same row, in another sample too.
    sampling.copy();
    CHECK(sampling.intern({sampling.state()}).stack == interned.stack);
}

TEST_CASE("a task is below the outermost coroutine, once") {
    Sampling sampling;
    sampling.copy();
    const model::FrameId task = sampling.interner.task_frame("fetch");
    const auto plain = sampling.intern({sampling.state(task)});
    CHECK(from(sampling.names_of(plain.stack), "<task fetch>").empty());

    cpython::CodeReader codes(sampling.fake.memory(), sampling.fake.layout);
    for (const char* name : {"outer", "inner"}) {
        sampling.fake.memory().put(
            sampling.program.code(name) + *sampling.fake.layout.code_object.flags, kCoroutine);
    }
    codes.load(sampling.frames);
    sampling.interner.use(codes);
    const auto interned = sampling.intern({sampling.state(task)});
    CHECK(starts_with(from(sampling.names_of(interned.stack), "<task fetch>"),
                      {"<task fetch>", "Class.outer", "Class.inner", "chain_inner"}));
}

TEST_CASE("only what the innermost Python frame called, if that is asked for") {
    Sampling sampling({.last_only = true});
    sampling.copy();
    const Names names = sampling.names_of(sampling.intern({sampling.state()}).stack);
    CHECK(starts_with(names, {"Class.outer", "Class.inner", "chain_inner"}));
}

TEST_CASE("a thread without Python has its native frames, and nothing else has any") {
    Sampling sampling;
    sampling.copy();
    const auto native = sampling.intern({});
    CHECK(native.is_whole);
    CHECK(starts_with(from(sampling.names_of(native.stack), "chain_outer"),
                      {"chain_outer", "chain_loop", "chain_inner"}));
    // Another thread, that was not stopped and runs nothing.
    CHECK(sampling.native->intern(1, {}).stack == 0);
}

TEST_CASE("Python frames of a thread that was not stopped are there, before a gap") {
    Sampling sampling;
    sampling.native->begin();
    sampling.native->copy({});
    CHECK(sampling.native->copied(sampling.tid()) == nullptr);
    const auto interned = sampling.intern({sampling.state()});
    CHECK_FALSE(interned.is_whole);
    CHECK(sampling.names_of(interned.stack) ==
          Names{"Class.outer", "Class.inner",
                "<native frames are missing: the thread's registers could not be read>"});
}

TEST_CASE("a thread that ends, with nothing but a shim on its state, misses nothing") {
    Sampling sampling;
    sampling.native->begin();
    sampling.native->copy({});
    sampling.frames.erase(sampling.frames.begin(), sampling.frames.end() - 1);
    const auto interned = sampling.intern({sampling.state()});
    CHECK(interned.is_whole);
    CHECK(interned.stack == 0);
}

TEST_CASE("a stack that is deeper than what is copied of it has a gap") {
    Sampling sampling({.sampled_stack_bytes = 256});
    sampling.copy();
    const auto interned = sampling.intern({sampling.state()});
    CHECK_FALSE(interned.is_whole);
    const Names names = sampling.names_of(interned.stack);
    CHECK(starts_with(from(names, "Class.outer"),
                      {"Class.outer", "Class.inner",
                       "<native frames are missing: only part of the stack was copied>"}));
}

TEST_CASE("a stopped thread is found by its thread pointer") {
    Sampling sampling;
    CHECK_FALSE(sampling.native->tid_of(0));
    sampling.copy();
    const auto* copied = sampling.native->copied(sampling.tid());
    REQUIRE(copied != nullptr);
    const std::uint64_t pthread = copied->registers.thread_pointer().value;
    CHECK(sampling.native->tid_of(pthread) == sampling.tid());
    CHECK_FALSE(sampling.native->tid_of(pthread + 1));
    sampling.native->begin();
    CHECK_FALSE(sampling.native->tid_of(pthread));
    CHECK(sampling.native->copied(sampling.tid()) == nullptr);
}
