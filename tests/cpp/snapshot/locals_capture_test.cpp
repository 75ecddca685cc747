#include "snapshot/locals_capture.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/fake_program.h"

using namespace pystack;
using namespace pystack::snapshot;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;
using pystack::testing::for_each_version;

namespace {

constexpr std::size_t kMaxDepth = 100'000;

/// A program whose functions have one variable each, `x`, an int.
struct Variables {
    explicit Variables(FakeRuntime& of) : fake(of), program(of) {
        type = fake.allocate(*fake.layout.type_object.ht_cached_keys + 8);
        program.codes.name_type(type, "int");
    }

    RemoteAddr number(std::uint32_t value) {
        // In a page of its own: values are read by pages.
        const RemoteAddr object = fake.allocate(64);
        const auto bytes = fake.memory().read_bytes(fake.heap.integer(false, {value}),
                                                    *fake.layout.long_object.ob_digit + 4);
        REQUIRE(bytes);
        fake.memory().write(object, *bytes);
        fake.memory().put(object + *fake.layout.pyobject.ob_type, type);
        return object;
    }

    void declare_x(RemoteAddr code) {
        const auto& fields = fake.layout.code_object;
        const RemoteAddr names = fake.allocate(*fake.layout.tuple_object.ob_item + 8);
        fake.memory().put(names + *fake.layout.tuple_object.ob_size, std::uint64_t{1});
        fake.memory().put(names + *fake.layout.tuple_object.ob_item, fake.heap.str("x"));
        if (fields.flags)
            fake.memory().put(code + *fields.flags, std::uint32_t{1});  // CO_OPTIMIZED
        if (fields.localspluskinds) {
            const RemoteAddr kinds = fake.allocate(*fake.layout.bytes_object.ob_sval + 8);
            fake.memory().put(kinds + *fake.layout.bytes_object.ob_size, std::int64_t{1});
            fake.memory().put(kinds + *fake.layout.bytes_object.ob_sval, std::uint8_t{0x20});
            fake.memory().put(code + *fields.localsplusnames, names);
            fake.memory().put(code + *fields.localspluskinds, kinds);
            fake.memory().put(code + *fields.nlocalsplus, std::int32_t{1});
            return;
        }
        const RemoteAddr none = fake.allocate(*fake.layout.tuple_object.ob_item + 8);
        fake.memory().put(code + *fields.varnames, names);
        fake.memory().put(code + *fields.nlocals, std::int32_t{1});
        fake.memory().put(code + *fields.cellvars, none);
        fake.memory().put(code + *fields.freevars, none);
    }

    void set_x(RemoteAddr frame, RemoteAddr value) {
        fake.memory().put(frame + *fake.layout.interpreter_frame.localsplus, value);
    }

    /// A thread `depth` calls deep, in which x of frame i is i. Returns the outermost frame.
    RemoteAddr add_thread(std::uint64_t pthread, std::size_t depth) {
        declare_x(program.code("recurse"));
        const RemoteAddr thread = program.add_thread(pthread, {});
        const RemoteAddr base = program.run(thread, std::vector<std::string>(depth, "recurse"));
        for (std::size_t i = 0; i < depth; ++i)
            set_x(fake.frame(base, i), number(static_cast<std::uint32_t>(i)));
        return base;
    }

    void read(LocalsOptions options = {}) {
        raw.emplace(*target, fake.runtime, kMaxDepth);
        raw->read_stopped();
        LocalsCapture(target->memory(), fake.layout, options).read(*raw);
    }

    /// Of frame `place` from the outermost one: the value of x, or "(N omitted)".
    std::string x_of(std::size_t thread, std::size_t place) const {
        const RawThread& read = raw->threads[thread];
        const std::size_t outermost = read.frames.size() - 1 - fake.has_shims();
        const model::FrameVariables& frame = read.variables.at(outermost - place);
        if (frame.omitted > 0) return "(" + std::to_string(frame.omitted) + " omitted)";
        if (frame.variables.empty()) return "(none) " + frame.problem;
        CHECK(frame.variables.size() == 1);
        CHECK(frame.variables[0].name == "x");
        return frame.variables[0].redacted ? "(redacted)" : frame.variables[0].value;
    }

    FakeRuntime& fake;
    FakeProgram program;
    RemoteAddr type;
    std::optional<FakeTarget> target;
    std::optional<RawSnapshot> raw;
};

}  // namespace

TEST_CASE("each frame has its own variables, and shims have none") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Variables variables(fake);
        variables.add_thread(1, 3);
        variables.add_thread(2, 1);
        variables.target.emplace(fake);
        variables.read();
        for (std::size_t i = 0; i < 3; ++i) CHECK(variables.x_of(0, i) == std::to_string(i));
        CHECK(variables.x_of(1, 0) == "0");
        for (const RawThread& thread : variables.raw->threads) {
            REQUIRE(thread.variables.size() == thread.frames.size());
            if (fake.has_shims()) CHECK(thread.variables.back().variables.empty());
        }
    });
}

