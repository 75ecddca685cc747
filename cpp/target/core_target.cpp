#include "target/core_target.h"

#include <elf.h>
#include <signal.h>

#include <algorithm>
#include <array>

#include "base/pages.h"
#include "files/regular_file.h"
#include "files/sole_writer.h"
#include "target/core_files.h"
#include "target/core_mappings.h"
#include "target/initial_stack.h"
#include "target/link_map.h"

namespace pystack::target {

namespace {

constexpr std::size_t kMaxPathBytes = 4096;
/// How far the faulting access of a stack overflow can be from the stack pointer and from the
/// stack's end: one frame, at most the guard of 1 MiB that the kernel keeps below a growing stack.
constexpr std::uint64_t kOverflowReach = 1 << 20;
constexpr std::uint64_t kMaxGuardBytes = 64 << 10;
/// A thread has at least return addresses within this distance of its stack pointer.
constexpr std::size_t kStackProbeBytes = 4096;

bool is_file(const elf::Mapping& mapping) {
    return mapping.path.starts_with('/');
}

/// gdb writes no segments for what it leaves out, so that only the file knows what may be done with
/// it.
void take_rights_from_image(elf::Mapping& mapping, const elf::Module& module) {
    for (const elf::LoadSegment& segment : module.image->load_segments()) {
        // A mapping begins with the page in which its segment does.
        const RemoteAddr begin{page_begin(segment.address + module.bias)};
        const RemoteAddr end = RemoteAddr{segment.address} + module.bias + segment.memory_size;
        if (RemoteRange{begin, end}.contains(mapping.range.begin)) {
            mapping.executable = segment.executable;
            return;
        }
    }
}

bool has_segment(std::span<const elf::CoreSegment> segments, RemoteAddr address) {
    const auto after = std::upper_bound(
        segments.begin(), segments.end(), address,
        [](RemoteAddr wanted, const elf::CoreSegment& s) { return wanted < s.range.begin; });
    return after != segments.begin() && std::prev(after)->range.contains(address);
}

std::optional<uid_t> writer_of(const std::string& path) {
    const auto file = files::open_named(path);
    return file ? files::sole_writer(*file) : std::nullopt;
}

std::string describe_build_id(const std::optional<std::string>& id) {
    if (!id) return "an unknown build ID";
    return id->empty() ? "no build ID" : "build ID " + *id;
}

}  // namespace

Result<std::unique_ptr<CoreTarget>> CoreTarget::open(const std::string& path, FileSearch search,
                                                     std::shared_ptr<WorkLimits> limits,
                                                     const std::optional<std::string>& original) {
    PYSTACK_TRY(core, elf::CoreFile::open(path, *limits));
    std::unique_ptr<CoreTarget> target(new CoreTarget(core, std::move(limits)));
    target->written_by_ = original ? writer_of(*original) : core->written_by();
    const elf::CoreNotes& notes = core->notes();
    for (std::size_t i = 0; i < notes.threads.size(); ++i) {
        target->thread_index_.emplace_back(notes.threads[i].tid, i);
    }
    std::sort(target->thread_index_.begin(), target->thread_index_.end());
    target->core_memory_.emplace(core->regions());
    target->find_modules(std::move(search));
    target->build_memory();
    if (target->limits().cancelled()) return fail(cancelled());
    return target;
}

void CoreTarget::find_modules(FileSearch search) {
    const elf::CoreNotes& notes = core_->notes();
    std::string execfn;
    if (const auto address = notes.aux(AT_EXECFN)) {
        execfn = core_memory_->read_c_string({*address}, kMaxPathBytes).value_or("");
    }
    mappings_ = mappings_of(*core_, notes.files_listed
                                        ? notes.files
                                        : files_from_link_map(*core_memory_, notes.auxv, execfn));
    for (const elf::CoreSegment& segment : core_->segments()) {
        if (!segment.writable || segment.dumped == 0) continue;
        const elf::Mapping* const mapping = elf::find_mapping(mappings_, segment.range.begin);
        if (mapping != nullptr && !is_file(*mapping)) has_written_pages_ = true;
    }

    auto modules = elf::group_modules(mappings_);
    const auto main = main_program(modules);
    fill_header(main ? modules[*main].path.str() : execfn);
    modules_ = open_modules(*core_memory_, std::move(modules), main, std::move(search),
                            file_rights(), limits());
    for (elf::Module& module : modules_.modules) {
        if (!module.image) continue;
        for (elf::Mapping& mapping : module.mappings) {
            if (has_segment(core_->segments(), mapping.range.begin)) continue;
            take_rights_from_image(mapping, module);
            const auto same = std::lower_bound(
                mappings_.begin(), mappings_.end(), mapping.range.begin,
                [](const elf::Mapping& m, RemoteAddr wanted) { return m.range.begin < wanted; });
            if (same != mappings_.end()) same->executable = mapping.executable;
        }
    }
}

files::FileRights CoreTarget::file_rights() const {
    const auto& process = core_->notes().process;
    return rights_of_core(written_by_, process ? std::optional(process->uid) : std::nullopt);
}

/// The program that the kernel started is the file that holds its program headers: the path in
/// AT_EXECFN may be a script or a link.
std::optional<std::size_t> CoreTarget::main_program(std::span<const elf::Module> modules) const {
    for (const std::uint64_t key : {AT_PHDR, AT_ENTRY}) {
        const auto address = core_->notes().aux(key);
        if (!address) continue;
        if (const elf::Module* const module = elf::find_module(modules, {*address})) {
            return static_cast<std::size_t>(module - modules.data());
        }
    }
    return std::nullopt;
}

void CoreTarget::build_memory() {
    std::vector<memory::Region> regions = file_regions(modules_.modules, has_written_pages_);
    for (const elf::CoreSegment& segment : core_->segments()) {
        const RemoteRange cut = segment.cut_range();
        if (cut.size() == 0) continue;
        // The core had a copy of its own here, so the process may have written to it: the file's
        // will not do.
        const elf::Mapping* const mapping = elf::find_mapping(mappings_, cut.begin);
        if (mapping == nullptr || !is_never_written(*mapping)) {
            regions.push_back(memory::Region::hole(cut));
        }
    }
    std::ranges::move(core_->regions(), std::back_inserter(regions));
    memory_.emplace(regions);
    limited_.emplace(*memory_, shared_limits());
}

void CoreTarget::fill_header(const std::string& program) {
    header_ = header_from_notes(*core_);
    if (!program.empty()) header_.executable = program;
    if (auto arguments = read_arguments(*core_memory_, core_->notes().auxv)) {
        header_.arguments = *std::move(arguments);
        header_.arguments_cut = false;
    }
    header_.stack_overflow = is_stack_overflow();
}

bool CoreTarget::is_stack_overflow() const {
    if (!header_.signal || !header_.terminating_tid) return false;
    const auto fault = header_.signal->fault_address;
    if (header_.signal->number != SIGSEGV || !fault) return false;
    const auto registers = this->registers(*header_.terminating_tid);
    if (!registers) return false;
    const RemoteAddr sp = registers->sp();
    const std::uint64_t distance = *fault > sp ? *fault - sp : sp - *fault;
    if (distance > kOverflowReach) return false;
    const elf::Mapping* const hit = elf::find_mapping(mappings_, *fault);
    if (hit != nullptr && hit->writable) {
        // Newer C libraries make the guard a part of the stack's own mapping (MADV_GUARD_INSTALL).
        return !is_file(*hit) && *fault - hit->range.begin < kMaxGuardBytes && hit->range.end > sp;
    }
    // The stack itself is the next writable memory above, not far away.
    const auto stack = std::find_if(mappings_.begin(), mappings_.end(), [&](const elf::Mapping& m) {
        return m.range.begin > *fault && m.writable;
    });
    return stack != mappings_.end() && !is_file(*stack) &&
           stack->range.begin - *fault <= 2 * kOverflowReach && stack->range.end > sp;
}

Result<void> CoreTarget::open_module(elf::Module& module) const {
    const elf::Module* const known = elf::find_module(modules_.modules, module.range().begin);
    if (known != nullptr && known->image) {
        module.image = known->image;
        module.bias = known->bias;
        return {};
    }
    auto report = std::ranges::lower_bound(modules_.reports, module.range().begin, {},
                                           [](const ModuleReport& one) { return one.range.begin; });
    if (report != modules_.reports.end() && report->range.begin != module.range().begin)
        report = modules_.reports.end();
    std::string detail = "cannot find " + module.path.str();
    if (report != modules_.reports.end()) {
        if (report->status == ModuleStatus::kMismatched) {
            detail = *report->found_path + " has " + describe_build_id(report->file_build_id) +
                     ", but the core was written with ";
        } else {
            detail += ", which has ";
        }
        detail += describe_build_id(report->core_build_id);
    }
    return fail(Error{.code = ErrorCode::kMissingBinary, .what = "binary", .detail = detail});
}

std::vector<std::string> CoreTarget::left_out_parts() const {
    std::vector<std::string> parts;
    const auto add = [&](std::size_t count, const char* what) {
        if (count == 0) return;
        parts.push_back(std::to_string(count) + " " + what +
                        " of the core were left out because of the memory limit");
    };
    add(core_->notes().refused_threads, "threads");
    add(core_->refused_segments(), "memory segments");
    add(core_->notes().refused_files, "mapped files");
    add(modules_.refused, "modules");
    return parts;
}

Result<std::vector<ThreadInfo>> CoreTarget::threads() const {
    std::vector<ThreadInfo> infos;
    infos.reserve(core_->notes().threads.size());
    for (const elf::CoreThread& thread : core_->notes().threads) {
        infos.push_back({.tid = thread.tid, .namespace_tid = {}, .name = {}, .run_state = {}});
    }
    return infos;
}

std::vector<std::int32_t> CoreTarget::threads_without_stack() const {
    std::vector<std::int32_t> tids;
    std::array<std::byte, kStackProbeBytes> bytes;
    for (const elf::CoreThread& thread : core_->notes().threads) {
        if (limits().cancelled()) break;
        const RemoteAddr sp = arch::Registers{.raw = thread.registers}.sp();
        const std::size_t size = memory_->read_up_to(sp, bytes);
        const auto begin = bytes.begin();
        if (std::all_of(begin, begin + static_cast<std::ptrdiff_t>(size),
                        [](std::byte b) { return b == std::byte{0}; })) {
            tids.push_back(thread.tid);
        }
    }
    return tids;
}

const elf::CoreThread* CoreTarget::find_thread(std::int32_t tid) const {
    const auto entry = std::lower_bound(thread_index_.begin(), thread_index_.end(),
                                        std::pair{tid, std::size_t{0}});
    if (entry == thread_index_.end() || entry->first != tid) return nullptr;
    return &core_->notes().threads[entry->second];
}

Result<arch::Registers> CoreTarget::registers(std::int32_t tid) const {
    const elf::CoreThread* const thread = find_thread(tid);
    if (thread == nullptr) {
        return fail(Error{.code = ErrorCode::kInvalidArgument,
                          .what = "thread",
                          .detail = "the core has no thread " + std::to_string(tid)});
    }
    return arch::Registers{.raw = thread->registers};
}

std::optional<arch::Syscall> CoreTarget::blocked_syscall(std::int32_t tid) const {
    const elf::CoreThread* const thread = find_thread(tid);
    if (thread == nullptr) return std::nullopt;
    return arch::Registers{.raw = thread->registers}.syscall();
}

std::optional<std::vector<std::string>> CoreTarget::command() const {
    if (header_.arguments.empty()) return std::nullopt;
    return header_.arguments;
}

}  // namespace pystack::target
