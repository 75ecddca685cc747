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
    const FoundThread found = find(reading, frames);
    LocalsReader::render(found.frames, renderer_);
}

void LocalsCapture::copy(Reading& reading) {
    renderer_.reset();
    found_.clear();
    for (const ThreadReading& thread : reading.threads)
        found_.push_back(find(reading, thread.frames));
}

bool LocalsCapture::render(Reading& reading) {
    renderer_.seal();
    render_all(reading);
    const bool complete = renderer_.misses() == 0;
    renderer_.unseal();
    return complete;
}

void LocalsCapture::read(Reading& reading) {
    copy(reading);
    render_all(reading);
}

void LocalsCapture::render_all(Reading& reading) {
    for (std::size_t i = 0; i < found_.size() && i < reading.threads.size(); ++i) {
        ThreadReading& thread = reading.threads[i];
        auto rendered = LocalsReader::render(found_[i].frames, renderer_);
        thread.variables.assign(thread.frames.size(), {});
        for (std::size_t k = 0; k < rendered.size(); ++k)
            thread.variables[found_[i].places[k]] = std::move(rendered[k]);
    }
}

LocalsCapture::FoundThread LocalsCapture::find(Reading& reading, std::span<const RawFrame> frames) {
    // Only frames that run code that is known.
    FoundThread found;
    std::vector<LocalsReader::Frame> readable;
    std::vector<const cpython::Code*> codes;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const cpython::Code* code = frames[i].shim ? nullptr : reading.codes.find(frames[i].code);
        if (code == nullptr || code->problem) continue;
        readable.push_back({&frames[i], code});
        codes.push_back(code);
        found.places.push_back(i);
    }
    reader_.load(codes);
    std::vector<RemoteRange> ranges;
    for (const LocalsReader::Frame& frame : readable)
        ranges.push_back(reader_.range(*frame.code, *frame.raw));
    memory::MemoryCopy copy(memory_);
    copy.fetch(ranges);
    found.frames = reader_.find(readable, copy, renderer_);
    return found;
}

}  // namespace pystack::capture
