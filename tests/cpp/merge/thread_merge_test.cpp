#include "merge/thread_merge.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "support/fake_heap.h"
#include "support/native_chain.h"

using namespace pystack;
using namespace pystack::merge;
using cpython::RawFrame;
using pystack::testing::layout_of;
using pystack::testing::NativeChain;
using pystack::testing::places;

// Two loops, one in the other, by the name that the interpreter's has.
extern "C" __attribute__((noinline)) void _PyEval_EvalFrameDefault(std::size_t depth) {
    volatile std::uint64_t in_its_frame = 0;
    (*places)[depth] = reinterpret_cast<std::uint64_t>(&in_its_frame);
    if (depth > 0) {
        _PyEval_EvalFrameDefault(depth - 1);
    } else {
        chain_inner();
    }
    AFTER_CALL;
    in_its_frame = 1;
}
extern "C" __attribute__((noinline)) void merge_outer() {
    _PyEval_EvalFrameDefault(1);
    AFTER_CALL;
}

namespace {

/// A real child with two loops on its native stack: loop 0 is the inner one.
struct Merging {
    explicit Merging(std::uint8_t minor) : layout(layout_of(minor)), chain(&merge_outer) {
        auto created = unwind::NativeUnwinder::create(*chain.child.target);
        REQUIRE_MESSAGE(created, created.error().message());
        unwinder = *std::move(created);
        runtime.layout = layout;
        names.emplace(runtime, unwinder->code_map(), modules::DebugFileOptions{});
    }

    ThreadStack merge(const std::vector<StateFrames>& states, bool is_copied = true) {
        const StackCopies::Thread copied{.registers = chain.child.registers,
                                         .begin = chain.child.begin,
                                         .bytes = chain.child.bytes};
        const StackCopies::Thread* thread = is_copied ? &copied : nullptr;
        return merge_thread(thread, StackCopies::memory_of(thread), states, layout, *unwinder,
                            *names);
    }

    /// What is between merge_outer() and the innermost frame, outermost first: "loop", "inner", or
    /// Python frames as "index@thread".
    std::vector<std::string> text(const ThreadStack& stack) {
        std::vector<std::string> words;
        for (auto frame = stack.merged.frames.rbegin(); frame != stack.merged.frames.rend();
             ++frame) {
            using Kind = MergedFrame::Kind;
            if (frame->kind == Kind::kPython) {
                words.push_back(std::to_string(frame->index) + "@" + std::to_string(frame->thread));
                continue;
            }
            if (frame->kind == Kind::kGap) {
                words.emplace_back("gap");
                continue;
            }
            std::vector<model::Frame> named;
            names->append(stack.frames[frame->index], frame->kind == Kind::kLoop, named);
            const std::string name(named.back().function.view());
            if (name == "_PyEval_EvalFrameDefault")
                words.emplace_back(frame->kind == Kind::kLoop ? "loop" : "idle-loop");
            if (name == "chain_inner") words.emplace_back("inner");
        }
        return words;
    }

    cpython::Layout layout;
    NativeChain chain;
    std::unique_ptr<unwind::NativeUnwinder> unwinder;
    cpython::Runtime runtime;
    std::optional<NativeNames> names;
};

/// Python frames, innermost first, of which a shim begins those of each loop.
std::vector<RawFrame> with_shims(const std::vector<RemoteAddr>& anchors) {
    std::vector<RawFrame> frames;
    for (const RemoteAddr anchor : anchors) {
        frames.push_back({.address = {0x1000 + 0x100 * frames.size()}});
        frames.push_back({.address = anchor, .shim = true});
    }
    return frames;
}

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("Python frames go to the loops in whose stack frames their shims are") {
    Merging merging(13);
    const auto frames = with_shims({merging.chain.in_loop(0), merging.chain.in_loop(1)});
    const ThreadStack stack = merging.merge({{.thread = 5, .frames = frames}});
    CHECK(stack.is_complete());
    CHECK(stack.merged.unplaced == 0);
    CHECK(merging.text(stack) == Words{"loop", "2@5", "loop", "0@5", "inner"});
}

TEST_CASE("a loop that runs no frames of the list has none") {
    Merging merging(13);
    const auto frames = with_shims({merging.chain.in_loop(1)});
    const ThreadStack stack = merging.merge({{.frames = frames}});
    CHECK(merging.text(stack) == Words{"loop", "0@0", "idle-loop", "inner"});
    CHECK(merging.text(merging.merge({})) == Words{"idle-loop", "idle-loop", "inner"});
}

TEST_CASE("a thread in two interpreters: who was called last lies lowest") {
    Merging merging(13);
    const auto outer = with_shims({merging.chain.in_loop(1)});
    const auto inner = with_shims({merging.chain.in_loop(0)});
    for (const bool outer_first : {true, false}) {
        const StateFrames first{.thread = 1, .frames = outer};
        const StateFrames second{.thread = 2, .frames = inner};
        const ThreadStack stack =
            merging.merge(outer_first ? std::vector{first, second} : std::vector{second, first});
        CHECK(merging.text(stack) == Words{"loop", "0@1", "loop", "0@2", "inner"});
    }
}

TEST_CASE("versions that leave no trace on the stack are merged by the name of the loop") {
    Merging merging(8);
    const std::vector<RawFrame> frames{{.address = {0x1000}}, {.address = {0x2000}}};
    const ThreadStack stack = merging.merge({{.frames = frames}});
    CHECK(merging.text(stack) == Words{"loop", "1@0", "loop", "0@0", "inner"});
    CHECK(stack.merged.unplaced == 0);
}

TEST_CASE("a thread that was not copied has its Python frames before a gap") {
    Merging merging(13);
    const auto frames = with_shims({merging.chain.in_loop(0)});
    const ThreadStack stack = merging.merge({{.thread = 3, .frames = frames}}, false);
    CHECK(stack.is_missing);
    CHECK_FALSE(stack.is_complete());
    CHECK(stack.frames.empty());
    CHECK(merging.text(stack) == Words{"0@3", "gap"});
}

TEST_CASE("a stack that was cut keeps what was copied, and the rest is behind a gap") {
    Merging merging(13);
    const auto frames = with_shims({merging.chain.in_loop(0), merging.chain.in_loop(1)});
    auto& bytes = merging.chain.child.bytes;
    bytes.resize(merging.chain.in_loop(1) - merging.chain.child.begin);
    const ThreadStack stack = merging.merge({{.frames = frames}});
    CHECK_FALSE(stack.is_complete());
    CHECK(stack.end.end == modules::UnwindEnd::kCutStack);
    const Words words = merging.text(stack);
    REQUIRE(words.size() >= 4);
    CHECK(Words(words.end() - 2, words.end()) == Words{"0@0", "inner"});
    CHECK(std::count(words.begin(), words.end(), "2@0") == 1);
    CHECK(std::count(words.begin(), words.end(), "gap") >= 1);
}
