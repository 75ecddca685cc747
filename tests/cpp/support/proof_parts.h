#pragma once

#include <functional>
#include <vector>

#include "cpython/frames/frame_chain_walker.h"
#include "cpython/frames/proof_copies.h"
#include "cpython/frames/proved_stack.h"
#include "cpython/frames/stack_proof.h"
#include "cpython/frames/stack_ranges.h"
#include "memory/read_batch.h"
#include "support/fake_interpreter.h"

namespace pystack::testing {

/// Calls `between` when the thread state is read, between the two copies of a stack.
class TwoMoments final : public memory::MemoryReader {
  public:
    explicit TwoMoments(const FakeMemory& memory) : memory_(memory) {}

    std::size_t read_up_to(RemoteAddr address, std::span<std::byte> destination) const override {
        return memory_.read_up_to(address, destination);
    }

    void read_many(std::span<memory::ReadRequest> requests) const override {
        for (std::size_t i = 0; i < requests.size(); ++i) {
            if (i == requests.size() / 2 && between) between();
            requests[i].done = memory_.read_up_to(requests[i].address, requests[i].destination);
        }
    }

    std::function<void()> between;

  private:
    const FakeMemory& memory_;
};

/// One thread's stack, and each part of a proof of it by itself.
struct ProofParts {
    static constexpr RemoteAddr kCode{0x5000};

    ProofParts(FakeInterpreter& of, std::size_t depth)
        : fake(of),
          format(of.layout),
          thread(of.add_thread(of.add_interpreter(0), 1)),
          base(of.stack(thread, depth, kCode)),
          memory(of.memory()),
          proof(format) {
        plan();
    }

    cpython::FrameChainWalker::Start start() {
        const RemoteRange range = format.thread_at(thread);
        std::vector<std::byte> bytes(range.size());
        fake.memory().read_up_to(range.begin, bytes);
        return cpython::FrameChainWalker(format).start(thread, bytes.data());
    }

    /// Builds the ranges for the stack as it is.
    void plan() {
        innermost_first.clear();
        Source source{fake.memory(), {}};
        cpython::FrameChainWalker(format).walk(
            start(), source, SIZE_MAX,
            [&](const cpython::RawFrame& frame) { innermost_first.push_back(frame); });
        ranges.build(format,
                     {.thread_state = thread,
                      .cframe = start().cframe,
                      .data_stack_limit = start().data_stack_limit,
                      .highest_end = {},
                      .innermost_first = innermost_first},
                     recent);
        last.reset(ranges);
    }

    void read() {
        batch.clear();
        const std::size_t first = cpython::ProofCopies::add_to(batch, ranges, false);
        batch.read(memory);
        copies.use(ranges, last.bytes(), false, batch, first);
    }

    cpython::StackProof::Verdict judge(std::size_t most = SIZE_MAX) {
        return proof.judge({ranges, last, copies}, true, most);
    }

    void accept(const cpython::FoundStack& found) {
        last.accept(format, ranges, start().cframe, found, copies);
    }

    /// Reads, judges and accepts. Whether it was proved.
    bool prove() {
        read();
        const auto verdict = judge();
        if (verdict.is_proved()) accept(verdict.found);
        return verdict.is_proved();
    }

    /// Where a frame's instruction is. Frames are numbered from the outermost, without shims.
    RemoteAddr instruction_at(std::size_t frame) const {
        return fake.frame(base, frame) + *fake.layout.interpreter_frame.instr_ptr;
    }

    FakeInterpreter& fake;
    cpython::FrameFormat format;
    RemoteAddr thread;
    RemoteAddr base;
    TwoMoments memory;
    cpython::RecentRanges recent;
    cpython::StackRanges ranges;
    cpython::ProvedStack last;
    cpython::ProofCopies copies;
    cpython::StackProof proof;
    memory::ReadBatch batch;
    std::vector<cpython::RawFrame> innermost_first;

  private:
    struct Source {
        const std::byte* view(RemoteRange range) {
            buffer.resize(range.size());
            return memory.read_up_to(range.begin, buffer) == range.size() ? buffer.data() : nullptr;
        }
        bool is_torn() const { return false; }

        const FakeMemory& memory;
        std::vector<std::byte> buffer;
    };
};

}  // namespace pystack::testing
