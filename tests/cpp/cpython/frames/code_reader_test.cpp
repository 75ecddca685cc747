#include "cpython/frames/code_reader.h"

#include <doctest/doctest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "support/fake_codes.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::FakeCodes;
using pystack::testing::FakeInterpreter;
using pystack::testing::for_each_version;

namespace {

constexpr auto kUnits = FakeCodes::kUnits;
constexpr auto kFirstLine = FakeCodes::kFirstLine;

bool knows_size(const FakeInterpreter& fake) {
    return fake.layout.code_object.co_code_adaptive.has_value();
}

}  // namespace

TEST_CASE("code objects are read once, in batches") {
    for_each_version([](FakeInterpreter& fake) {
        FakeCodes objects(fake);
        std::vector<RawFrame> frames;
        for (int i = 0; i < 50; ++i) {
            const std::string number = std::to_string(i);
            frames.push_back(
                objects.frame(objects.code("function" + number, "/srv/file" + number + ".py")));
        }
        frames.push_back(frames.front());
        frames.push_back({.code = {0x10}, .shim = true});

        CodeReader codes(fake.memory(), fake.layout);
        CHECK(codes.find(frames[0].code) == nullptr);
        const std::size_t before = fake.memory().calls();
        codes.load(frames);
        // The three strings of a code object have nothing readable behind them here, which costs a
        // read each.
        CHECK(fake.memory().calls() - before < 3 * 50 + 10);
        for (int i = 0; i < 50; ++i) {
            const Code* code = codes.find(frames[static_cast<std::size_t>(i)].code);
            REQUIRE(code != nullptr);
            CHECK_FALSE(code->problem);
            CHECK(code->function == "function" + std::to_string(i));
            CHECK(code->file == "/srv/file" + std::to_string(i) + ".py");
            CHECK(code->identity.first_line == kFirstLine);
            if (fake.layout.code_object.qualname)
                CHECK(code->qualname == "Class." + std::string(code->function.view()));
        }
        CHECK(codes.find({0x10}) == nullptr);

        const std::size_t loaded = fake.memory().calls();
        codes.load(frames);
        CHECK(fake.memory().calls() == loaded);
        CHECK(codes.verify(frames));
        CHECK(codes.instructions_fit(frames));
    });
}

TEST_CASE("an address that is used again is another code object") {
    for_each_version([](FakeInterpreter& fake) {
        FakeCodes objects(fake);
        const RemoteAddr address = objects.code("before", "a.py");
        const RemoteAddr other = objects.code("stays", "a.py");
        const std::vector frames{objects.frame(address), objects.frame(other)};
        CodeReader codes(fake.memory(), fake.layout);
        codes.load(frames);
        const Code* const before = codes.find(address);

        objects.fill(address, "after", "b.py");
        CHECK_FALSE(codes.verify(frames));
        CHECK(codes.find(address) == nullptr);
        CHECK(codes.find(other) != nullptr);
        CHECK(before->function == "before");  // Who holds it keeps it.
        codes.load(frames);
        CHECK(codes.find(address)->function == "after");
        CHECK(codes.verify(frames));

        fake.unmap(address);
        CHECK_FALSE(codes.verify(frames));
    });
}

TEST_CASE("what is no code object is a problem, not a crash") {
    for_each_version([](FakeInterpreter& fake) {
        FakeCodes objects(fake);
        const auto& layout = fake.layout;
        const auto problem_of = [&](RemoteAddr address) {
            CodeReader codes(fake.memory(), layout);
            const std::vector frames{objects.frame(address)};
            codes.load(frames);
            const Code* code = codes.find(address);
            REQUIRE(code != nullptr);
            REQUIRE(code->problem);
            CHECK_FALSE(codes.verify(frames));
            CHECK_FALSE(codes.instructions_fit(frames));
            return code->problem->code;
        };
        CHECK(problem_of({0x10}) == ErrorCode::kReadFault);
        CHECK(problem_of({~std::uint64_t{7}}) == ErrorCode::kReadFault);

        RemoteAddr code = objects.code("f", "f.py");
        const RemoteAddr other = fake.allocate(layout.type_object.struct_size);
        objects.name_type(other, "codex");
        fake.memory().put(code + *layout.pyobject.ob_type, other);
        CHECK(problem_of(code) == ErrorCode::kCorruptData);

        code = objects.code("f", "f.py");
        fake.memory().put(code + *layout.code_object.name, RemoteAddr{0x10});
        CHECK(problem_of(code) == ErrorCode::kReadFault);

        code = objects.code("f", "f.py");
        fake.memory().put(code + *layout.code_object.linetable, objects.bytes_object(-1));
        CHECK(problem_of(code) == ErrorCode::kCorruptData);
        // One that is larger than any real one is left out, and the function is shown without
        // lines.
        for (const std::int64_t size :
             {std::int64_t{1} << 40, std::numeric_limits<std::int64_t>::max()}) {
            code = objects.code("f", "f.py");
            fake.memory().put(code + *layout.code_object.linetable, objects.bytes_object(size));
            const auto limits = std::make_shared<WorkLimits>();
            CodeReader codes(fake.memory(), layout, limits);
            codes.load(std::vector{objects.frame(code)});
            CHECK_FALSE(codes.find(code)->problem);
            CHECK(codes.find(code)->line_table == nullptr);
            CHECK(limits->bytes_refused());
        }
        code = objects.code("f", "f.py");
        const RemoteAddr name = *fake.memory().read_pointer(code + *layout.code_object.name);
        fake.memory().put(name + *layout.unicode_object.length, std::int64_t{1} << 60);
        problem_of(code);
    });
}

