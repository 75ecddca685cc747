#include <algorithm>

#include "capture/capture.h"
#include "capture/reading.h"
#include "capture/snapshot_builder.h"
#include "target/core_target.h"

namespace pystack::capture {

namespace {

using target::CoreTarget;
using target::ModuleStatus;

std::string status_word(ModuleStatus status) {
    switch (status) {
        case ModuleStatus::kFound: return "found";
        case ModuleStatus::kMissing: return "missing";
        case ModuleStatus::kMismatched: break;
    }
    return "mismatched";
}

model::CoreDetails describe(const CoreTarget& core) {
    const target::CoreHeader& header = core.header();
    model::CoreDetails details{.cause = target::describe_cause(header),
                               .terminating_tid = header.terminating_tid,
                               .stack_overflow = header.stack_overflow,
                               .ppid = header.ppid,
                               .pgrp = header.pgrp,
                               .sid = header.sid,
                               .uid = header.uid,
                               .gid = header.gid,
                               .nice = header.nice,
                               .state = header.state,
                               .written_ns = header.written_ns,
                               .arguments_cut = header.arguments_cut,
                               .truncated = core.damage().any(),
                               .missing_bytes = core.damage().missing_bytes};
    if (header.signal) {
        details.signal = header.signal->number;
        details.signal_name = target::signal_name(header.signal->number);
        if (header.signal->code) {
            const auto code = target::signal_code(header.signal->number, *header.signal->code);
            if (code) details.signal_code = std::string(code->name);
        }
        if (header.signal->fault_address) details.fault_address = header.signal->fault_address->value;
        details.sender_pid = header.signal->sender_pid;
        details.sender_uid = header.signal->sender_uid;
    }
    for (const target::ModuleReport& report : core.reports()) {
        details.modules.push_back({.path = report.path,
                                   .range = report.range,
                                   .status = status_word(report.status),
                                   .found_path = report.found_path,
                                   .core_build_id = report.core_build_id,
                                   .file_build_id = report.file_build_id});
    }
    return details;
}

void add_problems(const CoreTarget& core, const std::vector<model::Thread>& threads,
                  std::vector<std::string>& problems) {
    const elf::CoreDamage& damage = core.damage();
    if (damage.any()) {
        problems.push_back("the core is cut short: " + std::to_string(damage.missing_bytes) + " bytes in " +
                           std::to_string(damage.cut_segments + damage.missing_headers) +
                           " segments are missing" +
                           (damage.notes_cut ? ", and threads or file names may be" : ""));
    }
    const bool is_cut = std::any_of(threads.begin(), threads.end(), [](const model::Thread& thread) {
        return thread.stack_end == model::StackEnd::kUnreadable;
    });
    if (!is_cut || damage.any()) return;
    // Newer interpreters have the frames that begin a thread's Python stack on its C stack.
    if (const std::size_t count = core.threads_without_stack().size(); count > 0) {
        problems.push_back("the core has no stack memory of " + std::to_string(count) +
                           " threads: some versions of gdb's gcore leave it out");
    }
}

void read_registers(const CoreTarget& core, Reading& reading) {
    for (const target::ThreadInfo& info : reading.infos) {
        if (const auto registers = core.registers(info.tid)) {
            reading.thread_pointers[info.tid] = registers->thread_pointer();
        }
        if (const auto call = core.blocked_syscall(info.tid)) reading.calls[info.tid] = *call;
    }
}

/// An interpreter that was not found in a core may be a question of missing pages: says which.
Error explain(Error error, const CoreTarget& core) {
    if (error.code != ErrorCode::kNotPython) return error;
    if (core.damage().any()) {
        return Error{.code = ErrorCode::kCoreTruncated,
                     .what = "core truncated",
                     .detail = "no Python interpreter was found in the core, of which " +
                               std::to_string(core.damage().missing_bytes) + " bytes are missing"};
    }
    for (const target::ModuleReport& report : core.reports()) {
        if (report.status == ModuleStatus::kFound ||
            report.path.find("python") == std::string::npos) {
            continue;
        }
        return Error{.code = ErrorCode::kMissingBinary,
                     .what = "missing binary",
                     .detail = "no Python interpreter was found in the core; it needs the file " +
                               report.path + " (build id " + report.core_build_id.value_or("unknown") +
                               "), which is " + status_word(report.status)};
    }
    error.detail = "the core is not of a Python process (" + core.executable().value_or("unknown program") + ")";
    return error;
}

}  // namespace

Result<model::Snapshot> capture_core(const std::string& path, const CoreOptions& options) {
    PYSTACK_TRY(core, CoreTarget::open(path, {.executable = options.executable,
                                              .folders = options.library_folders,
                                              .root = options.library_root}));
    auto runtime = cpython::locate_runtime(*core, {.exhaustive = options.exhaustive});
    if (!runtime) return fail(explain(std::move(runtime).error(), *core));
    Reading reading(*core, *runtime, options.max_depth);
    if (auto infos = core->threads()) reading.infos = std::move(*infos);
    reading.read_still();
    if (reading.walked.interpreters.empty()) {
        return fail(reading.walked.problem.value_or(no_interpreter(*core)));
    }
    read_registers(*core, reading);
    reading.match();
    model::Snapshot snapshot = build_snapshot(reading);
    snapshot.core = describe(*core);
    snapshot.time_ns = core->header().written_ns;
    add_problems(*core, snapshot.threads, snapshot.problems);
    return snapshot;
}

}  // namespace pystack::capture
