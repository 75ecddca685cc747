#include "sampling/sampler.h"

#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "process/proc_files.h"
#include "support/eventually.h"
#include "support/python_child.h"

using namespace pystack;
using namespace pystack::sampling;
using namespace std::chrono_literals;
using pystack::testing::eventually;
using pystack::testing::PythonChild;

namespace {

/// A thread that sleeps and one that computes.
constexpr const char* kTwoThreads = R"(
def nap():
    arrive(2)
    time.sleep(1000)
def sleeper(): nap()
def leaf(n): return n * n
def busy():
    arrive(2)
    n = 0
    while True: n = leaf(n % 1000 + 1)
threading.Thread(target=sleeper, name='sleeper').start()
busy()
)";

/// All that a recording has handed over, put together as the consumer does.
struct Recorded {
    void add(model::Batch batch) {
        const std::size_t rows = batch.time_ns.size();
        CHECK(batch.weight_ns.size() == rows);
        CHECK(batch.count.size() == rows);
        CHECK(batch.thread.size() == rows);
        CHECK(batch.stack.size() == rows);
        CHECK(batch.state.size() == rows);
        for (auto& [index, thread] : batch.threads) {
            if (threads.size() <= index) threads.resize(index + 1);
            threads[index] = thread;
        }
        strings.insert(strings.end(), batch.strings.begin(), batch.strings.end());
        frames.insert(frames.end(), batch.frames.begin(), batch.frames.end());
        stacks.insert(stacks.end(), batch.stacks.begin(), batch.stacks.end());
        for (std::size_t i = 0; i < rows; ++i) {
            REQUIRE(batch.thread[i] < threads.size());
            REQUIRE(batch.stack[i] < stacks.size());
            samples += batch.count[i];
            begin_ns.try_emplace(batch.thread[i], batch.time_ns[i] - batch.weight_ns[i]);
            end_ns[batch.thread[i]] = batch.time_ns[i];
            weight_ns[batch.thread[i]] += batch.weight_ns[i];
            by_thread[batch.thread[i]].insert(batch.stack[i]);
        }
        model::add_stats(stats, batch.stats);
        finished = batch.finished;
        ++batches;
    }

    /// What there is by now.
    void receive(Sampler& sampler) {
        if (auto batch = sampler.next_batch(0s)) add(*std::move(batch));
    }

    std::vector<std::string> names_of(model::StackId id) const {
        std::vector<std::string> found;
        for (; id != 0; id = stacks[id].parent)
            found.insert(found.begin(), strings.at(frames.at(stacks[id].frame).function));
        return found;
    }

    std::vector<model::SampledThread> threads;
    std::vector<std::string> strings;
    std::vector<model::FrameRow> frames;
    std::vector<model::StackTable::Row> stacks;
    std::map<std::uint32_t, std::uint64_t> weight_ns;
    std::map<std::uint32_t, std::uint64_t> begin_ns;  ///< Of the first weight.
    std::map<std::uint32_t, std::uint64_t> end_ns;
    std::map<std::uint32_t, std::set<model::StackId>> by_thread;
    std::uint64_t samples = 0;
    model::SamplerStats stats;
    bool finished = false;
    int batches = 0;
};

std::unique_ptr<Sampler> open(const PythonChild& child, const SamplerOptions& options) {
    auto sampler = Sampler::open(child.pid, options);
    REQUIRE_MESSAGE(sampler, sampler.error().message());
    return *std::move(sampler);
}

/// Takes what there is until the recording has ended.
void take_rest(Sampler& sampler, Recorded& recorded) {
    const auto end = std::chrono::steady_clock::now() + 30s;
    while (std::chrono::steady_clock::now() < end) {
        auto batch = sampler.next_batch(1s);
        if (batch) recorded.add(*std::move(batch));
        if (recorded.finished) break;
    }
    CHECK(recorded.finished);
    CHECK_FALSE(sampler.next_batch(0s));
}

