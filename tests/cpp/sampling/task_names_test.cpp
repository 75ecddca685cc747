#include "sampling/task_names.h"

#include <doctest/doctest.h>

#include <string>

#include "support/fake_program.h"
#include "support/moving_memory.h"

using namespace pystack;
using namespace pystack::sampling;
using cpython::TypeFlags;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::layout_of;
using pystack::testing::MovingMemory;

namespace {

constexpr std::uint32_t kRunningTask = 64;
constexpr std::uint32_t kTaskName = 48;

/// A thread that runs a task, in a version that publishes its tasks.
struct Running {
    explicit Running(FakeRuntime& of)
        : fake(of),
          memory(of.memory()),
          codes(of.memory(), of.layout),
          interner(codes),
          names(memory, of.layout, {.task_name = kTaskName, .running_task = kRunningTask},
                interner),
          str_type(of.heap.type(TypeFlags::kUnicode, 40, 0, {})),
          int_type(of.heap.type(TypeFlags::kLong, 24, 0, {})),
          thread(of.allocate(256)),
          task(of.allocate(128)) {
        run(task);
    }

    void run(RemoteAddr of) { fake.memory().put(thread + kRunningTask, of); }
    void set_name(RemoteAddr name) { fake.memory().put(task + kTaskName, name); }
    RemoteAddr str(const std::string& text) {
        const RemoteAddr object = fake.heap.str(text);
        fake.memory().put(object + *fake.layout.pyobject.ob_type, str_type);
        return object;
    }
    RemoteAddr number(std::uint32_t value) {
        const RemoteAddr object = fake.heap.integer(false, {value});
        fake.memory().put(object + *fake.layout.pyobject.ob_type, int_type);
        return object;
    }

    /// The text of the task's frame.
    std::optional<std::string> name() {
        const auto frame = names.frame_of(thread, task, known);
        if (!frame) return std::nullopt;
        return interner.strings().rows()[interner.frames()[*frame].function];
    }

    FakeRuntime& fake;
    MovingMemory memory;
    cpython::CodeReader codes;
    FrameInterner interner;
    TaskNames names;
    RemoteAddr str_type;
    RemoteAddr int_type;
    RemoteAddr thread;
    RemoteAddr task;
    TaskNames::Known known;
};

template <class Test>
void for_each_version_with_tasks(Test test) {
    for (const std::uint8_t minor : {14, 15}) {
        for (const bool free_threaded : {false, true}) {
            CAPTURE(minor);
            CAPTURE(free_threaded);
            FakeRuntime fake(layout_of(minor, free_threaded));
            test(fake);
        }
    }
}

}  // namespace

TEST_CASE("the task that a thread runs, and its name") {
    for_each_version_with_tasks([](FakeRuntime& fake) {
        Running running(fake);
        CHECK(running.names.running_task(running.thread) == running.task);
        running.set_name(running.str("fetch"));
        CHECK(running.name() == "<task fetch>");
        // A name that was never asked for is a number.
        running.set_name(running.number(17));
        CHECK(running.name() == "<task Task-17>");
        running.run({});
        CHECK_FALSE(running.names.running_task(running.thread));
        CHECK_FALSE(running.names.running_task(RemoteAddr{0x10}));
    });
}

TEST_CASE("a known name costs one call") {
    for_each_version_with_tasks([](FakeRuntime& fake) {
        Running running(fake);
        running.set_name(running.str("fetch"));
        running.name();
        const std::size_t calls = running.memory.calls();
        CHECK(running.name() == "<task fetch>");
        CHECK(running.memory.calls() == calls + 1);
    });
}

TEST_CASE("another name in the place of the old one is read") {
    for_each_version_with_tasks([](FakeRuntime& fake) {
        Running running(fake);
        const RemoteAddr name = running.str("fetch");
        running.set_name(name);
        CHECK(running.name() == "<task fetch>");
        fake.memory().put_text(name + *fake.layout.unicode_object.asciiobject_size, "relay");
        CHECK(running.name() == "<task relay>");
        // Of one that is not ASCII the text is further behind.
        const RemoteAddr wide = fake.heap.str(U"\u20ac\u20ac1");
        fake.memory().put(wide + *fake.layout.pyobject.ob_type, running.str_type);
        running.set_name(wide);
        CHECK(running.name() == "<task \u20ac\u20ac1>");
        fake.memory().put(wide + *fake.layout.unicode_object.compactunicodeobject_size + 4,
                          std::uint16_t{'2'});
        CHECK(running.name() == "<task \u20ac\u20ac2>");
    });
}

TEST_CASE("a task that has ended since it was found has no name") {
    for_each_version_with_tasks([](FakeRuntime& fake) {
        Running running(fake);
        running.set_name(running.str("fetch"));
        running.run(fake.allocate(128));
        CHECK_FALSE(running.name());
        running.run(running.task);
        CHECK(running.name() == "<task fetch>");
    });
}

TEST_CASE("a task that ends while its name is read has none") {
    for_each_version_with_tasks([](FakeRuntime& fake) {
        // However far the reading has come.
        std::size_t reads = 0;
        {
            Running running(fake);
            running.set_name(running.str("fetch"));
            running.name();
            reads = running.memory.calls();
        }
        REQUIRE(reads > 3);
        for (std::size_t last = 0; last + 1 < reads; ++last) {
            CAPTURE(last);
            Running running(fake);
            running.set_name(running.str("fetch"));
            std::size_t pieces = 0;
            running.memory.moves = [&](std::size_t piece, std::size_t) {
                if (piece == 0 && pieces++ > last) running.run({});
            };
            // The second look at the task comes before the last decoding.
            const auto name = running.name();
            if (name) CHECK(name == "<task fetch>");
            running.memory.moves = nullptr;
            running.run(running.task);
            CHECK(running.name() == "<task fetch>");
        }
    });
}

TEST_CASE("a name that changes while it is decoded is not taken for either") {
    for_each_version_with_tasks([](FakeRuntime& fake) {
        Running running(fake);
        const RemoteAddr name = running.str("one");
        running.set_name(name);
        char letter = 'a';
        // Each look at its text finds another.
        running.memory.moves = [&](std::size_t, std::size_t) {
            letter = letter == 'z' ? 'a' : static_cast<char>(letter + 1);
            fake.memory().put_text(name + *fake.layout.unicode_object.asciiobject_size,
                                   std::string(3, letter));
        };
        for (int i = 0; i < 20; ++i) CHECK_FALSE(running.name());
        running.memory.moves = nullptr;
        fake.memory().put_text(name + *fake.layout.unicode_object.asciiobject_size, "two");
        CHECK(running.name() == "<task two>");
    });
}

TEST_CASE("a name that is neither text nor number, or cannot be read") {
    for_each_version_with_tasks([](FakeRuntime& fake) {
        Running running(fake);
        running.set_name({});
        CHECK_FALSE(running.name());
        running.set_name({0x10});
        CHECK_FALSE(running.name());
        const RemoteAddr other = fake.heap.str("fetch");
        fake.memory().put(other + *fake.layout.pyobject.ob_type, fake.heap.type(0, 16, 0, {}));
        running.set_name(other);
        CHECK_FALSE(running.name());
    });
}
