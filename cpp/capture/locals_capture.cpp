#include "capture/locals_capture.h"

#include <algorithm>
#include <cctype>

#include "memory/memory_copy.h"

namespace pystack::capture {

namespace {

using cpython::LocalsReader;
using cpython::RawFrame;

char lower(char letter) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
}

}  // namespace

bool is_redacted(std::string_view name, const std::vector<std::string>& patterns) {
    return std::any_of(patterns.begin(), patterns.end(), [name](const std::string& pattern) {
        const auto same = [](char a, char b) { return lower(a) == lower(b); };
        return !pattern.empty() && std::search(name.begin(), name.end(), pattern.begin(),
                                               pattern.end(), same) != name.end();
    });
}

LocalsCapture::LocalsCapture(const memory::MemoryReader& memory, const cpython::Layout& layout,
                             const LocalsOptions& options)
    : memory_(memory),
      reader_(memory, layout),
      renderer_(memory, layout, options.limits, [patterns = options.redact](std::string_view name) {
          return !is_redacted(name, patterns);
      }) {}

void LocalsCapture::rehearse(Reading& reading, std::vector<RawFrame>& frames) {
    read_frames(reading, frames);
}

void LocalsCapture::read(Reading& reading) {
    renderer_.reset();
    for (ThreadReading& thread : reading.threads) {
        thread.variables = read_frames(reading, thread.frames);
    }
}

std::vector<model::FrameVariables> LocalsCapture::read_frames(Reading& reading,
                                                              std::span<const RawFrame> frames) {
    // One for each frame that runs code that is known; `places` says which.
    std::vector<LocalsReader::Frame> readable;
    std::vector<const cpython::Code*> codes;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const cpython::Code* code = frames[i].shim ? nullptr : reading.codes.find(frames[i].code);
        if (code == nullptr || code->problem) continue;
        readable.push_back({&frames[i], code});
        codes.push_back(code);
        places.push_back(i);
    }
    reader_.load(codes);
    std::vector<RemoteRange> ranges;
    for (const LocalsReader::Frame& frame : readable)
        ranges.push_back(reader_.range(*frame.code, *frame.raw));
    memory::MemoryCopy copy(memory_);
    copy.fetch(ranges);
    renderer_.begin();
    auto read = reader_.read(readable, copy, renderer_);
    std::vector<model::FrameVariables> variables(frames.size());
    for (std::size_t i = 0; i < read.size() && i < places.size(); ++i) {
        variables[places[i]] = std::move(read[i]);
    }
    return variables;
}

}  // namespace pystack::capture
