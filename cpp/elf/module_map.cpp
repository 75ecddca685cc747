#include "elf/module_map.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <utility>

#include "base/checked.h"
#include "base/pages.h"

namespace pystack::elf {
namespace {

/// What compute_bias looks at: real modules have some 10 segments and 10 mappings, hostile ones any
/// number.
constexpr std::size_t kMaxSegments = 64;
constexpr std::size_t kMaxMappings = 256;

/// Memory without a file, under each of the names that kernels print for it.
bool is_anonymous(const Mapping& mapping) {
    const std::string_view path = mapping.path.str();
    return path.empty() || path == "//anon" || path.starts_with("[anon:") ||
           path.starts_with("[anon_shmem:") || path == "/anon_hugepage" ||
           (path == "/dev/zero" && mapping.deleted);
}

bool is_file(const Mapping& mapping) {
    // The prefix is the kernel's for files on a mount that the target's root does not reach.
    const std::string_view path = mapping.path.str();
    return !is_anonymous(mapping) && (path.starts_with('/') || path.starts_with("(unreachable)/"));
}

bool is_accessible(const Mapping& mapping) {
    return mapping.readable || mapping.writable || mapping.executable;
}

bool same_file(const Mapping& a, const Mapping& b) {
    return a.device == b.device && a.inode == b.inode && a.path == b.path && a.deleted == b.deleted;
}

bool touch(const Mapping& lower, const Mapping& upper) {
    return lower.range.end == upper.range.begin;
}

/// By rising address and without overlaps, which everything below counts on.
std::vector<const Mapping*> put_in_order(const std::vector<Mapping>& mappings) {
    std::vector<const Mapping*> sorted;
    sorted.reserve(mappings.size());
    for (const Mapping& mapping : mappings) {
        if (mapping.range.size() != 0) sorted.push_back(&mapping);
    }
    std::ranges::stable_sort(sorted, {},
                             [](const Mapping* mapping) { return mapping->range.begin; });
    std::vector<const Mapping*> ordered;
    ordered.reserve(sorted.size());
    for (const Mapping* mapping : sorted) {
        if (!ordered.empty() && mapping->range.begin < ordered.back()->range.end) continue;
        ordered.push_back(mapping);
    }
    return ordered;
}

/// Takes the mappings of one module from the front of a list that starts with a file mapping.
class ModuleCollector {
  public:
    explicit ModuleCollector(std::span<const Mapping* const> rest) : rest_(rest) { take_file(); }

    /// How many mappings were dealt with.
    std::size_t collect() {
        while (true) {
            std::size_t next_named = next_;
            while (next_named < rest_.size() && is_anonymous(*rest_[next_named])) ++next_named;
            const bool more = next_named < rest_.size() && continues(next_named);
            take_anonymous(next_named, more);
            if (!more) break;
            next_ = next_named;
            take_file();
        }
        take_heap();
        return next_;
    }

    Module finish() {
        return {.path = file_->path,
                .deleted = file_->deleted,
                .mappings = std::move(mappings_),
                .image = nullptr,
                .bias = 0};
    }

  private:
    void take() { mappings_.push_back(*rest_[next_++]); }

    void take_file() {
        file_ = rest_[next_];
        // An inaccessible mapping is the hole behind a segment: its offset runs on past those to
        // come.
        if (is_accessible(*file_)) segment_ = file_;
        take();
    }

    /// The anonymous mappings before `end` that are .bss, or that fill the space up to a file
    /// mapping (text that was moved to huge pages).
    void take_anonymous(std::size_t end, bool file_follows) {
        std::size_t touching = next_;
        while (touching < end && touch(*rest_[touching - 1], *rest_[touching])) ++touching;
        const bool filled = file_follows && touching == end && touch(*rest_[end - 1], *rest_[end]);
        while (next_ < touching && (filled || may_be_bss(*rest_[next_]))) take();
    }

    /// Code that a JIT has put right behind a module is not the module's.
    bool may_be_bss(const Mapping& mapping) const {
        return file_->writable && mapping.writable && mapping.executable == file_->executable;
    }

    void take_heap() {
        if (next_ == rest_.size() || rest_[next_]->path != "[heap]") return;
        if (rest_[next_ - 1] == file_ && file_->writable && touch(*file_, *rest_[next_])) take();
    }

