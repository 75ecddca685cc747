#include "sampling/proved_tasks.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "cpython/tasks/task_lists.h"

namespace pystack::sampling {

namespace {

using cpython::RawFrame;
using cpython::RawTask;

constexpr std::uint64_t kFirstFindPauseNs = 20'000'000;
constexpr std::uint64_t kLongestFindPauseNs = 2'000'000'000;
/// Of one reading: ten thousand tasks take a tenth of it.
constexpr std::uint64_t kMostBytes = 64ULL << 20;
constexpr std::uint64_t kMostSteps = 20'000'000;
/// As in a dump.
constexpr std::size_t kMostCopiedPages = 8192;
/// Pages that are not wanted any more are copied until then.
constexpr int kReadingsOfCopies = 64;

bool is_same(const RawTask& one, const RawTask& other) {
    const auto is_same_frame = [](const auto& left, const auto& right) {
        return left.frame == right.frame;
    };
    return one.loop == other.loop && one.waited_for == other.waited_for && one.name == other.name &&
           one.state == other.state && one.chain.state == other.chain.state &&
           one.chain.end == other.chain.end && one.chain.awaited == other.chain.awaited &&
           std::ranges::equal(one.chain.frames, other.chain.frames, is_same_frame);
}

}  // namespace

ProvedTasks::ProvedTasks(const ProgramReaders& program)
    : program_(program), limits_(kMostBytes, kMostSteps) {}

void ProvedTasks::begin_program() {
    has_asyncio_ = has_trio_ = false;
    offsets_.reset();
    find_at_ns_ = 0;
    find_pause_ns_ = kFirstFindPauseNs;
    first_.emplace(program_.target().memory());
    second_.emplace(program_.target().memory());
    readings_ = 0;
}

bool ProvedTasks::find_libraries(std::uint64_t now_ns) {
    const bool has_both = has_asyncio_ && has_trio_;
    if (has_both || now_ns < find_at_ns_ || !find_pace_.is_due()) return has_asyncio_ || has_trio_;
    const auto begin = Pace::Clock::now();
    find_at_ns_ = now_ns + find_pause_ns_;
    find_pause_ns_ = std::min(find_pause_ns_ * 2, kLongestFindPauseNs);
    const memory::PageCache pages(program_.target().memory());
    const cpython::Layout& layout = program_.runtime().layout;
    const auto is_in_any = [&](auto is_imported) {
        return std::ranges::any_of(program_.interpreters().interpreters(),
                                   [&](const auto& interpreter) {
                                       return is_imported(pages, layout, interpreter.address);
                                   });
    };
    if (!has_asyncio_ && is_in_any(cpython::has_asyncio)) {
        if (layout.llist_node.next)
            offsets_ = cpython::find_asyncio(program_.target(), program_.runtime());
        // Until it publishes them, its C module is not there yet.
        has_asyncio_ = offsets_ || !layout.llist_node.next;
    }
    has_trio_ = has_trio_ || is_in_any(cpython::has_trio);
    find_pace_.worked_since(begin);
    return has_asyncio_ || has_trio_;
}

void ProvedTasks::copy_pages(Copy& copy) const {
    copy.pages.freeze(false);
    copy.pages.copy_again(kMostCopiedPages);
}

/// Reads the tasks from the copy, which takes from the target what it lacks unless it is frozen.
void ProvedTasks::follow(Copy& copy) {
    const cpython::Layout& layout = program_.runtime().layout;
    const auto& walked = program_.interpreters().walked();
    copy.asyncio_tasks = {};
    copy.trio_tasks = {};
    if (has_asyncio_) {
        copy.asyncio.emplace(copy.pages, layout, limits_, offsets_);
        copy.asyncio_tasks = copy.asyncio->read(walked);
    }
    if (has_trio_) {
        copy.trio.emplace(copy.pages, layout, limits_);
        copy.trio_tasks = copy.trio->read(walked);
    }
}

/// Both copies lie close together in time, for that the pages must be known. False: they were not.
bool ProvedTasks::read_copies() {
    copy_pages(*first_);
    copy_pages(*second_);
    bool is_whole = first_->pages.pages() > 0;
    for (Copy* copy : {&*first_, &*second_}) {
        copy->pages.freeze(true);
        if (is_whole) follow(*copy);
        is_whole = is_whole && copy->pages.misses() == 0;
        copy->pages.freeze(false);
    }
    return is_whole;
}

void ProvedTasks::read_twice() {
    limits_.renew_steps(kMostSteps);
    limits_.return_all_bytes();
    if (read_copies()) return;
    for (Copy* copy : {&*first_, &*second_}) {
        copy_pages(*copy);
        follow(*copy);
    }
}

ProvedTasks::Reading ProvedTasks::read() {
    if (++readings_ > kReadingsOfCopies) {
        first_->pages.clear();
        second_->pages.clear();
        readings_ = 0;
    }
    read_twice();
    // A code object that was known before the tasks were read is theirs if it is the same
    // afterwards.
    if (load_codes()) {
        read_twice();
        load_codes();
    }
    Reading reading;
    compare(reading);
    reading.loops = std::move(first_->asyncio_tasks.loops);
    std::ranges::move(first_->trio_tasks.loops, std::back_inserter(reading.loops));
    return reading;
}

/// Forgets code objects that have changed and reads those that are not known. True: there were
/// some, and they are those of a later moment than the tasks.
bool ProvedTasks::load_codes() {
    std::vector<RawFrame> frames;
    std::unordered_set<RemoteAddr> seen;
    for (const cpython::RawTasks* tasks : {&first_->asyncio_tasks, &first_->trio_tasks}) {
        for (const RawTask& task : tasks->tasks) {
            for (const cpython::AwaitingFrame& frame : task.chain.frames) {
                if (seen.insert(frame.frame.code).second) frames.push_back(frame.frame);
            }
        }
    }
    program_.codes().verify(frames);
    new_codes_.clear();
    for (const RawFrame& frame : frames) {
        if (program_.codes().find(frame.code) == nullptr) new_codes_.insert(frame.code);
    }
    program_.codes().load(frames);
    return !new_codes_.empty();
}

void ProvedTasks::compare(Reading& reading) {
    const auto is_known = [&](const cpython::AwaitingFrame& frame) {
        return !new_codes_.contains(frame.frame.code);
    };
    const auto keep = [&](cpython::RawTasks& first, const cpython::RawTasks& second) {
        std::unordered_map<RemoteAddr, const RawTask*> again;
        for (const RawTask& task : second.tasks) again.emplace(task.address, &task);
        std::erase_if(first.tasks, [&](const RawTask& task) {
            const auto other = again.find(task.address);
            if (other != again.end() && is_same(task, *other->second) &&
                std::ranges::all_of(task.chain.frames, is_known)) {
                return false;
            }
            reading.moved.push_back(task.address);
            return true;
        });
    };
    keep(first_->asyncio_tasks, second_->asyncio_tasks);
    keep(first_->trio_tasks, second_->trio_tasks);
    if (first_->asyncio) first_->asyncio->find_waits(first_->asyncio_tasks.tasks, program_.codes());
    if (first_->trio) first_->trio->explain(first_->trio_tasks, program_.codes());
    reading.proved = std::move(first_->asyncio_tasks.tasks);
    std::ranges::move(first_->trio_tasks.tasks, std::back_inserter(reading.proved));
}

}  // namespace pystack::sampling
