#include "sampling/wait_reasons.h"

#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sampling/sampler.h"
#include "support/eventually.h"
#include "support/python_child.h"

using namespace pystack;
using namespace pystack::sampling;
using namespace std::chrono_literals;
using model::WaitKind;
using pystack::testing::eventually;
using pystack::testing::PythonChild;

namespace {

/// Threads whose names say what they wait for; `hold` is what the holder of the locks does.
std::string program(const std::string& hold) {
    return R"(
import socket
lock, recursive, held = threading.Lock(), threading.RLock(), threading.Event()
class Account:
    def __init__(self, lock): self.lock = lock
def spin():
    while True: pass
def sleep(): time.sleep(1000)
def holder():
    with lock, recursive:
        held.set()
        arrive(6)
        )" +
           hold +
           R"(()
def sleeper():
    arrive(6)
    sleep()
server = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(server.getsockname())
accepted = server.accept()
def receiver():
    arrive(6)
    client.recv(1)
def lock_waiter():
    arrive(6)
    lock.acquire()
def rlock_waiter():
    account = Account(recursive)
    arrive(6)
    account.lock.acquire()
def start(function, name): threading.Thread(target=function, name=name, daemon=True).start()
start(holder, 'holder')
held.wait()
start(sleeper, 'sleeper')
start(receiver, '%s:%d' % server.getsockname())
start(lock_waiter, 'lock_waiter')
start(rlock_waiter, 'rlock_waiter')
arrive(6)
sleep()
)";
}

struct Reason {
    WaitKind kind;
    std::string type;
    std::string name;
    std::string holder;

    auto operator<=>(const Reason&) const = default;
};

/// What samples said of each thread.
class Reasons {
  public:
    void add(const model::Batch& batch) {
        for (const auto& [index, thread] : batch.threads) threads_[index] = thread.name;
        strings_.insert(strings_.end(), batch.strings.begin(), batch.strings.end());
        rows_.insert(rows_.end(), batch.waits.begin(), batch.waits.end());
        REQUIRE(batch.wait.size() == batch.thread.size());
        for (std::size_t i = 0; i < batch.wait.size(); ++i) {
            REQUIRE(batch.wait[i] < rows_.size());
            if (batch.wait[i] != 0) seen_[batch.thread[i]].insert(batch.wait[i]);
        }
    }

    std::set<Reason> of(const std::string& name) const {
        std::set<Reason> found;
        for (const auto& [index, thread] : threads_) {
            if (thread != name || !seen_.contains(index)) continue;
            for (const model::WaitId id : seen_.at(index)) {
                const model::WaitRow& row = rows_[id];
                found.insert({row.kind, strings_[row.type], strings_[row.name],
                              row.holder == 0 ? "" : threads_.at(row.holder - 1)});
            }
        }
        return found;
    }

    bool has(const std::string& name, const Reason& reason) const {
        return of(name).contains(reason);
    }
    /// The thread whose name is the address that it is connected to.
    std::string receiver() const {
        for (const auto& [index, thread] : threads_) {
            if (thread.starts_with("127.")) return thread;
        }
        return {};
    }

  private:
    std::map<std::uint32_t, std::string> threads_;
    std::vector<std::string> strings_;
    std::vector<model::WaitRow> rows_;
    std::map<std::uint32_t, std::set<model::WaitId>> seen_;
};

const Reason kLock{WaitKind::kLock, "_thread.lock", "lock", "holder"};
const Reason kRLock{WaitKind::kLock, "_thread.RLock", "Account.lock", "holder"};

void check_reasons(const std::string& hold, StopPolicy stop) {
    CAPTURE(hold);
    CAPTURE(stop);
    const PythonChild child(program(hold));
    auto opened = Sampler::open(child.pid, {.rate_hz = 200, .stop = stop});
    REQUIRE_MESSAGE(opened, opened.error().message());
    const auto sampler = *std::move(opened);
    sampler->start();
    Reasons reasons;
    const bool all_seen = eventually([&] {
        if (const auto batch = sampler->next_batch(0s)) reasons.add(*batch);
        const std::string receiver = reasons.receiver();
        return reasons.has("sleeper", {WaitKind::kTimer, "", "", ""}) &&
               reasons.has(receiver, {WaitKind::kSocket, "", receiver, ""}) &&
               reasons.has("lock_waiter", kLock) && reasons.has("rlock_waiter", kRLock);
    });
    sampler->stop();
    while (const auto batch = sampler->next_batch(0s)) reasons.add(*batch);
    CHECK(all_seen);
    // Nothing else was said, though less may be known at first.
    CHECK(reasons.of("sleeper") == std::set<Reason>{{WaitKind::kTimer, "", "", ""}});
    for (const Reason& one : reasons.of(reasons.receiver())) CHECK(one.kind == WaitKind::kSocket);
    for (Reason one : reasons.of("lock_waiter")) {
        one.holder = "holder";
        CHECK(one == kLock);
    }
    for (Reason one : reasons.of("rlock_waiter")) {
        one.holder = "holder";
        CHECK(one == kRLock);
    }
    if (hold == "spin") {
        CHECK(reasons.of("holder").empty());
    }
}

}  // namespace

TEST_CASE("samples say what threads wait for, and who holds it") {
    check_reasons("sleep", StopPolicy::kNever);
    check_reasons("sleep", StopPolicy::kAlways);
}

TEST_CASE("a thread that runs is known to hold a lock") {
    check_reasons("spin", StopPolicy::kNever);
}

TEST_CASE("the holder is the one at the time of the sample") {
    // The lock goes from hand to hand while the waiter does not move. Signals say when.
    const PythonChild child(R"(
import signal
lock = threading.RLock()
go, held = threading.Event(), threading.Event()
def first():
    with lock:
        held.set()
        go.wait()
def second():
    with lock: time.sleep(1000)
def waiter(): lock.acquire()
def start(function):
    threading.Thread(target=function, name=function.__name__, daemon=True).start()
signal.signal(signal.SIGUSR1, lambda *_: start(waiter))
signal.signal(signal.SIGUSR2, lambda *_: go.set())
start(first)
held.wait()
start(second)
ready()
time.sleep(1000)
)");
    auto opened = Sampler::open(child.pid, {.rate_hz = 200});
    REQUIRE_MESSAGE(opened, opened.error().message());
    const auto sampler = *std::move(opened);
    sampler->start();
    Reasons reasons;
    const auto sees = [&](const char* waiter, const char* holder) {
        return eventually([&] {
            if (const auto batch = sampler->next_batch(0s)) reasons.add(*batch);
            return reasons.has(waiter, {WaitKind::kLock, "_thread.RLock", "lock", holder});
        });
    };
    // The kernel wakes who waited first.
    CHECK(sees("second", "first"));
    ::kill(child.pid, SIGUSR1);
    CHECK(sees("waiter", "first"));
    ::kill(child.pid, SIGUSR2);
    CHECK(sees("waiter", "second"));
    sampler->stop();
}
