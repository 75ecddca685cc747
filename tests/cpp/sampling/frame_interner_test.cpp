#include "sampling/frame_interner.h"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include "support/fake_program.h"

using namespace pystack;
using namespace pystack::sampling;
using cpython::RawFrame;
using pystack::testing::FakeCodes;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::for_each_version;
using Outcome = FrameInterner::Outcome;

namespace {

constexpr std::int32_t kGenerator = 0x20;  // CO_GENERATOR
constexpr std::int32_t kCoroutine = 0x80;  // CO_COROUTINE

/// The frames of one thread, and the tables that they are interned in.
struct Interning {
    explicit Interning(FakeRuntime& of,
                       std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>())
        : fake(of), program(of), codes(of.memory(), of.layout), interner(codes, std::move(limits)) {
        for (const char* name : {"outer", "inner"}) frames.push_back(frame(name));
    }

    RawFrame frame(const std::string& function, std::int64_t offset = 2) {
        return program.codes.frame(program.code(function), offset);
    }

    /// One of no code, as shims are.
    static RawFrame shim() { return {.shim = true}; }

    Outcome try_intern(std::size_t unchanged = 0, std::optional<model::FrameId> task = {}) {
        return interner.intern(frames, unchanged, task, stack);
    }

    /// Interns, and does what is asked for, until it is done.
    std::vector<Outcome> intern(std::size_t unchanged = 0,
                                std::optional<model::FrameId> task = {}) {
        std::vector<Outcome> outcomes;
        do {
            outcomes.push_back(try_intern(unchanged, task));
            if (outcomes.back() == Outcome::kUnknownCode) codes.load(frames);
            if (outcomes.back() == Outcome::kUnproved)
                interner.prove_call(interner.unproved_call());
        } while (outcomes.back() != Outcome::kDone && outcomes.size() < 10);
        return outcomes;
    }

    std::string text_of(model::FrameId frame) const {
        return interner.strings().rows()[interner.frames()[frame].function];
    }

    /// Of a stack of the table, outermost first.
    std::vector<std::string> names_of(model::StackId id) const {
        std::vector<std::string> found;
        for (; id != 0; id = interner.stacks().rows()[id].parent)
            found.insert(found.begin(), text_of(interner.stacks().rows()[id].frame));
        return found;
    }
    std::vector<std::string> names() const { return names_of(stack.id()); }

    std::vector<std::string> qualified(std::vector<std::string> functions) const {
        for (std::string& function : functions) function = program.qualified(function);
        return functions;
    }

    void put_flags(const char* function, std::int32_t flags) {
        fake.memory().put(program.code(function) + *fake.layout.code_object.flags, flags);
    }

    FakeRuntime& fake;
    FakeProgram program;
    cpython::CodeReader codes;
    FrameInterner interner;
    std::vector<RawFrame> frames;  ///< Outermost first.
    InternedStack stack;
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a stack is interned when its code is known and its calls are proved") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Interning interning(fake);
        CHECK(interning.intern() ==
              std::vector{Outcome::kUnknownCode, Outcome::kUnproved, Outcome::kDone});
        CHECK(interning.names() == interning.qualified({"outer", "inner"}));
        const model::StackId id = interning.stack.id();
        CHECK(interning.intern() == std::vector{Outcome::kDone});
        CHECK(interning.intern(2) == std::vector{Outcome::kDone});
        CHECK(interning.stack.id() == id);
        CHECK(interning.interner.stacks().rows().size() == 3);

        // Another place in the caller: another call.
        interning.frames[0] = interning.frame("outer", 8);
        CHECK(interning.intern() == std::vector{Outcome::kUnproved, Outcome::kDone});
        CHECK(interning.stack.id() != id);

        // Only the innermost frame moved on: the same function at another place.
        interning.frames[1] = interning.frame("inner", 8);
        CHECK(interning.intern(1) == std::vector{Outcome::kDone});
        CHECK(interning.names().back() == interning.program.qualified("inner"));
    });
}

