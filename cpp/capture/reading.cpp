#include "capture/reading.h"

#include "capture/thread_matching.h"
#include "cpython/thread_names.h"

namespace pystack::capture {

void Reading::read_still() {
    const memory::MemoryReader& memory = target.memory();
    walked = cpython::walk_interpreters(memory, runtime);
    std::vector<cpython::RawFrame> all_frames;
    for (const cpython::ThreadState& state : walked.threads) {
        ThreadReading& reading = threads.emplace_back();
        reading.state = state;
        reading.outcome = stacks.read_still(state.address, reading.frames);
        reading.exceptions = cpython::read_exceptions(memory, runtime.layout, state.address);
        all_frames.insert(all_frames.end(), reading.frames.begin(), reading.frames.end());
    }
    // What was known from before the target stood still may have changed.
    codes.verify(all_frames);
    codes.load(all_frames);
    read_gils();
    read_names();
}

void Reading::clear() {
    walked = {};
    threads.clear();
    gils.clear();
    names.clear();
    natives.clear();
    thread_pointers.clear();
    calls.clear();
}

void Reading::read_gils() {
    for (const cpython::InterpreterState& interpreter : walked.interpreters) {
        gils.push_back(cpython::read_gil(target.memory(), runtime, interpreter.address));
    }
}

void Reading::read_names() {
    for (const cpython::InterpreterState& interpreter : walked.interpreters) {
        names.push_back(
            cpython::read_thread_names(target.memory(), runtime.layout, interpreter.address)
                .value_or(ThreadNames{}));
    }
}

void Reading::match() {
    const auto matches = match_threads(walked.threads, infos, thread_pointers, target.memory());
    for (std::size_t i = 0; i < threads.size(); ++i) {
        threads[i].info = matches[i];
        if (!matches[i]) continue;
        const auto call = calls.find(infos[*matches[i]].tid);
        if (call != calls.end()) threads[i].call = call->second;
    }
}

}  // namespace pystack::capture
