#include <algorithm>

#include "cpython/layout/version_guesses.h"
#include "files/file_root.h"
#include "snapshot/capture.h"
#include "snapshot/raw_snapshot.h"
#include "snapshot/snapshot_builder.h"
#include "snapshot/task_circles.h"
#include "snapshot/tasks_capture.h"
#include "snapshot/waits_capture.h"
#include "target/core_target.h"

namespace pystack::snapshot {

namespace {

using target::CoreTarget;
using target::ModuleStatus;

std::string status_word(ModuleStatus status) {
    switch (status) {
        case ModuleStatus::kFound:
            return "found";
        case ModuleStatus::kMissing:
            return "missing";
        case ModuleStatus::kMismatched:
            break;
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
                               .written_by = core.written_by(),
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
        if (header.signal->fault_address)
            details.fault_address = header.signal->fault_address->value;
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
    if (core.is_torn()) {
        problems.push_back(
            "the core was truncated while it was read; the lost part was read as zeros");
    }
    if (damage.any()) {
        problems.push_back(
            "the core is truncated: " + std::to_string(damage.missing_bytes) + " bytes in " +
            std::to_string(damage.cut_segments + damage.missing_headers) + " segments are missing" +
            (damage.notes_cut ? "; threads or file names may be missing as well" : ""));
    }
    const bool is_cut =
        std::any_of(threads.begin(), threads.end(), [](const model::Thread& thread) {
            return thread.stack_end == model::StackEnd::kUnreadable;
        });
    if (!is_cut || damage.any()) return;
    // Newer interpreters have the frames that begin a thread's Python stack on its C stack.
    if (const std::size_t count = core.threads_without_stack().size(); count > 0) {
        problems.push_back("the core has no stack memory for " + std::to_string(count) +
                           " threads; some versions of gdb's gcore leave it out");
    }
}

/// Names a file that is not here, so that it can be looked for.
std::string wanted(const target::ModuleReport& report) {
    const std::string id = report.core_build_id.value_or("");
    return report.path.str() + " (build ID " + (id.empty() ? "unknown" : id) + "), which " +
           (report.status == ModuleStatus::kMissing ? "was not found"
                                                    : "was found only with another build ID");
}

/// The file that holds the interpreter, if it is not here.
const target::ModuleReport* missing_binary(const CoreTarget& core,
                                           const cpython::Runtime& runtime) {
    for (const target::ModuleReport& report : core.reports()) {
        if (report.path == runtime.binary && report.status != ModuleStatus::kFound) return &report;
    }
    return nullptr;
}

/// Without its file an interpreter is found by its table, which is sure, or by its shape, which is
/// a guess: then its threads must be those of the core.
Result<void> check_guess(const CoreTarget& core, const RawSnapshot& raw) {
    const auto* binary = missing_binary(core, raw.runtime);
    const bool matched = std::any_of(raw.threads.begin(), raw.threads.end(),
                                     [](const auto& thread) { return thread.info.has_value(); });
    if (binary == nullptr || matched) return {};
    return fail(
        Error{.code = ErrorCode::kMissingBinary,
              .what = "missing binary",
              .detail = "the interpreter cannot be read without the file " + wanted(*binary)});
}

void tell_missing_binary(const CoreTarget& core, const cpython::Runtime& runtime,
                         model::Snapshot& snapshot) {
    const auto* binary = missing_binary(core, runtime);
    if (binary == nullptr) return;
    std::string lost = "names of built-in types are unknown";
    if (!runtime.is_version_exact) lost += ", and so is the exact version";
    snapshot.problems.push_back("the interpreter is " + wanted(*binary) + ": " + lost);
}

void read_registers(const CoreTarget& core, RawSnapshot& raw) {
    for (const target::ThreadInfo& info : raw.infos) {
        const auto registers = core.registers(info.tid);
        if (registers) raw.thread_pointers[info.tid] = registers->thread_pointer();
        const auto call = core.blocked_syscall(info.tid);
        if (call) raw.calls[info.tid] = *call;
        if (registers && call && call->number == arch::kRestartSyscall)
            raw.restarts[info.tid] = registers->pc();
    }
}

/// Debug files may be beside the core's files, on this machine and in the copy of its root.
merge::NativeOptions native_options(const CoreTarget& core, const CoreOptions& options,
                                    const merge::NativeOptions& wanted) {
    const merge::NativeOptions here =
        wanted.with_debug_root(files::files_below("/", core.file_rights()));
    if (!options.library_root) return here;
    return here.with_debug_root(
        files::files_below(*options.library_root, files::FileRights::of_caller()));
}

void merge_native(const CoreTarget& core, RawSnapshot& raw, NativeCapture& native) {
    for (const target::ThreadInfo& info : raw.infos) {
        if (const auto registers = core.registers(info.tid))
            native.add_thread(info.tid, *registers);
    }
    native.merge(raw, core.header().terminating_tid);
}

/// An interpreter that was not found in a core may be a question of missing pages: says which, and
/// what is known of the process all the same.
Error explain(Error error, const CoreTarget& core) {
    const bool may_be_cut = core.damage().any() && error.code == ErrorCode::kOffsetsRejected;
    if (error.code != ErrorCode::kNotPython && !may_be_cut) return error;
    const std::string cause = " (process " + std::to_string(core.pid()) + "; " +
                              target::describe_cause(core.header()) + ")";
    if (core.damage().any()) {
        return Error{.code = ErrorCode::kCoreTruncated,
                     .what = "core truncated",
                     .detail = "no Python interpreter was found in the truncated core: " +
                               std::to_string(core.damage().missing_bytes) + " bytes are missing" +
                               cause};
    }
    if (!core.has_written_pages()) {
        error.detail =
            "the core has no memory that the process wrote to, only its registers: it was written"
            " with a coredump_filter that leaves private memory out (0x33 is the usual one)" +
            cause;
        return error;
    }
    // A shared library rather than the program that loads it.
    for (const std::string_view name : {"libpython", "python"}) {
        for (const target::ModuleReport& report : core.reports()) {
            if (report.status == ModuleStatus::kFound ||
                report.path.str().find(name) == std::string::npos) {
                continue;
            }
            return Error{.code = ErrorCode::kMissingBinary,
                         .what = "missing binary",
                         .detail = "no Python interpreter was found in the core without the file " +
                                   wanted(report) + cause};
        }
    }
    const std::string program = core.executable().value_or("an unknown program");
    if (cpython::has_interpreter_file(core)) {
        error.detail = "the core of " + program +
                       " has no interpreter: it had not started yet, or had ended before" + cause;
    } else {
        error.detail = "the core is not from a Python process but from " + program + cause;
    }
    for (const std::string& part : core.left_out_parts()) error.detail += "; " + part;
    return error;
}

void finish(const CoreTarget& core, model::Snapshot& snapshot) {
    snapshot.core = describe(core);
    snapshot.time_ns = core.header().written_ns;
    add_problems(core, snapshot.threads, snapshot.problems);
}

/// The threads of a core in which no interpreter was found.
Result<model::Snapshot> capture_without_python(const CoreTarget& core, const CoreOptions& options,
                                               Error reason) {
    // Any other reason says what is needed to see more.
    if (reason.code != ErrorCode::kNotPython || !options.native_without_python)
        return fail(std::move(reason));
    merge::NativeOptions wanted = *options.native_without_python;
    wanted.all_threads = true;
    wanted.last_only = false;
    const cpython::Runtime none;
    RawSnapshot raw(core, none, options.max_depth);
    if (auto infos = core.threads()) raw.infos = std::move(*infos);
    read_registers(core, raw);
    PYSTACK_TRY(native, NativeCapture::create(core, none, native_options(core, options, wanted)));
    merge_native(core, raw, *native);
    model::Snapshot snapshot = build_snapshot_without_python(raw, *native, reason);
    if (options.limits->cancelled()) return fail(cancelled());
    finish(core, snapshot);
    return snapshot;
}

}  // namespace

Result<model::Snapshot> capture_core(const std::string& path, const CoreOptions& options) {
    PYSTACK_TRY(core, CoreTarget::open(path,
                                       {.executable = options.executable,
                                        .folders = options.library_folders,
                                        .root = options.library_root},
                                       options.limits, options.original));
    auto runtime = cpython::locate_runtime(*core, {.exhaustive = options.exhaustive});
    if (options.limits->cancelled()) return fail(cancelled());
    if (!runtime)
        return capture_without_python(*core, options, explain(std::move(runtime).error(), *core));
    RawSnapshot raw(*core, *runtime, options.max_depth);
    if (auto infos = core->threads()) raw.infos = std::move(*infos);
    raw.read_stopped();
    if (options.tasks) TasksCapture(core->memory(), runtime->layout, raw.codes).read(raw);
    if (options.locals) {
        LocalsCapture(core->memory(), runtime->layout, *options.locals).read(raw);
    }
    if (raw.walked.interpreters.empty()) {
        return capture_without_python(*core, options,
                                      raw.walked.problem.value_or(no_interpreter(*core)));
    }
    read_registers(*core, raw);
    raw.match();
    WaitsCapture(core->memory(), runtime->layout, raw.codes).read(raw);
    PYSTACK_CHECK(check_guess(*core, raw));
    std::unique_ptr<NativeCapture> native;
    if (options.native) {
        PYSTACK_TRY(capture, NativeCapture::create(
                                 *core, *runtime, native_options(*core, options, *options.native)));
        native = std::move(capture);
        merge_native(*core, raw, *native);
    }
    model::Snapshot snapshot = build_snapshot(raw, native.get());
    if (options.limits->cancelled()) return fail(cancelled());
    if (snapshot.tasks) snapshot.task_deadlocks = find_task_deadlocks(*snapshot.tasks);
    tell_missing_binary(*core, *runtime, snapshot);
    finish(*core, snapshot);
    return snapshot;
}

}  // namespace pystack::snapshot