TEST_CASE("an instruction outside of its code object is of a frame that was being replaced") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        if (!fake.layout.code_object.co_code_adaptive) return;  // The size is not known.
        Interning interning(fake);
        interning.intern();
        interning.frames[1] = interning.frame("inner", 2 * FakeCodes::kUnits + 2);
        CHECK(interning.try_intern() == Outcome::kUnfit);
        // A target that stands still is shown as far as it can be.
        interning.interner.set_stopped(true);
        CHECK(interning.try_intern() == Outcome::kDone);
        CHECK(interning.names() == interning.qualified({"outer", "inner"}));
        const auto& entry = interning.stack.entries.back();
        CHECK(interning.interner.frames()[entry.frame].line == -1);
    });
}

TEST_CASE("a target that stands still needs no proofs of calls") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Interning interning(fake);
        interning.interner.set_stopped(true);
        CHECK(interning.intern() == std::vector{Outcome::kUnknownCode, Outcome::kDone});
    });
}

TEST_CASE("a stack that shrinks and grows again is the one that it was") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Interning interning(fake);
        interning.intern();
        const model::StackId id = interning.stack.id();
        const RawFrame inner = interning.frames.back();
        interning.frames.pop_back();
        CHECK(interning.try_intern(1) == Outcome::kDone);
        CHECK(interning.names() == interning.qualified({"outer"}));
        interning.frames.push_back(inner);
        CHECK(interning.try_intern(1) == Outcome::kDone);
        CHECK(interning.stack.id() == id);
        interning.frames.clear();
        CHECK(interning.try_intern() == Outcome::kDone);
        CHECK(interning.stack.id() == 0);
    });
}

TEST_CASE("shims are passed over, and a call goes through them") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Interning interning(fake);
        interning.frames = {Interning::shim(), interning.frame("outer"), Interning::shim(),
                            interning.frame("inner")};
        CHECK(interning.intern() ==
              std::vector{Outcome::kUnknownCode, Outcome::kUnproved, Outcome::kDone});
        CHECK(interning.stack.entries.size() == 4);
        CHECK(interning.names() == interning.qualified({"outer", "inner"}));
        // The caller of what is behind the shim is known when only that is looked up.
        interning.frames[3] = interning.frame("third");
        CHECK(interning.intern(3).back() == Outcome::kDone);
        interning.frames[3] = interning.frame("inner");
        CHECK(interning.intern(3) == std::vector{Outcome::kDone});
    });
}

TEST_CASE("a call that is not proved is counted, and is asked for until it is") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    Interning interning(fake);
    interning.codes.load(interning.frames);
    REQUIRE(interning.try_intern() == Outcome::kUnproved);
    const FrameInterner::CallId call = interning.interner.unproved_call();
    CHECK(interning.interner.count_failure(call) == 1);
    CHECK(interning.interner.count_failure(call) == 2);
    REQUIRE(interning.try_intern() == Outcome::kUnproved);
    CHECK(interning.interner.unproved_call() == call);
    // Of a stack that was not done the rest is not known.
    CHECK(interning.stack.entries.size() == 1);
    REQUIRE(interning.try_intern(2) == Outcome::kUnproved);
    interning.interner.prove_call(call);
    CHECK(interning.try_intern(2) == Outcome::kDone);
}

