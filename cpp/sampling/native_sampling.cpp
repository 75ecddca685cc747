#include "sampling/native_sampling.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "memory/limited_memory.h"
#include "memory/process_memory.h"
#include "sampling/os_threads.h"
#include "unwind/stack_bytes.h"

namespace pystack::sampling {

namespace {

constexpr std::uint64_t kAllStacks = 64 << 20;
constexpr std::uint64_t kNamePauseNs = 250'000'000;
/// Runs of native frames that are kept; programs that make code as they go have new ones for ever.
constexpr std::size_t kMostRuns = 1 << 18;

/// Deeper than that is counted as that.
std::uint8_t next_depth(std::uint8_t depth) {
    return depth == UINT8_MAX ? depth : static_cast<std::uint8_t>(depth + 1);
}

}  // namespace

std::size_t NativeSampling::RunHash::operator()(const Run& run) const noexcept {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const std::uint64_t word : run.key) hash = (hash ^ word) * 0x9e3779b97f4a7c15;
    return hash ^ (hash >> 32);
}

Result<std::unique_ptr<NativeSampling>> NativeSampling::create(const target::Target& target,
                                                               const cpython::Runtime& runtime,
                                                               merge::NativeOptions options,
                                                               FrameInterner& interner) {
    PYSTACK_TRY(unwinder, unwind::NativeUnwinder::create(
                              target, options.debug_files(target.shared_limits())));
    std::unique_ptr<NativeSampling> sampling(
        new NativeSampling(target, runtime, std::move(unwinder), std::move(options), interner));
    PYSTACK_CHECK(sampling->copies_.update_mappings());
    sampling->unwinder_->code_map().open_all();
    if (sampling->options_.fetch_debug_file) sampling->names_.load_symbols();
    return sampling;
}

NativeSampling::NativeSampling(const target::Target& target, const cpython::Runtime& runtime,
                               std::unique_ptr<unwind::NativeUnwinder> unwinder,
                               merge::NativeOptions options, FrameInterner& interner)
    : target_(target),
      runtime_(runtime),
      options_(std::move(options)),
      interner_(interner),
      unwinder_(std::move(unwinder)),
      names_(runtime, unwinder_->code_map(), options_.debug_files(target.shared_limits())),
      copies_(target, runtime.layout,
              {.one = std::min(options_.sampled_stack_bytes, kAllStacks), .all = kAllStacks}) {}

void NativeSampling::catch_up(std::span<const RemoteAddr> interpreters, std::uint64_t now_ns) {
    if (copies_.met_unknown_stack() && mappings_pace_.is_due()) {
        const auto begin = Pace::Clock::now();
        // Fails when the target has ended: then there is no next sample.
        if (!copies_.update_mappings()) return;
        mappings_pace_.worked_since(begin);
    }
    unwinder_->update_registered();
    update_names(interpreters, now_ns);
}

/// Modules are imported at any time, and reading all names takes some 20 ms. So only the first
/// time is waited for.
void NativeSampling::update_names(std::span<const RemoteAddr> interpreters, std::uint64_t now_ns) {
    if (next_names_.valid()) {
        if (next_names_.wait_for(std::chrono::seconds(0)) == std::future_status::timeout) return;
        names_.use(next_names_.get());
        runs_.clear();
    }
    if (now_ns < name_at_ns_) return;
    std::uint64_t modules = 0;
    for (const RemoteAddr interpreter : interpreters) {
        modules +=
            cpython::count_modules(target_.memory(), runtime_.layout, interpreter).value_or(0);
    }
    const bool is_first = named_modules_ == 0;
    if (modules == named_modules_) return;
    named_modules_ = modules;
    name_at_ns_ = now_ns + kNamePauseNs;
    // With copies: the runtime is replaced before this is destroyed, when the target executes
    // another program; and the target's own reader belongs to the thread that samples.
    const auto read = [pid = target_.pid(), limits = target_.shared_limits(),
                       layout = runtime_.layout,
                       mine = std::vector(interpreters.begin(), interpreters.end())] {
        const memory::ProcessMemory process(pid);
        const memory::LimitedMemory memory(process, limits);
        return cpython::read_function_names(memory, layout, mine);
    };
    if (is_first) {
        names_.use(read());
        return;
    }
    // Deferred where the system has no more threads.
    next_names_ = std::async(std::launch::async | std::launch::deferred, read);
}