TEST_CASE("an instruction lies in its code object, or nowhere") {
    for_each_version([](FakeInterpreter& fake) {
        FakeCodes objects(fake);
        const RemoteAddr address = objects.code("f", "f.py");
        CodeReader codes(fake.memory(), fake.layout);
        codes.load(std::vector{objects.frame(address)});
        const Code& code = *codes.find(address);
        CHECK(codes.place(code, objects.frame(address, 0)) == 0);
        CHECK(codes.place(code, objects.frame(address, 2 * kUnits - 2)) == 2 * kUnits - 2);
        if (!knows_size(fake)) {
            CHECK(codes.place(code, {.code = address, .instruction = ~std::uint64_t{0}}) == -1);
            return;
        }
        CHECK_FALSE(codes.place(code, objects.frame(address, 2 * kUnits)));
        CHECK_FALSE(codes.place(code, objects.frame(address, 3)));
        CHECK_FALSE(codes.place(code, objects.frame(address, -4)));
        CHECK_FALSE(codes.place(code, {.code = address, .instruction = 0}));
        CHECK_FALSE(codes.place(code, {.code = address, .instruction = ~std::uint64_t{1}}));
        const auto before = codes.place(code, objects.frame(address, -2));
        if (fake.layout.instruction == Instruction::kPreviousUnit) {
            CHECK(before == -1);
        } else {
            CHECK_FALSE(before);
        }
        CHECK_FALSE(codes.instructions_fit(
            std::vector{objects.frame(address, 0), objects.frame(address, 3)}));
    });
}

TEST_CASE("a thread's own copy of the bytecode") {
    for_each_version([](FakeInterpreter& fake) {
        if (!fake.layout.code_object.co_tlbc) return;
        FakeCodes objects(fake);
        const RemoteAddr address = objects.code("f", "f.py");
        const RemoteAddr copies = fake.allocate(8 + 3 * 8);
        const RemoteAddr second = fake.allocate(2 * kUnits);
        fake.memory().put(copies, std::int64_t{3});
        fake.memory().put(copies + 8, objects.instructions(address));
        fake.memory().put(copies + 16, second);
        fake.memory().put(address + *fake.layout.code_object.co_tlbc, copies);
        CodeReader codes(fake.memory(), fake.layout);
        codes.load(std::vector{objects.frame(address)});
        const Code& code = *codes.find(address);
        const auto offset = [&](std::int32_t index, RemoteAddr instruction) {
            return codes.place(
                code, {.code = address, .instruction = instruction.value, .tlbc_index = index});
        };
        CHECK(offset(0, objects.instructions(address) + 4) == 4);
        CHECK(offset(1, second + 4) == 4);
        CHECK_FALSE(offset(1, objects.instructions(address) + 4));
        CHECK_FALSE(offset(2, second + 4));  // A copy that is not made yet.
        CHECK_FALSE(offset(3, second + 4));
        CHECK_FALSE(offset(-1, second + 4));
        CHECK_FALSE(offset(std::numeric_limits<std::int32_t>::max(), second + 4));
        fake.memory().put(copies, std::numeric_limits<std::int64_t>::max());
        CHECK_FALSE(offset(std::numeric_limits<std::int32_t>::max(), second + 4));
        fake.memory().put(address + *fake.layout.code_object.co_tlbc, RemoteAddr{0x10});
        CHECK_FALSE(offset(1, second + 4));
    });
}

TEST_CASE("frames that are still being set up") {
    for_each_version([](FakeInterpreter& fake) {
        FakeCodes objects(fake);
        const RemoteAddr address = objects.code("f", "f.py");
        const auto first = fake.layout.code_object.firsttraceable;
        if (first) fake.memory().put(address + *first, std::int32_t{3});
        CodeReader codes(fake.memory(), fake.layout);
        codes.load(std::vector{objects.frame(address)});
        const Code& code = *codes.find(address);
        CHECK(codes.is_incomplete(code, objects.frame(address, 4)) == first.has_value());
        CHECK_FALSE(codes.is_incomplete(code, objects.frame(address, 6)));
        RawFrame generator = objects.frame(address, 4);
        generator.owner = fake.layout.generator_owner;
        CHECK_FALSE(codes.is_incomplete(code, generator));
    });
}

TEST_CASE("random code objects end in time") {
    std::mt19937_64 random(11);
    for (int round = 0; round < 30; ++round) {
        for_each_version([&](FakeInterpreter& fake) {
            FakeCodes objects(fake);
            const std::size_t size = fake.layout.code_object.struct_size;
            const RemoteAddr address = objects.code("f", "f.py");
            const RemoteAddr type =
                *fake.memory().read_pointer(address + *fake.layout.pyobject.ob_type);
            for (std::size_t at = 0; at + 8 <= size; at += 8) {
                const std::uint64_t word =
                    random() % 2 == 0 ? random() : address.value + random() % size;
                fake.memory().put(address + at, word);
            }
            if (round % 2 == 0) fake.memory().put(address + *fake.layout.pyobject.ob_type, type);
            CodeReader codes(fake.memory(), fake.layout);
            // Below 3.11 the instruction is a 32-bit index.
            const std::uint64_t anywhere = random();
            const auto index =
                static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(anywhere)});
            const std::vector frames{
                objects.frame(address, 4),
                RawFrame{.code = address, .instruction = fake.is_index() ? index : anywhere}};
            codes.load(frames);
            const Code* code = codes.find(address);
            REQUIRE(code != nullptr);
            for (const RawFrame& frame : frames) {
                const auto offset = codes.place(*code, frame);
                if (offset) codes.position(*code, *offset);
                codes.is_incomplete(*code, frame);
            }
            codes.instructions_fit(frames);
            codes.verify(frames);
        });
    }
}