TEST_CASE("a task's frame is below the outermost coroutine") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Interning interning(fake);
        interning.frames.push_back(interning.frame("leaf"));
        interning.put_flags("inner", kCoroutine);
        interning.put_flags("leaf", kCoroutine);
        interning.intern();
        const Names plain = interning.qualified({"outer", "inner", "leaf"});
        CHECK(interning.names() == plain);
        const model::FrameId fetch = interning.interner.task_frame("fetch");
        REQUIRE(interning.try_intern(3, fetch) == Outcome::kDone);
        CHECK(interning.names() == Names{plain[0], "<task fetch>", plain[1], plain[2]});
        const model::StackId id = interning.stack.id();
        // Only the innermost frame moved: the task stays where it is.
        interning.frames[2] = interning.frame("leaf", 8);
        REQUIRE(interning.intern(2, fetch).back() == Outcome::kDone);
        CHECK(interning.names() == Names{plain[0], "<task fetch>", plain[1], plain[2]});
        CHECK(interning.stack.id() != id);
        REQUIRE(interning.try_intern(3, interning.interner.task_frame("send")) == Outcome::kDone);
        CHECK(interning.names() == Names{plain[0], "<task send>", plain[1], plain[2]});
        REQUIRE(interning.try_intern(3) == Outcome::kDone);
        CHECK(interning.names() == plain);
    });
}

TEST_CASE("tasks have frames with their names, but not any number") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Interning interning(fake);
        FrameInterner& interner = interning.interner;
        const model::FrameId task = interner.task_frame("fetch");
        CHECK(interner.task_frame("fetch") == task);
        CHECK(interner.task_frame("other") != task);
        CHECK(interner.frames()[task].kind == model::FrameKind::kMarker);
        CHECK(interning.text_of(task) == "<task fetch>");
        for (int i = 0; i < 2000; ++i) interner.task_frame("task" + std::to_string(i));
        const auto last = static_cast<model::FrameId>(interner.frames().size() - 1);
        CHECK(interning.text_of(last) == "<other tasks>");
        CHECK(interner.task_frame("fetch") == task);
    });
}

TEST_CASE("an outermost generator or coroutine means that callers are missing") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Interning interning(fake);
        interning.frames.insert(interning.frames.begin(), Interning::shim());
        interning.put_flags("inner", kGenerator);
        interning.intern();
        CHECK_FALSE(interning.interner.is_truncated(interning.stack));
        interning.frames.erase(interning.frames.begin() + 1);
        interning.intern();
        CHECK(interning.interner.is_truncated(interning.stack));
        CHECK_FALSE(interning.interner.is_truncated({}));
    });
}

TEST_CASE("after a code object died, stacks are looked up anew") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Interning interning(fake);
        interning.intern();
        interning.program.codes.fill(interning.program.code("inner"), "other", "/srv/other.py");
        CHECK_FALSE(interning.codes.verify(interning.frames));
        // It is told so, and believes no more what has not changed.
        interning.interner.start_anew();
        CHECK(interning.intern(2).front() == Outcome::kUnknownCode);
        CHECK(interning.names() == interning.qualified({"outer", "other"}));
    });
}

TEST_CASE("another reader of code objects finds the rows that there are, and proves calls itself") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Interning interning(fake);
        interning.intern();
        const model::StackId id = interning.stack.id();
        const std::size_t rows = interning.interner.frames().size();
        cpython::CodeReader fresh(fake.memory(), fake.layout);
        interning.interner.use(fresh);
        CHECK(interning.try_intern(2) == Outcome::kUnknownCode);
        fresh.load(interning.frames);
        CHECK(interning.try_intern(2) == Outcome::kUnproved);
        interning.interner.prove_call(interning.interner.unproved_call());
        CHECK(interning.try_intern(2) == Outcome::kDone);
        CHECK(interning.stack.id() == id);
        CHECK(interning.interner.frames().size() == rows);
    });
}

TEST_CASE("frames of stacks that are put together elsewhere") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Interning interning(fake);
        interning.put_flags("inner", kCoroutine);
        CHECK_FALSE(interning.interner.stopped_frame(Interning::shim()));
        CHECK_FALSE(interning.interner.stopped_frame(interning.frames[0]));  // Code not known.
        interning.intern();
        const auto outer = interning.interner.stopped_frame(interning.frames[0]);
        REQUIRE(outer);
        CHECK(outer->frame == interning.stack.entries[0].frame);
        CHECK_FALSE(outer->is_coroutine);
        const auto inner = interning.interner.stopped_frame(interning.frames[1]);
        REQUIRE(inner);
        CHECK(inner->is_coroutine);
    });
}