NativeSampling::Interned NativeSampling::intern(std::int32_t tid, std::span<const State> states) {
    const merge::StackCopies::Thread* copied = copies_.find(tid);
    // A thread that is about to start, or to end, has a state, and nothing on it but a shim
    // (3.14+).
    const auto is_empty = [](const State& state) {
        return std::ranges::all_of(state.frames, &cpython::RawFrame::shim);
    };
    if (copied == nullptr && std::all_of(states.begin(), states.end(), is_empty)) return {};
    const unwind::StackBytes bytes = merge::StackCopies::memory_of(copied);
    std::vector<merge::StateFrames> mine;
    for (std::size_t i = 0; i < states.size(); ++i) {
        mine.push_back({.thread = i,
                        .frames = states[i].frames,
                        .c_frame = copies_.c_frame(states[i].address)});
    }
    const merge::ThreadStack stack =
        merge::merge_thread(copied, bytes, mine, runtime_.layout, *unwinder_, names_);

    Interned interned{.is_whole = stack.is_complete() && stack.merged.unplaced == 0};
    const auto& merged = stack.merged.frames;
    const auto is_native = [](const merge::MergedFrame& frame) {
        return frame.kind == merge::MergedFrame::Kind::kNative ||
               frame.kind == merge::MergedFrame::Kind::kLoop;
    };
    const auto innermost_python =
        std::find_if(merged.begin(), merged.end(), [](const merge::MergedFrame& frame) {
            return frame.kind == merge::MergedFrame::Kind::kPython;
        });
    std::vector<bool> task_shown(states.size());
    std::optional<std::int64_t> interpreter;  // Of the Python frames so far.
    // From the outermost in.
    for (std::size_t end = merged.size(); end > 0;) {
        const merge::MergedFrame& frame = merged[end - 1];
        const bool wanted = !options_.last_only || innermost_python == merged.end() ||
                            merged.begin() + static_cast<std::ptrdiff_t>(end) <= innermost_python;
        if (frame.kind == merge::MergedFrame::Kind::kPython) {
            const State& state = states[frame.thread];
            const auto shown = interner_.stopped_frame(state.frames[frame.index]);
            --end;
            if (!shown) continue;
            // As in OsThreads::join.
            if (interpreter && interpreter != state.interpreter_id) {
                interned.stack = interner_.push(interned.stack,
                                                OsThreads::mark(interner_, state.interpreter_id));
            }
            interpreter = state.interpreter_id;
            if (state.task && shown->is_coroutine && !task_shown[frame.thread]) {
                task_shown[frame.thread] = true;
                interned.stack = interner_.push(interned.stack, *state.task);
            }
            interned.stack = interner_.push(interned.stack, shown->frame);
            continue;
        }
        if (frame.kind == merge::MergedFrame::Kind::kGap) {
            if (wanted) interned.stack = interner_.push(interned.stack, gap(stack, frame));
            --end;
            continue;
        }
        std::size_t begin = end;
        while (begin > 0 && is_native(merged[begin - 1])) --begin;
        if (wanted) {
            const bool starts = end == merged.size() && stack.is_complete();
            const auto run = std::span(merged).subspan(begin, end - begin);
            for (const model::FrameId id : frames_of(stack, run, starts)) {
                interned.stack = interner_.push(interned.stack, id);
            }
        }
        end = begin;
    }
    return interned;
}

/// Outermost first. `starts`: the thread begins with this run.
const std::vector<model::FrameId>& NativeSampling::frames_of(
    const merge::ThreadStack& stack, std::span<const merge::MergedFrame> run, bool starts) {
    Run key;
    key.key.reserve(2 * run.size() + 1);
    key.key.push_back(starts ? 1 : 0);
    for (const merge::MergedFrame& merged : run) {
        const modules::NativeFrame& frame = stack.frames[merged.index];
        key.key.push_back(frame.pc.value);
        key.key.push_back((std::uint64_t{frame.module} << 8) | (frame.is_activation ? 1U : 0U) |
                          (merged.kind == merge::MergedFrame::Kind::kLoop ? 2U : 0U));
        if (frame.returns_from_signal) key.key.back() |= 4;
    }
    if (runs_.size() >= kMostRuns) runs_.clear();
    const auto [place, is_new] = runs_.try_emplace(std::move(key));
    if (!is_new) return place->second;
    std::vector<model::Frame> frames;
    for (auto merged = run.rbegin(); merged != run.rend(); ++merged) {
        modules::NativeFrame frame = stack.frames[merged->index];
        frame.fault_address = {};  // One frame for all faults of a kind.
        names_.append(frame, merged->kind == merge::MergedFrame::Kind::kLoop, frames);
    }
    merge::mark_glue_by_place(frames, starts);
    std::uint8_t inline_depth = 0;
    for (const model::Frame& frame : frames) {
        const model::NativeDetails& native = *frame.native;
        inline_depth = native.is_inlined ? next_depth(inline_depth) : 0;
        if (native.is_plumbing) continue;
        const bool has_python_name = !native.python_name.empty();
        const std::string_view module = native.module;
        place->second.push_back(interner_.native_frame(
            {.function = has_python_name ? native.python_name : frame.function.view(),
             .file = frame.file.empty() ? module : frame.file.view(),
             .line = frame.position.line.value_or(-1),
             .module = module,
             .build_id = native.build_id,
             .address = module.empty() ? native.address : native.offset,
             .inline_depth = inline_depth,
             .name_source =
                 has_python_name ? model::NameSource::kMethodTable : native.name_source}));
    }
    return place->second;
}

model::FrameId NativeSampling::gap(const merge::ThreadStack& stack,
                                   const merge::MergedFrame& frame) {
    std::string reason = stack.gap_reason(frame.index, module_of(stack.end.address), true);
    const auto known = gaps_.find(reason);
    if (known != gaps_.end()) return known->second;
    const model::FrameId id = interner_.marker_frame("<native frames are missing: " + reason + ">");
    return gaps_.emplace(std::move(reason), id).first->second;
}

/// Where the unwinding ended, without addresses: a recording has one frame for all gaps of a kind.
std::string NativeSampling::module_of(RemoteAddr address) const {
    modules::CodeMap& modules = unwinder_->code_map();
    const modules::CodeMap::Area* area = modules.find(address);
    if (area == nullptr) return "an address outside any code";
    if (area->module == modules::kNoModule) return "code generated at run time";
    return std::string(base_name(modules.path(area->module)));
}

}  // namespace pystack::sampling
