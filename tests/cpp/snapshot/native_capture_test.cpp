#include "snapshot/native_capture.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "snapshot/snapshot_builder.h"
#include "support/fake_program.h"
#include "support/native_chain.h"

using namespace pystack;
using namespace pystack::snapshot;
using pystack::testing::FakeProgram;
using pystack::testing::FakeRuntime;
using pystack::testing::FakeTarget;
using pystack::testing::layout_of;
using pystack::testing::NativeChain;

namespace {

/// A real child with a native stack, whose Python frames are made up: their shim lies in the stack
/// frame of chain_loop(), as that of a real loop does.
struct NativeReading {
    explicit NativeReading(std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>())
        : fake(layout_of(13)), program(fake) {
        program.add_thread(1, {"main", "work"});
        auto opened = target::LiveTarget::open(chain.child.target->pid(), std::move(limits));
        REQUIRE(opened);
        target = *std::move(opened);
        raw.emplace(*target, fake.runtime, 1000);
    }

    /// Of the made-up thread: what RawSnapshot::read_stopped would have found.
    void add_python_thread() {
        const FakeTarget source(fake);
        RawSnapshot read(source, fake.runtime, 1000);
        read.read_stopped();
        REQUIRE(read.threads.size() == 1);
        raw->walked = read.walked;
        raw->gils.resize(1);
        raw->names.resize(1);
        RawThread& thread = raw->threads.emplace_back(read.threads[0]);
        REQUIRE(thread.frames.back().shim);
        thread.frames.back().address = chain.in_loop();
        thread.info = 0;
    }

    void create(merge::NativeOptions options = {}) {
        auto created = NativeCapture::create(*target, fake.runtime, std::move(options));
        REQUIRE_MESSAGE(created, created.error().message());
        native = *std::move(created);
    }

    /// As capture_live does while it stands still.
    void copy() {
        auto guard = target->stop();
        REQUIRE(guard);
        for (const process::StoppedThread& thread : guard->threads()) {
            const auto registers = guard->registers(thread.tid);
            REQUIRE(registers);
            native->add_thread(thread.tid, *registers);
        }
        native->copy_stacks({});
        guard->release();
        raw->infos = {{.tid = target->pid()}};
    }

    /// The merged stack, outermost first. Python frames are numbers in brackets: the live target
    /// does not have their code objects.
    std::vector<std::string> shown() {
        std::vector<std::string> texts;
        for (auto merged = raw->natives.at(0).merged.frames.rbegin();
             merged != raw->natives.at(0).merged.frames.rend(); ++merged) {
            using Kind = merge::MergedFrame::Kind;
            if (merged->kind == Kind::kPython) {
                texts.push_back("[" + std::to_string(merged->index) + "]");
            } else if (merged->kind == Kind::kGap) {
                texts.push_back("gap");
            } else {
                std::vector<model::Frame> named;
                native->names().append(raw->natives[0].frames[merged->index], false, named);
                texts.emplace_back(named.back().function.view());
            }
        }
        return texts;
    }

    NativeChain chain;
    FakeRuntime fake;
    FakeProgram program;
    std::unique_ptr<target::LiveTarget> target;
    std::optional<RawSnapshot> raw;
    std::unique_ptr<NativeCapture> native;
};

/// The names from `first` on.
std::vector<std::string> from(const std::vector<std::string>& names, const std::string& first) {
    return {std::find(names.begin(), names.end(), first), names.end()};
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("Python frames are behind the native frame that runs them") {
    NativeReading reading;
    reading.add_python_thread();
    reading.create();
    reading.copy();
    reading.native->merge(*reading.raw);
    REQUIRE(reading.raw->natives.size() == 1);
    CHECK(reading.raw->threads[0].native == 0);
    CHECK(reading.raw->natives[0].is_complete());
    const Names shown = from(reading.shown(), "chain_outer");
    REQUIRE(shown.size() > 5);
    CHECK(Names(shown.begin(), shown.begin() + 5) ==
          Names{"chain_outer", "chain_loop", "[1]", "[0]", "chain_inner"});
}

TEST_CASE("threads that run no Python are there only if all were asked for") {
    for (const bool all : {true, false}) {
        CAPTURE(all);
        NativeReading reading;
        reading.create({.all_threads = all});
        reading.copy();
        reading.native->merge(*reading.raw);
        CHECK(reading.raw->natives.size() == (all ? 1 : 0));
        const model::Snapshot snapshot = build_snapshot(*reading.raw, reading.native.get());
        REQUIRE(snapshot.threads.size() == (all ? 1 : 0));
        if (!all) continue;
        const model::Thread& thread = snapshot.threads[0];
        CHECK(thread.stack_end == model::StackEnd::kNoPython);
        CHECK(thread.tid == reading.target->pid());
        CHECK_FALSE(thread.interpreter_id);
        CHECK_FALSE(thread.python_thread_id);
        const auto is_inner = [](const model::Frame& frame) {
            return frame.function == "chain_inner";
        };
        CHECK(std::any_of(thread.frames.begin(), thread.frames.end(), is_inner));
    }
}

TEST_CASE("without registers the Python frames stay, with a gap that says why") {
    NativeReading reading;
    reading.add_python_thread();
    reading.create();
    reading.raw->infos = {{.tid = reading.target->pid()}};
    reading.native->copy_stacks({});
    reading.native->merge(*reading.raw);
    REQUIRE(reading.raw->natives.size() == 1);
    CHECK(reading.raw->natives[0].is_missing);
    const Names shown = reading.shown();
    CHECK(shown == Names{"[1]", "[0]", "gap"});
    const model::Snapshot snapshot = build_snapshot(*reading.raw, reading.native.get());
    const auto& frames = snapshot.threads.at(0).frames;
    const auto is_gap = [](const model::Frame& frame) {
        return frame.kind == model::FrameKind::kGap;
    };
    const auto gap = std::find_if(frames.begin(), frames.end(), is_gap);
    REQUIRE(gap != frames.end());
    CHECK(gap->function == "the thread's registers could not be read");
}

TEST_CASE("stacks that the memory limit refuses are counted") {
    NativeReading reading(std::make_shared<WorkLimits>(64 << 20));
    reading.create({.all_threads = true});
    reading.copy();
    WorkLimits& limits = reading.target->limits();
    limits.charge_bytes(limits.bytes_left());
    reading.native->merge(*reading.raw);
    CHECK(reading.native->refused_threads() == 1);
    CHECK(reading.raw->natives.empty());
    const model::Snapshot snapshot = build_snapshot(*reading.raw, reading.native.get());
    REQUIRE_FALSE(snapshot.problems.empty());
    CHECK(snapshot.problems[0].starts_with("the native stacks of 1 threads were left out"));
}

TEST_CASE("a cancelled merge ends at once") {
    NativeReading reading;
    reading.create({.all_threads = true});
    reading.copy();
    reading.target->limits().cancel();
    reading.native->merge(*reading.raw);
    CHECK(reading.raw->natives.empty());
    CHECK(reading.native->refused_threads() == 0);
}

TEST_CASE("what was copied for one reading is no part of the next") {
    NativeReading reading;
    reading.create({.all_threads = true});
    reading.copy();
    reading.native->clear();
    reading.native->copy_stacks({});
    reading.native->merge(*reading.raw);
    REQUIRE(reading.raw->natives.size() == 1);
    CHECK(reading.raw->natives[0].is_missing);
}
