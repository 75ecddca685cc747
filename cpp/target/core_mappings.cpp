#include "target/core_mappings.h"
#include "base/pages.h"

#include <elf.h>

#include <algorithm>
#include <limits>
#include <span>

namespace pystack::target {

namespace {

/// Sorted by address; what overlaps an earlier one (only a hostile core has that) is dropped.
std::vector<elf::CoreFileMapping> disjoint(std::vector<elf::CoreFileMapping> files) {
    std::stable_sort(files.begin(), files.end(),
                     [](const auto& a, const auto& b) { return a.range.begin < b.range.begin; });
    RemoteAddr end;
    std::erase_if(files, [&](const elf::CoreFileMapping& file) {
        if (file.range.begin < end) return true;
        end = file.range.end;
        return false;
    });
    return files;
}

std::vector<elf::CoreSegment> disjoint(std::span<const elf::CoreSegment> segments) {
    std::vector<elf::CoreSegment> kept;
    kept.reserve(segments.size());
    for (const elf::CoreSegment& segment : segments) {
        if (kept.empty() || kept.back().range.end <= segment.range.begin) kept.push_back(segment);
    }
    return kept;
}

/// The dynamic linker maps a library whole, then takes the access rights of the gaps between its
/// segments away; gdb writes no segment for these. The offset of such a gap runs on past that of
/// the segment behind it, whereas two segments share one page of the file at most.
bool is_gap(const elf::CoreFileMapping& file, const elf::CoreFileMapping* next) {
    return next != nullptr && next->range.begin == file.range.end && next->path == file.path &&
           next->offset.value != 0 && file.range.size() > kPageSize &&
           next->offset.value < file.offset.value + file.range.size() - kPageSize;
}

void name_special(std::vector<elf::Mapping>& mappings, std::optional<std::uint64_t> address,
                  const char* name) {
    if (!address) return;
    const auto after = std::upper_bound(
        mappings.begin(), mappings.end(), RemoteAddr{*address},
        [](RemoteAddr wanted, const elf::Mapping& m) { return wanted < m.range.end; });
    if (after == mappings.end() || !after->range.contains({*address}) || !after->path.empty())
        return;
    after->path = name;
}

}  // namespace

std::vector<elf::Mapping> mappings_of(const elf::CoreFile& core,
                                      std::vector<elf::CoreFileMapping> listed) {
    const auto segments = disjoint(core.segments());
    const auto files = disjoint(std::move(listed));
    constexpr RemoteAddr kNowhere{std::numeric_limits<std::uint64_t>::max()};

    std::vector<elf::Mapping> mappings;
    mappings.reserve(segments.size() + files.size());
    auto segment = segments.begin();
    auto file = files.begin();
    RemoteAddr at;
    while (true) {
        while (segment != segments.end() && segment->range.end <= at) ++segment;
        while (file != files.end() && file->range.end <= at) ++file;
        if (segment == segments.end() && file == files.end()) break;
        const RemoteRange segment_range =
            segment == segments.end() ? RemoteRange{kNowhere, kNowhere} : segment->range;
        const RemoteRange file_range =
            file == files.end() ? RemoteRange{kNowhere, kNowhere} : file->range;
        const RemoteAddr begin = std::max(at, std::min(segment_range.begin, file_range.begin));
        const bool in_segment = segment_range.contains(begin);
        const bool in_file = file_range.contains(begin);
        if (!in_segment && !in_file) break;  // Only a range that ends at the last address of all.
        const RemoteAddr end = std::min(in_segment ? segment_range.end : segment_range.begin,
                                        in_file ? file_range.end : file_range.begin);
        elf::Mapping mapping;
        mapping.range = {begin, end};
        if (in_segment) {
            mapping.readable = segment->readable;
            mapping.writable = segment->writable;
            mapping.executable = segment->executable;
        } else {
            mapping.readable = !is_gap(*file, file + 1 == files.end() ? nullptr : &*(file + 1));
        }
        if (in_file) {
            mapping.offset = {file->offset.value + (begin - file_range.begin)};
            mapping.path = file->path;
            mapping.deleted = file->deleted;
        }
        mappings.push_back(std::move(mapping));
        at = end;
    }
    const elf::CoreNotes& notes = core.notes();
    name_special(mappings, notes.aux(AT_SYSINFO_EHDR), "[vdso]");
    name_special(mappings, notes.aux(AT_RANDOM), "[stack]");
    return mappings;
}

}  // namespace pystack::target