TEST_CASE("rows that look the same are one, and rows that do not are not") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    Interning interning(fake);
    FrameInterner& interner = interning.interner;
    FrameInterner::NativeFrame poll{.function = "poll",
                                    .file = "poll.c",
                                    .line = 12,
                                    .module = "libc.so.6",
                                    .build_id = "abcd",
                                    .address = 0x1000,
                                    .name_source = model::NameSource::kDebugInfo};
    const model::FrameId frame = interner.native_frame(poll);
    CHECK(interner.native_frame(poll) == frame);
    const auto is_other = [&](auto change) {
        FrameInterner::NativeFrame other = poll;
        change(other);
        return interner.native_frame(other) != frame;
    };
    CHECK(is_other([](auto& other) { other.line = 13; }));
    CHECK(is_other([](auto& other) { other.module = "libm.so.6"; }));
    CHECK(is_other([](auto& other) { other.address = 0x1001; }));
    CHECK(is_other([](auto& other) { other.inline_depth = 1; }));
    const model::FrameRow& row = interner.frames()[frame];
    CHECK(interner.strings().rows()[row.build_id] == "abcd");
    CHECK(row.name_source == model::NameSource::kDebugInfo);
    CHECK(interner.marker_frame("poll") != frame);
    CHECK(interner.frames()[frame].kind == model::FrameKind::kNative);
    CHECK(interner.frames()[frame].line == 12);
    const model::StackId stack = interner.push(0, frame);
    CHECK(interner.push(0, frame) == stack);
    CHECK(interner.push(stack, frame) != stack);
}

TEST_CASE("past the memory limit new rows are one, and old ones stay of use") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        const auto limits = std::make_shared<WorkLimits>(1 << 20);
        Interning interning(fake, limits);
        interning.intern();
        const model::StackId id = interning.stack.id();
        const Names known = interning.names();
        limits->charge_bytes(limits->bytes_left());
        CHECK(interning.intern() == std::vector{Outcome::kDone});
        CHECK(interning.stack.id() == id);

        interning.frames.push_back(interning.frame("new"));
        CHECK(interning.intern().back() == Outcome::kDone);
        CHECK(interning.names().back() == "<left out: memory limit>");
        const model::StackId left_out = interning.stack.id();
        const std::size_t rows = interning.interner.frames().size();
        interning.frames.push_back(interning.frame("newer"));
        CHECK(interning.intern().back() == Outcome::kDone);
        CHECK(interning.stack.id() == left_out);
        CHECK(interning.interner.frames().size() == rows);
        CHECK(interning.interner.task_frame("new") == interning.interner.marker_frame("another"));
        CHECK(limits->bytes_refused());
        CHECK(known == interning.qualified({"outer", "inner"}));
    });
}

TEST_CASE("renewed tables begin empty, with the same names for the same frames") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        const auto limits = std::make_shared<WorkLimits>(1 << 20);
        Interning interning(fake, limits);
        interning.intern();
        const Names known = interning.names();
        limits->charge_bytes(limits->bytes_left());
        interning.frames.push_back(interning.frame("new"));
        interning.intern();
        interning.frames.pop_back();

        limits->return_all_bytes();
        interning.interner.renew_tables();
        CHECK(interning.interner.frames().empty());
        CHECK(interning.interner.stacks().rows().size() == 1);
        CHECK(interning.interner.strings().rows().size() == 1);
        // What was interned before is not taken to be known, though nothing has changed.
        interning.intern(interning.frames.size());
        CHECK(interning.names() == known);
        CHECK(interning.interner.frames().size() == 2);
        interning.frames.push_back(interning.frame("newer"));
        interning.intern();
        CHECK(interning.names().back() != "<left out: memory limit>");
    });
}
