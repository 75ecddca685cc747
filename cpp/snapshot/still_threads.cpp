#include "snapshot/still_threads.h"

#include <string>

#include "process/proc_files.h"

namespace pystack::snapshot {

StillThreads::StillThreads(const target::LiveTarget& target, RawSnapshot& raw) : target_(target) {
    std::vector<cpython::RawFrame> frames;
    for (RawThread& thread : raw.threads) {
        ThreadMoment moment = now(raw, thread);
        // Since its stack was proved, it may have gone on.
        raw.stacks.read_stopped(thread.state.address, frames, thread.frames.size() + 1);
        if (frames != thread.frames) moment.call.reset();
        thread.call = moment.call;
        if (moment.call && moment.call->number == arch::kRestartSyscall)
            find_restart(raw, raw.infos[*thread.info].tid);
        before_.push_back(moment);
    }
}

/// Where it has called; if it has gone on meanwhile, that is not believed.
void StillThreads::find_restart(RawSnapshot& raw, std::int32_t tid) const {
    const auto text = process::read_task_file(target_.pid(), tid, "syscall");
    const auto place = text ? process::parse_blocked_at(*text) : std::nullopt;
    if (place) raw.restarts[tid] = place->pc;
}

ThreadMoment StillThreads::now(const RawSnapshot& raw, const RawThread& thread) const {
    if (!thread.info) return {};
    return ThreadMoment::now(target_, raw.infos[*thread.info].tid);
}

void StillThreads::check(RawSnapshot& raw) {
    std::vector<bool> still;
    for (std::size_t i = 0; i < raw.threads.size(); ++i) {
        const ThreadMoment& before = before_[i];
        still.push_back(before.call && before.run_ns && now(raw, raw.threads[i]) == before);
    }
    const auto has_moved = [&](std::uint64_t ident) {
        for (std::size_t i = 0; i < raw.threads.size(); ++i) {
            if (raw.threads[i].state.python_thread_id == ident && !still[i]) return true;
        }
        return false;
    };
    const auto stands_still = [&](std::int32_t tid) {
        bool is_known = false;
        for (std::size_t i = 0; i < raw.threads.size(); ++i) {
            if (!raw.threads[i].info || raw.infos[*raw.threads[i].info].tid != tid) continue;
            if (!still[i]) return false;
            is_known = true;
        }
        return is_known;
    };
    for (std::size_t i = 0; i < raw.threads.size(); ++i) {
        auto& wait = raw.threads[i].wait;
        if (!still[i]) wait.reset();
        if (!wait) continue;
        std::erase_if(wait->with_blocks,
                      [&](const BlockPlace& place) { return !still[place.thread]; });
        if (wait->holder_tid && !stands_still(*wait->holder_tid)) wait->holder_tid.reset();
        // A thread that is waited for is the same, whatever it does.
        const bool can_change = wait->proof == model::HolderProof::kOwner;
        if (wait->holder_ident && can_change && has_moved(*wait->holder_ident))
            wait->holder_ident.reset();
    }
}

}  // namespace pystack::snapshot
