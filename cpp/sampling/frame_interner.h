#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/work_limits.h"
#include "cpython/frames/code_reader.h"
#include "model/tables.h"

namespace pystack::sampling {

/// The stack of one thread as it was interned last, outermost frame first: what has not changed
/// need not be looked up again.
struct InternedStack {
    struct Entry {
        const cpython::Code* code = nullptr;  ///< Null: a shim.
        model::StackId stack = 0;             ///< Of this frame and its callers.
        model::FrameId frame = 0;             ///< Meaningless where the frame is not shown.
        bool shown = false;
    };
    std::vector<Entry> entries;
    std::uint64_t epoch = 0;  ///< Of the interner, see FrameInterner::start_anew.
    std::optional<model::FrameId> task;
    std::size_t task_at = 0;  ///< The task's frame is below this entry's; or behind the last.

    model::StackId id() const { return entries.empty() ? 0 : entries.back().stack; }
};

/// Turns raw stacks into rows of the tables. A row, once made, is complete: its code object may
/// die. Rows are never dropped, so they have a limit: past it, new frames and stacks are one row,
/// "<left out: memory limit>", and those that there are stay of use.
class FrameInterner {
  public:
    enum class Outcome : std::uint8_t {
        kDone,
        kUnknownCode,  ///< A code object must be loaded first.
        kUnfit,  ///< A frame does not execute its code object: it was read while it was replaced.
        kUnproved,  ///< A caller was never seen to call this: see unproved_call().
    };

    explicit FrameInterner(cpython::CodeReader& codes,
                           std::shared_ptr<WorkLimits> limits = std::make_shared<WorkLimits>())
        : codes_(&codes), limits_(std::move(limits)) {}

    /// `frames` are outermost first; the first `unchanged` are as they were when `interned` was
    /// filled. The frame of `task` is put below the outermost coroutine.
    Outcome intern(std::span<const cpython::RawFrame> frames, std::size_t unchanged,
                   std::optional<model::FrameId> task, InternedStack& interned);
    /// The frame that stands for the asyncio task of that name. There is a last one for all tasks
    /// when there are very many: names are made up as tasks are.
    model::FrameId task_frame(const std::string& name);

    // For stacks that are put together elsewhere, of targets that stand still.

    struct StoppedFrame {
        model::FrameId frame = 0;
        bool is_coroutine = false;
    };
    /// nullopt: it runs no code that is to be shown.
    std::optional<StoppedFrame> stopped_frame(const cpython::RawFrame& frame);
    /// See model::FrameRow.
    struct NativeFrame {
        std::string_view function;
        std::string_view file;
        std::int32_t line = -1;
        std::string_view module;
        std::string_view build_id;
        std::uint64_t address = 0;
        std::uint8_t inline_depth = 0;
        model::NameSource name_source = model::NameSource::kNone;
    };
    model::FrameId native_frame(const NativeFrame& frame);
    model::FrameId marker_frame(std::string_view text);
    model::StackId push(model::StackId callers, model::FrameId frame);
    /// nullopt: there is no room for it.
    std::optional<model::StringId> string_id(std::string_view text);
    /// All frames of a stack that was interned, upon others.
    model::StackId push_all(model::StackId callers, const InternedStack& stack);

    /// Whether the outermost frame is a generator's or coroutine's: see CodeReader::is_truncated.
    bool is_truncated(const InternedStack& stack) const;

    // A call site and the function that it called. A proof of a fast program can be fooled, very
    // seldom, by frames of two moments that look alike; what it makes up is a call that the program
    // never makes. A call counts only after it was proved more than once.
    using CallId = std::uint32_t;
    CallId unproved_call() const { return unproved_; }
    void prove_call(CallId call) { calls_proved_[call] = true; }
    /// A target that stands still needs no proofs: what does not fit is shown as far as it can be.
    void set_stopped(bool is_stopped) { is_stopped_ = is_stopped; }
    /// How often the call was found and not proved; counts this time.
    std::uint32_t count_failure(CallId call) { return ++call_failures_[call]; }

    /// Rows stay; what leads to them goes, because addresses mean something else now.
    void use(cpython::CodeReader& codes);
    /// A code object that was read is no more: stacks that were interned must be looked up again.
    void start_anew() { ++epoch_; }
    /// Begins empty tables: no row's number means anything any more. The caller returns the bytes.
    void renew_tables();

    const model::StringTable& strings() const { return strings_; }
    const std::vector<model::FrameRow>& frames() const { return frames_; }
    const model::StackTable& stacks() const { return stacks_; }

  private:
    /// A row, and what tells it from others that look the same.
    struct RowKey {
        model::FrameRow row;
        std::int64_t place = 0;  ///< See CodeReader::place; 0 of frames that are not Python's.
        bool operator==(const RowKey&) const = default;
    };
    struct RowHash {
        std::size_t operator()(const RowKey& key) const noexcept;
    };

    model::FrameId frame_id(const cpython::Code& code, std::int64_t place);
    model::FrameId row_id(const RowKey& key);
    model::FrameId left_out_frame();
    bool is_proved_call(model::FrameId caller, const cpython::Code& callee);

    cpython::CodeReader* codes_;
    std::shared_ptr<WorkLimits> limits_;
    model::StringTable strings_;
    std::vector<model::FrameRow> frames_;
    model::StackTable stacks_;
    model::IdMap frame_ids_;  ///< By code index and place.
    model::IdMap call_ids_;   ///< By caller's frame id and callee's code index.
    std::vector<bool> calls_proved_;
    std::vector<std::uint32_t> call_failures_;
    std::unordered_map<std::string, model::FrameId> task_frames_;
    std::unordered_map<RowKey, model::FrameId, RowHash> rows_;
    std::optional<model::FrameId> left_out_;
    CallId unproved_ = 0;
    std::uint64_t epoch_ = 1;
    bool is_stopped_ = false;
};

}  // namespace pystack::sampling
