#include "bindings/snapshot_bindings.h"

#include "bindings/frame_bindings.h"
#include "bindings/optional_values.h"
#include "bindings/task_bindings.h"
#include "bindings/text.h"

namespace nb = nanobind;

namespace pystack::bindings {

namespace {

const char* gil_word(model::GilState state) {
    switch (state) {
        case model::GilState::kHolds:
            return "holds";
        case model::GilState::kWaits:
            return "waits";
        case model::GilState::kDropping:
            return "dropping";
        case model::GilState::kNone:
            return "none";
        case model::GilState::kUnknown:
            break;
    }
    return nullptr;
}

const char* end_word(model::StackEnd end) {
    switch (end) {
        case model::StackEnd::kComplete:
            return "complete";
        case model::StackEnd::kTorn:
            return "torn";
        case model::StackEnd::kUnreadable:
            return "unreadable";
        case model::StackEnd::kDepthLimit:
            return "depth_limit";
        case model::StackEnd::kNoPython:
            break;
    }
    return "no_python";
}

const char* proof_word(model::HolderProof proof) {
    switch (proof) {
        case model::HolderProof::kOwner:
            return "owner";
        case model::HolderProof::kWithBlock:
            return "with_block";
        case model::HolderProof::kWorker:
            return "worker";
        case model::HolderProof::kPool:
            return "pool";
        case model::HolderProof::kLoop:
            return "event_loop";
        case model::HolderProof::kThread:
            break;
    }
    return "thread";
}

nb::dict to_dict(const model::Holder& holder) {
    nb::dict item;
    item["tid"] = optional_number(holder.tid);
    item["python_thread_id"] = optional_number(holder.python_thread_id);
    item["proof"] = proof_word(holder.proof);
    item["file"] = holder.file.empty() ? nb::none() : to_str(holder.file);
    item["line"] = optional_number(holder.line);
    item["task"] = optional_number(holder.task);
    return item;
}

nb::dict to_dict(const model::ProcessName& process) {
    nb::dict item;
    item["pid"] = process.pid;
    item["command"] = process.command.empty() ? nb::none() : to_os_str(process.command);
    return item;
}

nb::dict to_dict(const model::PeerWait& peer) {
    nb::dict item = to_dict(peer.process);
    item["kind"] = model::wait_word(peer.kind);
    nb::list enders;
    for (const std::int32_t pid : peer.enders) enders.append(pid);
    item["enders"] = enders;
    return item;
}

nb::list to_list(const std::vector<model::ProcessName>& processes) {
    nb::list items;
    for (const model::ProcessName& process : processes) items.append(to_dict(process));
    return items;
}

nb::dict to_dict(const model::Wait& wait) {
    nb::dict item;
    item["kind"] = model::wait_word(wait.kind);
    item["call"] = str_or_none(wait.call);
    item["address"] = optional_number(wait.address);
    item["type"] = str_or_none(wait.type);
    item["name"] = str_or_none(wait.name);
    item["is_timed"] = wait.is_timed;
    item["left_ns"] = optional_number(wait.left_ns);
    item["timeout_ns"] = optional_number(wait.timeout_ns);
    item["fd"] = optional_number(wait.fd);
    item["file_count"] = optional_number(wait.count);
    item["target"] = wait.target.empty() ? nb::none() : to_os_str(wait.target);
    item["pid"] = optional_number(wait.pid);
    item["command"] = wait.command.empty() ? nb::none() : to_os_str(wait.command);
    item["kernel_function"] = str_or_none(wait.kernel_function);
    nb::list functions;
    for (const std::string& function : wait.kernel_stack) functions.append(to_os_str(function));
    item["kernel_stack"] = functions;
    item["other_ends"] = to_list(wait.other_ends);
    item["pool_processes"] = to_list(wait.pool_processes);
    item["peer_wait"] = wait.peer_wait ? nb::object(nb::str(model::wait_word(*wait.peer_wait)))
                                       : nb::object(nb::none());
    nb::list circle;
    for (const model::PeerWait& peer : wait.process_circle) circle.append(to_dict(peer));
    item["process_circle"] = circle;
    nb::list holders;
    for (const model::Holder& holder : wait.holders) holders.append(to_dict(holder));
    item["holders"] = holders;
    return item;
}

nb::dict to_dict(const model::Thread& thread, FrameMaker& maker) {
    nb::dict item;
    item["tid"] = optional_number(thread.tid);
    item["namespace_tid"] = optional_number(thread.namespace_tid);
    item["python_thread_id"] = optional_number(thread.python_thread_id);
    item["interpreter_id"] = optional_number(thread.interpreter_id);
    item["name"] = optional_str(thread.name);
    item["kernel_name"] = optional_str(thread.kernel_name);
    item["is_main"] = optional_bool(thread.is_main);
    item["run_state"] = optional_letter(thread.run_state);
    const char* gil = gil_word(thread.gil);
    item["gil"] = gil != nullptr ? nb::object(nb::str(gil)) : nb::none();
    item["waits_for"] = thread.waits_for ? nb::object(to_dict(*thread.waits_for)) : nb::none();
    item["gc_collecting"] = optional_bool(thread.gc_collecting);
    item["raising"] = optional_str(thread.raising);
    item["handling"] = optional_str(thread.handling);
    item["stack_end"] = end_word(thread.stack_end);
    item["stack_problem"] =
        thread.stack_problem.empty() ? nb::none() : to_str(thread.stack_problem);
    nb::list frames;
    for (const model::Frame& frame : thread.frames) frames.append(maker.make(frame));
    item["frames"] = frames;
    item["event_loop"] =
        thread.event_loop ? nb::object(event_loop_dict(*thread.event_loop)) : nb::none();
    return item;
}

nb::dict to_dict(const model::CoreModule& module) {
    nb::dict item;
    item["path"] = to_os_str(module.path);
    item["begin"] = module.range.begin.value;
    item["end"] = module.range.end.value;
    item["status"] = nb::str(module.status.c_str());
    item["found_path"] = module.found_path ? to_os_str(*module.found_path) : nb::none();
    item["core_build_id"] = optional_str(module.core_build_id);
    item["file_build_id"] = optional_str(module.file_build_id);
    return item;
}

nb::dict to_dict(const model::CoreDetails& core) {
    nb::dict item;
    item["cause"] = to_str(core.cause);
    item["signal"] = optional_number(core.signal);
    item["signal_name"] = optional_str(core.signal_name);
    item["signal_code"] = optional_str(core.signal_code);
    item["fault_address"] = optional_number(core.fault_address);
    item["sender_pid"] = optional_number(core.sender_pid);
    item["sender_uid"] = optional_number(core.sender_uid);
    item["terminating_tid"] = optional_number(core.terminating_tid);
    item["stack_overflow"] = core.stack_overflow;
    item["ppid"] = optional_number(core.ppid);
    item["pgrp"] = optional_number(core.pgrp);
    item["sid"] = optional_number(core.sid);
    item["uid"] = optional_number(core.uid);
    item["gid"] = optional_number(core.gid);
    item["nice"] = optional_number(core.nice);
    item["state"] = optional_letter(core.state);
    item["written_ns"] = core.written_ns;
    item["written_by"] = optional_number(core.written_by);
    item["arguments_cut"] = core.arguments_cut;
    item["truncated"] = core.truncated;
    item["missing_bytes"] = core.missing_bytes;
    nb::list modules;
    for (const model::CoreModule& module : core.modules) modules.append(to_dict(module));
    item["modules"] = modules;
    return item;
}

/// Lists of numbers.
template <class Number>
nb::list circles_list(const std::vector<std::vector<Number>>& circles) {
    nb::list items;
    for (const std::vector<Number>& circle : circles) {
        nb::list numbers;
        for (const Number number : circle) numbers.append(number);
        items.append(numbers);
    }
    return items;
}

}  // namespace

nb::dict to_dict(const model::Snapshot& snapshot) {
    nb::dict item;
    item["pid"] = snapshot.pid;
    item["namespace_pid"] = optional_number(snapshot.namespace_pid);
    item["executable"] = snapshot.executable ? to_os_str(*snapshot.executable) : nb::none();
    item["command"] = nb::none();
    if (snapshot.command) {
        nb::list command;
        for (const std::string& argument : *snapshot.command) command.append(to_os_str(argument));
        item["command"] = command;
    }
    item["version"] = nb::str(snapshot.version.c_str());
    item["free_threaded"] = snapshot.free_threaded;
    item["debug"] = snapshot.debug;
    item["time_ns"] = snapshot.time_ns;
    item["stopped"] = snapshot.stopped;
    item["stop_ns"] = optional_number(snapshot.stop_ns);
    item["was_stopped"] = snapshot.was_stopped;
    item["attempts"] = snapshot.attempts;
    nb::list interpreters;
    for (const model::Interpreter& interpreter : snapshot.interpreters) {
        nb::dict row;
        row["id"] = interpreter.id;
        row["gc_collecting"] = optional_bool(interpreter.gc_collecting);
        row["finalizing"] = optional_bool(interpreter.finalizing);
        interpreters.append(row);
    }
    item["interpreters"] = interpreters;
    nb::list threads;
    FrameMaker maker;
    for (const model::Thread& thread : snapshot.threads) threads.append(to_dict(thread, maker));
    item["threads"] = threads;
    item["deadlocks"] = circles_list(snapshot.deadlocks);
    item["task_deadlocks"] = circles_list(snapshot.task_deadlocks);
    item["tasks"] = nb::none();
    if (snapshot.tasks) {
        TaskMaker task_maker(maker);
        nb::list tasks;
        for (const model::Task& task : *snapshot.tasks) tasks.append(task_maker.make(task));
        item["tasks"] = tasks;
    }
    nb::list problems;
    for (const std::string& problem : snapshot.problems) problems.append(to_os_str(problem));
    item["problems"] = problems;
    item["core"] = snapshot.core ? nb::object(to_dict(*snapshot.core)) : nb::none();
    return item;
}

}  // namespace pystack::bindings