TEST_CASE("a redacted variable is named and not looked at") {
    FakeRuntime fake(pystack::testing::layout_of(13));
    Variables variables(fake);
    variables.add_thread(1, 1);
    variables.target.emplace(fake);
    variables.read({.limits = {}, .redaction = {.names = {"x"}}});
    CHECK(variables.x_of(0, 0) == "(redacted)");
}

TEST_CASE("of a deep stack both ends are shown, and the rest is counted") {
    for (const std::uint8_t minor : {8, 11, 13}) {
        CAPTURE(minor);
        constexpr std::size_t kDepth = 3000;
        FakeRuntime fake(pystack::testing::layout_of(minor));
        Variables variables(fake);
        variables.add_thread(1, kDepth);
        variables.target.emplace(fake);
        variables.read();
        std::size_t shown = 0;
        std::vector<std::size_t> left_out;
        for (std::size_t i = 0; i < kDepth; ++i) {
            const std::string x = variables.x_of(0, i);
            if (x == std::to_string(i)) ++shown;
            if (x == "(1 omitted)") left_out.push_back(i);
        }
        CHECK(shown + left_out.size() == kDepth);
        // A frame takes a place besides its variable: 1,000 / 2 outer ones, 4,000 / 2 inner ones.
        REQUIRE(left_out.size() == 500);
        CHECK(left_out.front() == 500);
        CHECK(left_out.back() == 999);
    }
}

TEST_CASE("what was copied while the target stood still is what is shown") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Variables variables(fake);
        const RemoteAddr base = variables.add_thread(1, 2);
        const RemoteAddr later = variables.number(77);
        variables.target.emplace(fake);
        RawSnapshot& raw = variables.raw.emplace(*variables.target, fake.runtime, kMaxDepth);
        LocalsCapture locals(variables.target->memory(), fake.layout, {});
        raw.read_stopped();
        auto frames = raw.threads[0].frames;
        locals.rehearse(raw, frames);
        locals.copy(raw);
        // It runs again.
        variables.set_x(base, later);
        CHECK(locals.render(raw));
        CHECK(variables.x_of(0, 0) == "0");
        CHECK(variables.x_of(0, 1) == "1");

        locals.read(raw);
        CHECK(variables.x_of(0, 0) == "77");
    });
}

TEST_CASE("a value that the rehearsal did not meet takes another reading") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Variables variables(fake);
        const RemoteAddr base = variables.add_thread(1, 2);
        // In a page of its own, that nobody has read.
        const RemoteAddr type = fake.allocate(*fake.layout.type_object.ht_cached_keys + 8);
        variables.program.codes.name_type(type, "int");
        const RemoteAddr object = fake.allocate(64);
        fake.memory().put(object + *fake.layout.pyobject.ob_type, type);
        variables.target.emplace(fake);
        RawSnapshot& raw = variables.raw.emplace(*variables.target, fake.runtime, kMaxDepth);
        LocalsCapture locals(variables.target->memory(), fake.layout, {});
        raw.read_stopped();
        auto frames = raw.threads[0].frames;
        locals.rehearse(raw, frames);
        variables.set_x(base, object);
        locals.copy(raw);
        CHECK_FALSE(locals.render(raw));
        locals.read(raw);
        CHECK(variables.x_of(0, 0) == "0");
        CHECK(variables.x_of(0, 1) == "1");
    });
}

TEST_CASE("variables that the memory limit does not allow are left out") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Variables variables(fake);
        variables.add_thread(1, 3);
        variables.target.emplace(fake);
        RawSnapshot& raw = variables.raw.emplace(*variables.target, fake.runtime, kMaxDepth);
        raw.read_stopped();
        WorkLimits& limits = variables.target->limits();
        limits.charge_bytes(limits.bytes_left());
        LocalsCapture(variables.target->memory(), fake.layout, {}).read(raw);
        CHECK(raw.threads[0].frames.size() == 3 + fake.has_shims());
        CHECK(raw.threads[0].variables.empty());
        CHECK(limits.bytes_refused());
    });
}

TEST_CASE("variables that cannot be read say so in their frame") {
    for_each_version<FakeRuntime>([](FakeRuntime& fake) {
        Variables variables(fake);
        variables.add_thread(1, 2);
        const auto& fields = fake.layout.code_object;
        fake.memory().put(variables.program.code("recurse") +
                              *(fields.localspluskinds ? fields.localsplusnames : fields.varnames),
                          RemoteAddr{0x10});
        variables.target.emplace(fake);
        variables.read();
        CHECK(variables.x_of(0, 0).starts_with("(none) "));
        CHECK(variables.x_of(0, 0).size() > 8);
    });
}
