// A program that never stands still, as the proof of a stack sees it: what is proved must have
// been.

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "cpython/frames/stack_reader.h"
#include "support/fake_interpreter.h"

using namespace pystack;
using namespace pystack::cpython;
using model::StackEnd;
using pystack::testing::FakeInterpreter;
using pystack::testing::FakeMemory;
using pystack::testing::for_each_version;

namespace {

constexpr RemoteAddr kCode{0x500000};
constexpr std::size_t kFunctions = 6;
constexpr std::size_t kDeepest = 14;
constexpr std::size_t kRoom = 64;  // Frames that the data stack has room for.

/// A frame as the proof must find it. The innermost one's instruction moves on.
struct Seen {
    std::uint64_t code;
    std::uint64_t instruction;
    bool operator==(const Seen&) const = default;
};
using Stack = std::vector<Seen>;  // Outermost first.

/// Calls and returns at random, and leaves in memory what an interpreter of the version leaves
/// there: frames lie behind each other and are of different sizes, what has returned stays until it
/// is written over, and objects are used again.
class Program {
  public:
    /// `base`: frames below those that come and go.
    explicit Program(FakeInterpreter& of, std::size_t base = 0) : fake_(of), base_(base) {
        thread = of.add_thread(of.add_interpreter(0), 1);
        room_ = of.frames(kRoom + 2 * base);
        for (std::size_t i = 0; i < kFunctions; ++i) objects_.push_back(of.frames(1));
        frames_.push_back({.address = room_, .function = 0, .instruction = 2});
        write(0, of.shim());
        of.set_top(thread, room_);
        while (frames_.size() <= base) call();
    }

    void step() {
        const bool may_call = frames_.size() < base_ + kDeepest && callable();
        if (frames_.size() == base_ + 1 || (may_call && random_() % 2 == 0)) {
            if (may_call) call();
        } else {
            give_back();
        }
    }

    Stack stack() const {
        Stack stack;
        stack.reserve(frames_.size());
        for (const Frame& frame : frames_) stack.push_back(seen(frame));
        return stack;
    }

    RemoteAddr thread;

  private:
    struct Frame {
        RemoteAddr address;
        std::size_t function;
        std::uint64_t instruction;
    };

    bool on_data_stack() const { return fake_.layout.frame_chain != FrameChain::kFrameObject; }
    static Seen seen(const Frame& frame) {
        return {kCode.value + frame.function * 0x1000, frame.instruction};
    }
    /// Those that are not running already: an object is one frame at a time.
    bool callable() {
        next_function_ = random_() % kFunctions;
        return on_data_stack() || std::none_of(frames_.begin(), frames_.end(), [&](const Frame& f) {
                   return f.address == objects_[next_function_];
               });
    }

    void write(std::size_t index, RemoteAddr previous) {
        const Frame& frame = frames_[index];
        fake_.put_frame(frame.address, {.previous = previous,
                                        .code = {seen(frame).code},
                                        .instruction = frame.instruction,
                                        .calls = fake_.running_frames_call(),
                                        .is_entry = index == 0});
    }

    void call() {
        Frame& caller = frames_.back();
        caller.instruction = 2 * (1 + random_() % 4);
        put_instruction(caller);
        fake_.put_calls(caller.address, true);
        const RemoteAddr behind = caller.address + fake_.frame_size() + 16 * caller.function;
        frames_.push_back({.address = on_data_stack() ? behind : objects_[next_function_],
                           .function = next_function_,
                           .instruction = 2 * (1 + random_() % 4)});
        write(frames_.size() - 1, frames_[frames_.size() - 2].address);
        fake_.set_top(thread, frames_.back().address);
    }

    void give_back() {
        const Frame left = frames_.back();
        frames_.pop_back();
        fake_.set_top(thread, frames_.back().address);
        // What the version leaves in a frame that was cleared: see FrameFormat::looks_returned.
        fake_.put_calls(left.address, on_data_stack());
        if (fake_.layout.stack_top == StackTop::kPointer) {
            fake_.memory().put(left.address + *fake_.layout.interpreter_frame.stackpointer,
                               left.address + *fake_.layout.interpreter_frame.localsplus);
        }
        fake_.put_calls(frames_.back().address, fake_.running_frames_call());
        frames_.back().instruction += 2;
        put_instruction(frames_.back());
    }