/// Until as many samples were taken.
void take_samples(Sampler& sampler, Recorded& recorded, std::uint64_t count) {
    REQUIRE(eventually([&] {
        recorded.receive(sampler);
        return recorded.stats.taken > count;
    }));
}

/// Whether the samples of each thread are a whole.
bool is_without_gaps(const model::SamplerStats& stats) {
    return stats.taken == stats.attempted && stats.not_sampled_ns == 0;
}

bool all_counted(const model::SamplerStats& stats) {
    return stats.attempted == stats.taken + stats.torn + stats.failed + stats.vanished;
}

char state_of(pid_t pid) {
    const auto stat = process::read_stat(pid, pid);
    return stat ? stat->state : '-';
}

}  // namespace

TEST_CASE("a recording has every thread's stacks, and counts every attempt") {
    const PythonChild child(kTwoThreads);
    for (const StopPolicy stop : {StopPolicy::kNever, StopPolicy::kAlways}) {
        CAPTURE(stop);
        const auto sampler = open(child, {.rate_hz = 500, .stop = stop});
        CHECK(sampler->end() == Sampler::End::kRunning);
        CHECK_FALSE(sampler->next_batch(0s));
        Recorded recorded;
        sampler->start();
        sampler->start();  // Once.
        const auto begin = std::chrono::steady_clock::now();
        while (recorded.batches < 4 && std::chrono::steady_clock::now() - begin < 20s) {
            if (auto batch = sampler->next_batch(1s)) recorded.add(*std::move(batch));
        }
        CHECK_FALSE(recorded.finished);
        sampler->stop();
        CHECK(sampler->end() == Sampler::End::kStopped);
        CHECK_FALSE(sampler->error());
        take_rest(*sampler, recorded);

        const model::SamplerStats stats = recorded.stats;
        CHECK(all_counted(stats));
        CHECK(stats.taken == recorded.samples);
        CHECK(stats.ticks > 0);
        CHECK(stats.attempted >= stats.ticks);
        CHECK((stats.stop_ns_total > 0) == (stop == StopPolicy::kAlways));
        // Each thread's weights are the time that it was sampled for.
        REQUIRE(recorded.threads.size() == 2);
        for (const auto& [thread, weight] : recorded.weight_ns)
            CHECK(weight <= stats.elapsed_ns + 1'000'000'000);
        std::set<std::string> functions;
        for (const auto& [thread, stacks] : recorded.by_thread) {
            for (const model::StackId stack : stacks) {
                const auto names = recorded.names_of(stack);
                for (const std::string& name : names) functions.insert(name);
                const bool sleeps = recorded.threads[thread].name == "sleeper";
                const auto nap = std::find(names.begin(), names.end(), "nap");
                if (sleeps && !names.empty()) CHECK(nap != names.end());
                if (!sleeps && !names.empty()) CHECK(names.front() == "<module>");
            }
        }
        for (const char* name : {"<module>", "busy", "sleeper", "nap"})
            CHECK(functions.contains(name));
        for (const model::SampledThread& thread : recorded.threads) CHECK(thread.pid == child.pid);
        CHECK(state_of(child.pid) != 't');
    }
}

TEST_CASE("neighbouring equal samples are one row") {
    const PythonChild child("def nap(): time.sleep(1000)\nready()\nnap()\n");
    const auto sampler = open(child, {.rate_hz = 200});
    sampler->start();
    std::optional<model::Batch> batch;
    REQUIRE(eventually([&] {
        // Of the first ones the thread's name may not be known.
        batch = sampler->next_batch(1s);
        return batch && batch->stats.taken >= 20;
    }));
    const auto samples =
        std::accumulate(batch->count.begin(), batch->count.end(), std::uint64_t{0});
    CHECK(samples == batch->stats.taken);
    CHECK(batch->time_ns.size() < samples / 2);
    CHECK(std::is_sorted(batch->time_ns.begin(), batch->time_ns.end()));
}

TEST_CASE("a recording of a process that ends has what was taken until then") {
    PythonChild child(kTwoThreads);
    const auto sampler = open(child, {.rate_hz = 500});
    sampler->start();
    Recorded recorded;
    take_samples(*sampler, recorded, 20);
    child.end();
    REQUIRE(eventually([&] { return sampler->end() != Sampler::End::kRunning; }));
    CHECK(sampler->end() == Sampler::End::kTargetExited);
    REQUIRE(sampler->error());
    CHECK((sampler->error()->code == ErrorCode::kTargetExited ||
           sampler->error()->code == ErrorCode::kNoSuchProcess));
    take_rest(*sampler, recorded);
    CHECK(recorded.samples == recorded.stats.taken);
    CHECK(recorded.samples > 20);
    sampler->stop();
    CHECK(sampler->end() == Sampler::End::kTargetExited);
}

TEST_CASE("stop() ends a recording soon, from whoever calls it, and may be called again") {
    const PythonChild child(kTwoThreads);
    const auto sampler = open(child, {.rate_hz = 0.1});
    sampler->stop();  // Never started.
    sampler->start();
    std::thread consumer([&] {
        // Waits for what does not come before the end.
        while (!sampler->next_batch(10s)) continue;
    });
    const auto begin = std::chrono::steady_clock::now();
    sampler->stop();
    CHECK(std::chrono::steady_clock::now() - begin < 9s);  // The next tick is later.
    consumer.join();
    sampler->stop();
    CHECK(sampler->end() == Sampler::End::kStopped);
    CHECK_FALSE(sampler->next_batch(0s));
}

TEST_CASE("a recording that is cancelled keeps its tables and counts what it gave up") {
    const PythonChild child(kTwoThreads);
    const auto limits = std::make_shared<WorkLimits>();
    const auto sampler = open(child, {.rate_hz = 1000, .limits = limits});
    sampler->start();
    Recorded recorded;
    take_samples(*sampler, recorded, 20);
    limits->cancel();
    REQUIRE(eventually([&] { return sampler->end() != Sampler::End::kRunning; }));
    CHECK(sampler->end() == Sampler::End::kStopped);
    take_rest(*sampler, recorded);
    CHECK(recorded.samples == recorded.stats.taken);
    CHECK(all_counted(recorded.stats));
}

TEST_CASE("a recording may be dropped while it runs") {
    const PythonChild child(kTwoThreads);
    for (const StopPolicy stop : {StopPolicy::kNever, StopPolicy::kAlways}) {
        auto sampler = open(child, {.rate_hz = 1000, .stop = stop});
        sampler->start();
        Recorded recorded;
        take_samples(*sampler, recorded, 10);
        sampler.reset();
        CHECK(eventually([&] {
            const char state = state_of(child.pid);
            return state == 'R' || state == 'S';
        }));
    }
}

TEST_CASE("with a share of a CPU ticks are skipped and counted") {
    const PythonChild child(kTwoThreads);
    const auto sampler = open(child, {.rate_hz = 20'000, .max_cpu_share = 0.02});
    sampler->start();
    Recorded recorded;
    REQUIRE(eventually([&] {
        recorded.receive(*sampler);
        return recorded.stats.elapsed_ns > 700'000'000;
    }));
    sampler->stop();
    const model::SamplerStats& stats = recorded.stats;
    CHECK(stats.throttled > 0);
    CHECK(stats.missed >= stats.throttled);
    // A sample more than it may is what it cannot know before.
    CHECK(static_cast<double>(stats.cpu_ns) < 0.1 * static_cast<double>(stats.elapsed_ns));
}

TEST_CASE("native frames are recorded with the target stopped") {
    const PythonChild child(kTwoThreads);
    const auto sampler = open(child, {.rate_hz = 100, .native = merge::NativeOptions{}});
    sampler->start();
    Recorded recorded;
    take_samples(*sampler, recorded, 20);
    sampler->stop();
    take_rest(*sampler, recorded);
    CHECK(std::any_of(recorded.frames.begin(), recorded.frames.end(),
                      [](const auto& frame) { return frame.kind == model::FrameKind::kNative; }));
    CHECK(recorded.stats.stop_ns_total > 0);
    CHECK(all_counted(recorded.stats));
}

TEST_CASE("new tables begin empty, and no time is between them and the old ones") {
    const PythonChild child(kTwoThreads);
    const auto native = std::optional<merge::NativeOptions>(std::in_place);
    for (const SamplerOptions& options :
         {SamplerOptions{.rate_hz = 500}, SamplerOptions{.rate_hz = 500, .native = native}}) {
        CAPTURE(options.stops());
        const auto sampler = open(child, options);
        sampler->start();
        Recorded before;
        take_samples(*sampler, before, 40);
        sampler->renew_tables();
        REQUIRE(eventually([&] {
            auto batch = sampler->next_batch(0s);
            const bool ends = batch && batch->ends_tables;
            if (batch) before.add(*std::move(batch));
            return ends;
        }));
        CHECK(before.samples == before.stats.taken);
        Recorded after;
        take_samples(*sampler, after, 40);
        sampler->stop();
        take_rest(*sampler, after);
        CHECK(after.samples == after.stats.taken);
        CHECK(all_counted(after.stats));
        CHECK(after.strings.front().empty());
        REQUIRE(after.threads.size() == 2);
        for (const auto& [thread, stacks] : after.by_thread) {
            const bool sleeps = after.threads[thread].name == "sleeper";
            for (const model::StackId stack : stacks) {
                const auto names = after.names_of(stack);
                if (std::find(names.begin(), names.end(), "nap") != names.end()) CHECK(sleeps);
                if (std::find(names.begin(), names.end(), "busy") != names.end())
                    CHECK_FALSE(sleeps);
            }
        }
        const auto tid_of = [](const Recorded& recorded, std::uint32_t thread) {
            return recorded.threads[thread].tid;
        };
        for (const auto& [thread, begin_ns] : after.begin_ns) {
            const auto same = std::ranges::find_if(before.end_ns, [&](const auto& one) {
                return tid_of(before, one.first) == tid_of(after, thread);
            });
            REQUIRE(same != before.end_ns.end());
            CHECK(begin_ns >= same->second);
            // Gaps are counted, as everywhere: lost samples, and ticks that came late.
            if (is_without_gaps(before.stats) && is_without_gaps(after.stats))
                CHECK(begin_ns == same->second);
        }
    }
}

TEST_CASE("new tables do not wait for the next sample, and need none") {
    const PythonChild child(kTwoThreads);
    const auto sampler = open(child, {.rate_hz = 0.001});
    sampler->start();
    for (int times = 0; times < 3; ++times) {
        sampler->renew_tables();
        REQUIRE(eventually([&] {
            const auto batch = sampler->next_batch(0s);
            return batch && batch->ends_tables;
        }));
    }
    sampler->stop();
    Recorded recorded;
    take_rest(*sampler, recorded);
}

TEST_CASE("rates and shares that make no sense are refused") {
    for (const double rate : {0.0, -1.0, 1e7, std::numeric_limits<double>::quiet_NaN()}) {
        const auto sampler = Sampler::open(1, {.rate_hz = rate});
        REQUIRE_FALSE(sampler);
        CHECK(sampler.error().code == ErrorCode::kInvalidArgument);
    }
    for (const double share : {0.0, -1.0, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
        const auto sampler = Sampler::open(1, {.max_cpu_share = share});
        REQUIRE_FALSE(sampler);
        CHECK(sampler.error().code == ErrorCode::kInvalidArgument);
    }
    const auto none = Sampler::open(1 << 23, {});
    REQUIRE_FALSE(none);
    CHECK(none.error().code == ErrorCode::kNoSuchProcess);
}