    bool continues(std::size_t index) const {
        const Mapping& mapping = *rest_[index];
        if (!is_file(mapping) || !same_file(*file_, mapping)) return false;
        // Anonymous memory between two mappings of the file (.bss, not taken yet) does not part
        // them.
        const bool touches = touch(*rest_[index - 1], mapping);
        if (!is_accessible(mapping)) return touches;
        if (segment_ == nullptr) return mapping.offset.value != 0;
        if (mapping.offset == segment_->offset) {
            // Two segments that share a page of the file. At offset 0 that is a file of less than a
            // page.
            const bool shares_page = !(mapping.executable && segment_->executable);
            if (mapping.offset.value != 0) return shares_page;
            return shares_page && touches && segment_->executable;
        }
        return mapping.offset > segment_->offset;
    }

    std::span<const Mapping* const> rest_;
    std::size_t next_ = 0;
    std::vector<Mapping> mappings_;
    const Mapping* file_ = nullptr;     // The last file mapping taken.
    const Mapping* segment_ = nullptr;  // The last accessible one.
};

/// Whether `mapping` lies inside the pages of `segment`'s part of the file, as a loader's mapping
/// does.
bool maps_part_of(const Mapping& mapping, const LoadSegment& segment) {
    const auto end = checked_add(segment.offset.value, segment.file_size);
    const auto past_end = end ? checked_add(*end, kPageSize - 1) : std::nullopt;
    if (segment.file_size == 0 || !past_end) return false;
    const std::uint64_t first_page = segment.offset.value / kPageSize * kPageSize;
    const std::uint64_t last_page = *past_end / kPageSize * kPageSize;
    return mapping.offset.value >= first_page && mapping.offset.value <= last_page &&
           mapping.range.size() <= last_page - mapping.offset.value;
}

}  // namespace

std::vector<Module> group_modules(const std::vector<Mapping>& mappings) {
    const std::vector<const Mapping*> ordered = put_in_order(mappings);
    std::vector<Module> modules;
    for (std::span<const Mapping* const> rest(ordered); !rest.empty();) {
        if (!is_file(*rest.front())) {
            rest = rest.subspan(1);
            continue;
        }
        ModuleCollector collector(rest);
        rest = rest.subspan(collector.collect());
        modules.push_back(collector.finish());
    }
    return modules;
}

std::optional<std::uint64_t> compute_bias(const ElfImage& image,
                                          std::span<const Mapping> mappings) {
    // Neighbouring segments may share a page of the file, so that one mapping can be read as a part
    // of either; the mappings of a module agree on one bias only when each is taken for what it is.
    std::map<std::uint64_t, unsigned> votes;
    const auto segments = image.load_segments();
    for (const Mapping& mapping : mappings.first(std::min(mappings.size(), kMaxMappings))) {
        if (!is_file(mapping)) continue;
        for (const LoadSegment& segment : segments.first(std::min(segments.size(), kMaxSegments))) {
            if (!maps_part_of(mapping, segment)) continue;
            const std::uint64_t bias = mapping.range.begin.value - mapping.offset.value +
                                       segment.offset.value - segment.address;
            if (bias % kPageSize != 0) continue;
            const bool at_start =
                mapping.offset.value == segment.offset.value / kPageSize * kPageSize;
            const bool same_kind = mapping.executable == segment.executable;
            votes[bias] += 1 + (at_start ? 2 : 0) + (same_kind ? 1 : 0);
        }
    }
    const auto best =
        std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
    if (best == votes.end()) return std::nullopt;
    return best->first;
}

const Mapping* find_mapping(std::span<const Mapping> mappings, RemoteAddr address) {
    const auto after = std::ranges::upper_bound(
        mappings, address, {}, [](const Mapping& mapping) { return mapping.range.begin; });
    if (after == mappings.begin() || !std::prev(after)->range.contains(address)) return nullptr;
    return &*std::prev(after);
}

const Module* find_module(std::span<const Module> modules, RemoteAddr address) {
    const auto after = std::ranges::upper_bound(
        modules, address, {}, [](const Module& module) { return module.range().begin; });
    if (after == modules.begin()) return nullptr;
    const Module& module = *std::prev(after);
    return find_mapping(module.mappings, address) != nullptr ? &module : nullptr;
}

}  // namespace pystack::elf