    void put_instruction(const Frame& frame) {
        const RemoteAddr place = frame.address + *fake_.layout.interpreter_frame.instr_ptr;
        if (fake_.is_index()) {
            fake_.memory().put(place, static_cast<std::int32_t>(frame.instruction));
        } else {
            fake_.memory().put(place, frame.instruction);
        }
    }

    FakeInterpreter& fake_;
    const std::size_t base_;
    RemoteAddr room_;
    std::vector<RemoteAddr> objects_;
    std::vector<Frame> frames_;
    std::size_t next_function_ = 0;
    std::minstd_rand random_{7};
};

/// Lets the program run between the pieces of a read, and remembers all its stacks since then.
class RunningTarget final : public memory::MemoryReader {
  public:
    RunningTarget(const FakeMemory& memory, Program& program)
        : memory_(memory), program_(program) {}

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        return memory_.read_up_to(address, destination);
    }

    void read_many(std::span<memory::ReadRequest> requests) const override {
        stacks = {program_.stack()};
        for (memory::ReadRequest& request : requests) {
            for (auto steps = random_() % (most_steps + 1); steps > 0; --steps) {
                program_.step();
                stacks.push_back(program_.stack());
            }
            request.done = memory_.read_up_to(request.address, request.destination);
        }
    }

    mutable std::vector<Stack> stacks;  ///< During the last read.
    unsigned most_steps = 1;

  private:
    const FakeMemory& memory_;
    Program& program_;
    mutable std::minstd_rand random_{11};
};

/// The innermost frame's instruction is of no account.
bool was_there(const std::vector<Stack>& stacks, std::span<const RawFrame> frames) {
    Stack found;
    found.reserve(frames.size());
    for (const RawFrame& frame : frames) {
        if (!frame.shim) found.push_back({frame.code.value, frame.instruction});
    }
    return std::any_of(stacks.begin(), stacks.end(), [&](const Stack& stack) {
        if (stack.size() != found.size() || stack.back().code != found.back().code) return false;
        return std::equal(stack.begin(), stack.end() - 1, found.begin());
    });
}

/// Proofs of a program that is as bad as can be: no real one calls from a place of no meaning each
/// time.
class ProofTrial {
  public:
    ProofTrial(FakeInterpreter& fake, std::size_t base)
        : program_(fake, base),
          target_(fake.memory(), program_),
          reader_(target_, fake.layout, 1000) {}

    /// `between`: steps that the program makes between two proofs; up to `most_steps` it makes
    /// between two pieces of one.
    void run(int count, int between, unsigned most_steps, bool certain) {
        target_.most_steps = most_steps;
        for (int i = 0; i < count; ++i) {
            for (int k = 0; k < between; ++k) program_.step();
            if (reader_.prove(program_.thread, plan_, 3, certain).end != StackEnd::kComplete)
                continue;
            ++proved;
            wrong += was_there(target_.stacks, plan_.frames()) ? 0 : 1;
        }
    }

    int proved = 0;
    int wrong = 0;

  private:
    Program program_;
    RunningTarget target_;
    StackReader reader_;
    ReadPlan plan_;
};

/// Below 3.11 objects of frames are used again at once, and callers are compared by their heads
/// only: such a program defeats the proof, some times in a hundred.
template <typename Test>
void for_each_with_data_stack(Test test) {
    for_each_version([&](FakeInterpreter& fake) {
        if (fake.layout.frame_chain != FrameChain::kFrameObject) test(fake);
    });
}

}  // namespace

TEST_CASE("what is certain was the stack while it was read, all but always") {
    for_each_with_data_stack([](FakeInterpreter& fake) {
        ProofTrial trial(fake, 0);
        for (const unsigned most_steps : {1u, 2u, 5u}) trial.run(10'000, 3, most_steps, true);
        CHECK(trial.proved > 500);
        CHECK(trial.wrong * 1000 < trial.proved);
    });
}

TEST_CASE("what is proved, and not certain, seldom was not the stack while it was read") {
    for_each_with_data_stack([](FakeInterpreter& fake) {
        ProofTrial trial(fake, 0);
        trial.run(20'000, 3, 1, false);
        CHECK(trial.proved > 2'000);
        CHECK(trial.wrong * 100 < trial.proved);
    });
}

TEST_CASE("what is proved of a deep stack, half of it by the proof before, is as true") {
    for_each_with_data_stack([](FakeInterpreter& fake) {
        ProofTrial trial(fake, 300);
        trial.run(2'000, 0, 1, false);
        CHECK(trial.proved > 200);
        CHECK(trial.wrong * 100 < trial.proved);
    });
}
