#include "merge/native_names.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/text.h"
#include "support/fake_heap.h"
#include "support/native_chain.h"
#include "unwind/native_unwinder.h"

using namespace pystack;
using namespace pystack::merge;
using pystack::testing::layout_of;
using pystack::testing::NativeChain;

namespace {

/// The frames of a real child, and what they are called.
struct Naming {
    Naming() {
        auto created = unwind::NativeUnwinder::create(*chain.child.target);
        REQUIRE_MESSAGE(created, created.error().message());
        unwinder = *std::move(created);
        runtime.layout = layout_of(13);
        names.emplace(runtime, unwinder->code_map(), modules::DebugFileOptions{});
        chain.child.unwind(*unwinder, frames);
        for (const modules::NativeFrame& frame : frames) {
            std::vector<model::Frame> named;
            names->append(frame, false, named);
            if (named.back().function == "chain_inner") inner = frame;
            if (named.back().function == "chain_loop") loop = frame;
        }
        REQUIRE(inner.pc);
        REQUIRE(loop.pc);
    }

    model::Frame named(const modules::NativeFrame& frame, bool runs_python = false) {
        std::vector<model::Frame> made;
        names->append(frame, runs_python, made);
        REQUIRE_FALSE(made.empty());
        return made.back();
    }

    NativeChain chain;
    std::unique_ptr<unwind::NativeUnwinder> unwinder;
    cpython::Runtime runtime;
    std::optional<NativeNames> names;
    std::vector<modules::NativeFrame> frames;
    modules::NativeFrame inner;
    modules::NativeFrame loop;
};

/// The child was forked from us.
RemoteAddr address_of(void (*function)()) {
    return {reinterpret_cast<std::uint64_t>(function)};
}

}  // namespace

TEST_CASE("a native frame has its function's name, file, and place") {
    Naming naming;
    const model::Frame frame = naming.named(naming.inner);
    CHECK(frame.kind == model::FrameKind::kNative);
    CHECK(frame.function == "chain_inner");
    REQUIRE(frame.native);
    const model::NativeDetails& native = *frame.native;
    CHECK(native.symbol == "chain_inner");
    CHECK(native.module == naming.chain.child.target->executable());
    CHECK(native.address == naming.inner.pc.value);
    CHECK((native.name_source == model::NameSource::kDebugInfo ||
           native.name_source == model::NameSource::kSymbols));
    CHECK_FALSE(native.is_plumbing);
    CHECK_FALSE(native.is_guess);
    CHECK_FALSE(native.is_inlined);
    CHECK(native.python_name.empty());
}

TEST_CASE("the loop that runs Python frames is plumbing, whatever it is called") {
    Naming naming;
    CHECK_FALSE(naming.named(naming.loop).native->is_plumbing);
    CHECK(naming.named(naming.loop, true).native->is_plumbing);
    CHECK_FALSE(naming.names->is_loop(naming.loop));
}

TEST_CASE(
    "what Python calls a function is said beside its own name, and replaces it if it has none") {
    Naming naming;
    naming.names->use({{address_of(&chain_inner), "list.sort"}});
    const model::Frame named = naming.named(naming.inner);
    CHECK(named.function == "chain_inner");
    CHECK(named.native->python_name == "list.sort");
    CHECK(naming.named(naming.loop).native->python_name.empty());
    // Other names, other frames: the first ones are forgotten.
    naming.names->use({{address_of(&chain_loop), "dict.get"}});
    CHECK(naming.named(naming.inner).native->python_name.empty());
    CHECK(naming.named(naming.loop).native->python_name == "dict.get");
}

TEST_CASE("a symbol says more than a slot that Python cannot call") {
    Naming naming;
    naming.names->use({{address_of(&chain_inner), "range_iterator.tp_dealloc"}});
    CHECK(naming.named(naming.inner).function == "chain_inner");
    CHECK(naming.named(naming.inner).native->python_name.empty());
    // Not so of a special method, unless the symbol is of the C API.
    naming.names->use({{address_of(&chain_inner), "Random.__init__"}});
    CHECK(naming.named(naming.inner).native->python_name == "Random.__init__");
}

TEST_CASE("frames that were found by guessing say so") {
    Naming naming;
    modules::NativeFrame guessed = naming.inner;
    for (const auto origin : {modules::FrameOrigin::kPrologue, modules::FrameOrigin::kFramePointer,
                              modules::FrameOrigin::kReturnAddress}) {
        guessed.origin = origin;
        CHECK(naming.named(guessed).native->is_guess);
    }
    guessed.origin = modules::FrameOrigin::kRegisters;
    CHECK_FALSE(naming.named(guessed).native->is_guess);
}

TEST_CASE("a place in code without names is its module and the address in it") {
    Naming naming;
    const std::string program(base_name(*naming.chain.child.target->executable()));
    const std::string place = naming.names->place(naming.inner.pc);
    CHECK(place.starts_with(program + "+0x"));
    CHECK(place != naming.names->place(naming.loop.pc));
    CHECK(naming.names->place({0x10}) == "0x10");
}

TEST_CASE("code of no file has no module") {
    Naming naming;
    const model::Frame frame = naming.named({.pc = {0x1234}, .sp = {0x10}, .is_activation = true});
    CHECK(frame.native->module.empty());
    CHECK(frame.native->name_source == model::NameSource::kNone);
    CHECK(frame.native->address == 0x1234);
    CHECK_FALSE(frame.function.empty());
}
