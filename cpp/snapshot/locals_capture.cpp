#include "snapshot/locals_capture.h"

#include <algorithm>

#include "memory/memory_copy.h"

namespace pystack::snapshot {

namespace {

using cpython::LocalsReader;
using cpython::RawFrame;

/// Variables of one stack that are shown, at its innermost and at its outermost end. Nobody reads
/// more, and a stack can be a million frames deep.
constexpr std::size_t kMostInner = 4000;
constexpr std::size_t kMostOuter = 1000;
/// Frames that are copied at once to count their variables.
constexpr std::size_t kCountedAtOnce = 1024;

std::uint64_t size_of(const model::FrameVariables& frame) {
    std::uint64_t bytes = frame.variables.size() * sizeof(model::Variable);
    for (const model::Variable& variable : frame.variables) {
        bytes +=
            variable.name.size() + variable.value.size() + variable.type_name.value_or("").size();
    }
    return bytes;
}

}  // namespace

LocalsCapture::LocalsCapture(const memory::MemoryReader& memory, const cpython::Layout& layout,
                             const LocalsOptions& options)
    : memory_(memory),
      reader_(memory, layout),
      renderer_(memory, layout, options.limits, options.redaction) {}

void LocalsCapture::rehearse(RawSnapshot& raw, std::vector<RawFrame>& frames) {
    const FoundThread found = find(raw, frames);
    LocalsReader::render(found.frames, renderer_);
}

void LocalsCapture::copy(RawSnapshot& raw) {
    renderer_.reset();
    found_.clear();
    for (const RawThread& thread : raw.threads) found_.push_back(find(raw, thread.frames));
}

bool LocalsCapture::render(RawSnapshot& raw) {
    renderer_.freeze();
    render_all(raw);
    const bool complete = renderer_.misses() == 0;
    renderer_.unfreeze();
    return complete;
}

void LocalsCapture::read(RawSnapshot& raw) {
    copy(raw);
    render_all(raw);
}

void LocalsCapture::render_all(RawSnapshot& raw) {
    for (std::size_t i = 0; i < found_.size() && i < raw.threads.size(); ++i) {
        RawThread& thread = raw.threads[i];
        auto rendered = LocalsReader::render(found_[i].frames, renderer_);
        std::uint64_t bytes = thread.frames.size() * sizeof(model::FrameVariables);
        for (const model::FrameVariables& frame : rendered) bytes += size_of(frame);
        if (!raw.target.limits().charge_bytes(bytes)) continue;
        thread.variables.assign(thread.frames.size(), {});
        for (std::size_t k = 0; k < rendered.size(); ++k)
            thread.variables[found_[i].places[k]] = std::move(rendered[k]);
        for (const LeftOut& frame : found_[i].left_out)
            thread.variables[frame.place].omitted = frame.count;
    }
}

LocalsCapture::FoundThread LocalsCapture::find(RawSnapshot& raw, std::span<const RawFrame> frames) {
    // Only frames that run code that is known.
    std::vector<LocalsReader::Frame> readable;
    std::vector<const cpython::Code*> codes;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const cpython::Code* code = frames[i].shim ? nullptr : raw.codes.find(frames[i].code);
        if (code == nullptr || code->problem) continue;
        readable.push_back({&frames[i], code});
        codes.push_back(code);
        places.push_back(i);
    }
    reader_.load(codes);
    const std::vector<bool> is_shown = choose(readable);
    FoundThread found;
    std::vector<LocalsReader::Frame> shown;
    std::vector<LocalsReader::Frame> others;
    std::vector<std::size_t> other_places;
    std::vector<RemoteRange> ranges;
    for (std::size_t i = 0; i < readable.size(); ++i) {
        if (!is_shown[i]) {
            others.push_back(readable[i]);
            other_places.push_back(places[i]);
            continue;
        }
        shown.push_back(readable[i]);
        found.places.push_back(places[i]);
        ranges.push_back(reader_.range(*readable[i].code, *readable[i].raw));
    }
    memory::MemoryCopy copy(memory_);
    copy.fetch(ranges);
    found.frames = reader_.find(shown, copy, renderer_);
    count(others, other_places, found);
    return found;
}

/// Which frames are shown: those of the ends, as far as they have no more variables than that.
std::vector<bool> LocalsCapture::choose(std::span<const LocalsReader::Frame> frames) {
    std::vector<bool> shown(frames.size());
    std::size_t outermost = frames.size();
    for (std::size_t left = kMostOuter; outermost > 0; --outermost) {
        // A frame without variables takes its place as well.
        const std::size_t most = reader_.most_variables(*frames[outermost - 1].code) + 1;
        if (most > left) break;
        left -= most;
        shown[outermost - 1] = true;
    }
    std::size_t left = kMostInner;
    for (std::size_t i = 0; i < outermost; ++i) {
        const std::size_t most = reader_.most_variables(*frames[i].code) + 1;
        if (most > left) break;
        left -= most;
        shown[i] = true;
    }
    return shown;
}

void LocalsCapture::count(std::span<const LocalsReader::Frame> frames,
                          std::span<const std::size_t> places, FoundThread& found) {
    memory::MemoryCopy copy(memory_);
    std::vector<RemoteRange> ranges;
    for (std::size_t first = 0; first < frames.size(); first += kCountedAtOnce) {
        const auto some = frames.subspan(first, std::min(kCountedAtOnce, frames.size() - first));
        ranges.clear();
        for (const LocalsReader::Frame& frame : some)
            ranges.push_back(reader_.range(*frame.code, *frame.raw));
        copy.clear();
        copy.fetch(ranges);
        for (std::size_t i = 0; i < some.size(); ++i)
            found.left_out.push_back({places[first + i], reader_.count(some[i], copy)});
    }
}

}  // namespace pystack::snapshot
