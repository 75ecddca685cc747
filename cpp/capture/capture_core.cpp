#include <algorithm>
#include <array>

#include "capture/capture.h"
#include "capture/reading.h"
#include "capture/snapshot_builder.h"
#include "cpython/debug_offsets.h"
#include "target/core_target.h"

namespace pystack::capture {

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
    if (damage.any()) {
        problems.push_back(
            "the core is cut short: " + std::to_string(damage.missing_bytes) + " bytes in " +
            std::to_string(damage.cut_segments + damage.missing_headers) + " segments are missing" +
            (damage.notes_cut ? ", and threads or file names may be" : ""));
    }
    const bool is_cut =
        std::any_of(threads.begin(), threads.end(), [](const model::Thread& thread) {
            return thread.stack_end == model::StackEnd::kUnreadable;
        });
    if (!is_cut || damage.any()) return;
    // Newer interpreters have the frames that begin a thread's Python stack on its C stack.
    if (const std::size_t count = core.threads_without_stack().size(); count > 0) {
        problems.push_back("the core has no stack memory of " + std::to_string(count) +
                           " threads: some versions of gdb's gcore leave it out");
    }
}

/// Names a file that is not here, so that it can be looked for.
std::string wanted(const target::ModuleReport& report) {
    const std::string id = report.core_build_id.value_or("");
    return report.path + " (build id " + (id.empty() ? "unknown" : id) + "), which is " +
           (report.status == ModuleStatus::kMissing ? "not here" : "here only in another build");
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
Result<void> check_guess(const CoreTarget& core, const Reading& reading) {
    const auto* binary = missing_binary(core, reading.runtime);
    const bool matched = std::any_of(reading.threads.begin(), reading.threads.end(),
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
    std::array<std::byte, cpython::kDebugOffsetsMaxSize> table;
    const std::size_t size = core.memory().read_up_to(runtime.address, table);
    if (!cpython::parse_debug_offsets_header(std::span(table).first(size))) {
        snapshot.version =
            std::to_string(runtime.version.major) + "." + std::to_string(runtime.version.minor);
        lost += ", and so is the exact version";
    }
    snapshot.problems.push_back("the interpreter is " + wanted(*binary) + ": " + lost);
}

void read_registers(const CoreTarget& core, Reading& reading) {
    for (const target::ThreadInfo& info : reading.infos) {
        if (const auto registers = core.registers(info.tid)) {
            reading.thread_pointers[info.tid] = registers->thread_pointer();
        }
        if (const auto call = core.blocked_syscall(info.tid)) reading.calls[info.tid] = *call;
    }
}

NativeOptions native_options(const CoreOptions& options) {
    if (!options.library_root) return *options.native;
    return options.native->with_debug_root(*options.library_root);
}

void merge_native(const CoreTarget& core, Reading& reading, NativeCapture& native) {
    for (const target::ThreadInfo& info : reading.infos) {
        if (const auto registers = core.registers(info.tid))
            native.add_thread(info.tid, *registers);
    }
    native.merge(reading);
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
                     .detail = "no Python interpreter was found in the core, of which " +
                               std::to_string(core.damage().missing_bytes) + " bytes are missing" +
                               cause};
    }
    // A shared library rather than the program that loads it.
    for (const std::string_view name : {"libpython", "python"}) {
        for (const target::ModuleReport& report : core.reports()) {
            if (report.status == ModuleStatus::kFound ||
                report.path.find(name) == std::string::npos) {
                continue;
            }
            return Error{.code = ErrorCode::kMissingBinary,
                         .what = "missing binary",
                         .detail = "no Python interpreter was found in the core without the file " +
                                   wanted(report) + cause};
        }
    }
    error.detail = "the core is not of a Python process, but of " +
                   core.executable().value_or("an unknown program");
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
    if (options.locals) {
        LocalsCapture(core->memory(), runtime->layout, *options.locals).read(reading);
    }
    if (reading.walked.interpreters.empty()) {
        return fail(reading.walked.problem.value_or(no_interpreter(*core)));
    }
    read_registers(*core, reading);
    reading.match();
    PYSTACK_CHECK(check_guess(*core, reading));
    std::unique_ptr<NativeCapture> native;
    if (options.native) {
        PYSTACK_TRY(capture, NativeCapture::create(*core, *runtime, native_options(options)));
        native = std::move(capture);
        merge_native(*core, reading, *native);
    }
    model::Snapshot snapshot = build_snapshot(reading, native.get());
    snapshot.core = describe(*core);
    snapshot.time_ns = core->header().written_ns;
    tell_missing_binary(*core, *runtime, snapshot);
    add_problems(*core, snapshot.threads, snapshot.problems);
    return snapshot;
}

}  // namespace pystack::capture
