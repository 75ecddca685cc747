#include "target/core_modules.h"

#include <algorithm>
#include <map>
#include <memory>

#include "base/checked.h"
#include "base/pages.h"
#include "base/text.h"
#include "target/module_identity.h"

namespace pystack::target {

namespace {

/// In hexadecimal digits. The linkers' own have 16 or 20 bytes.
constexpr std::size_t kHardToGuessBuildId = 32;

/// This part of the memory limit may go to modules.
constexpr std::uint64_t kModulesShare = 8;
/// About what a module takes besides its path, here and in the snapshot. Its path has two copies.
constexpr std::uint64_t kModuleBytes = 2048;
/// Of looking for a file in one place.
constexpr std::uint64_t kStepsPerFile = 1000;

/// Opened files by path and door: a file that is mapped twice is opened once, and one that cannot
/// be opened is not tried again.
class ImageCache {
  public:
    explicit ImageCache(WorkLimits& limits) : limits_(limits), share_(limits, kModulesShare) {}

    /// Null, too, for what the limits refuse.
    std::shared_ptr<const elf::ElfImage> open(const FileCandidate& candidate) {
        const Key key(candidate.path, candidate.door.get());
        if (const auto known = images_.find(key); known != images_.end()) return known->second;
        if (!limits_.charge_steps(kStepsPerFile) ||
            !share_.charge(kEntryBytes + candidate.path.size()))
            return nullptr;
        const auto [entry, is_new] = images_.try_emplace(key);
        const auto file = candidate.open();
        if (!file) return nullptr;
        if (!share_.charge(elf::ElfImage::kBytes)) return nullptr;
        if (auto image = elf::ElfImage::read(*file, candidate.path)) entry->second = *image;
        return entry->second;
    }

  private:
    using Key = std::pair<std::string, const files::FileOpener*>;
    static constexpr std::uint64_t kEntryBytes = 128;

    WorkLimits& limits_;
    LimitsShare share_;
    std::map<Key, std::shared_ptr<const elf::ElfImage>> images_;
};

class ModuleOpener {
  public:
    ModuleOpener(const memory::MemoryReader& core_memory, FileSearch search,
                 std::vector<elf::SharedPath> wanted, const files::FileRights& rights,
                 WorkLimits& limits)
        : core_memory_(core_memory),
          finder_(std::move(search), std::move(wanted), rights),
          images_(limits) {}

    /// Sets the module's image if there is one. nullopt when the module is no ELF file.
    std::optional<ModuleReport> open(elf::Module& module,
                                     const std::optional<std::string>& first_choice) {
        const ModuleIdentity identity = identify(core_memory_, module);
        ModuleReport report{.path = module.path,
                            .deleted = module.deleted,
                            .range = module.range(),
                            .found_path = {},
                            .core_build_id = identity.build_id,
                            .file_build_id = {}};
        if (!identity.headers.empty() && !identity.is_elf) return std::nullopt;
        const bool has_code = std::any_of(module.mappings.begin(), module.mappings.end(),
                                          [](const elf::Mapping& m) { return m.executable; });
        const bool is_program = identity.is_elf || has_code || first_choice ||
                                base_name(module.path).find(".so") != std::string_view::npos;
        bool found = first_choice && try_file({.path = *first_choice}, identity, module, report);
        for (std::size_t i = 0; !found && !module.path.is_cut(); ++i) {
            // Data files are not worth a walk over a whole root.
            if (i > 0 && !is_program) break;
            const auto candidate = finder_.candidate(module.path, i);
            if (!candidate) break;
            found = try_file(*candidate, identity, module, report);
        }
        if (!found && !is_program) return std::nullopt;
        return report;
    }

  private:
    bool try_file(const FileCandidate& candidate, const ModuleIdentity& identity,
                  elf::Module& module, ModuleReport& report) {
        const std::string& path = candidate.path;
        const auto image = images_.open(candidate);
        if (!image) return false;
        const Match result = match(identity, *image);
        const bool is_known =
            result == Match::kSame && image->build_id().size() >= kHardToGuessBuildId;
        if (candidate.must_be_known && !is_known) return false;
        const auto bias = elf::compute_bias(*image, module.mappings);
        // A file that does not fit the mappings is another version, unless it is known to be the
        // right one: then somebody has mapped a part of it to read it.
        const auto earlier = accepted_.find(path);
        const bool is_part = identity.headers.empty() && earlier != accepted_.end();
        const bool accepted =
            result == Match::kSame || is_part || (result == Match::kLikely && bias);
        if (!accepted) {
            if (report.status == ModuleStatus::kMissing) {
                report.status = ModuleStatus::kMismatched;
                report.found_path = path;
                report.file_build_id = image->build_id();
            }
            return false;
        }
        report.status = ModuleStatus::kFound;
        report.found_path = path;
        report.file_build_id = image->build_id();
        report.verified = is_part ? earlier->second : result == Match::kSame;
        if (!identity.headers.empty()) accepted_.emplace(path, report.verified);
        module.image = image;
        module.bias = bias.value_or(0);
        return true;
    }

    const memory::MemoryReader& core_memory_;
    FileFinder finder_;
    ImageCache images_;
    std::map<std::string, bool>
        accepted_;  // Files that have the headers of a module: is the build id equal?
};

/// The .bss of a module: zeros, where the core has no pages for it because nobody ever wrote to
/// them.
void add_zeros(const elf::Module& module, std::vector<memory::Region>& regions) {
    for (const elf::LoadSegment& segment : module.image->load_segments()) {
        if (!segment.writable || segment.memory_size <= segment.file_size) continue;
        const auto file_end = checked_add(segment.address, segment.file_size);
        const auto memory_end = checked_add(segment.address, segment.memory_size);
        if (!file_end || !memory_end) continue;
        const RemoteRange bss{RemoteAddr{page_end(*file_end)} + module.bias,
                              RemoteAddr{page_end(*memory_end)} + module.bias};
        for (const elf::Mapping& mapping : module.mappings) {
            if (mapping.path == module.path || !mapping.readable) continue;
            regions.push_back(memory::Region::of_zeros(
                {std::max(mapping.range.begin, bss.begin), std::min(mapping.range.end, bss.end)}));
        }
    }
}

}  // namespace

CoreModules open_modules(const memory::MemoryReader& core_memory, std::vector<elf::Module> modules,
                         std::optional<std::size_t> main_program, FileSearch search,
                         const files::FileRights& rights, WorkLimits& limits) {
    LimitsShare share(limits, kModulesShare);
    const auto fits = [&](const elf::Module& module) {
        return share.charge(kModuleBytes + 2 * module.path.size());
    };
    // Real programs have no long names: those must not crowd out the others.
    std::vector<bool> kept(modules.size());
    for (const bool is_long : {false, true}) {
        for (std::size_t i = 0; i < modules.size(); ++i) {
            if (modules[i].path.is_long() == is_long) kept[i] = fits(modules[i]);
        }
    }
    const auto all = modules.size();
    std::vector<elf::Module> chosen;
    std::optional<std::size_t> chosen_main;
    for (std::size_t i = 0; i < all; ++i) {
        if (!kept[i]) continue;
        if (main_program == i) chosen_main = chosen.size();
        chosen.push_back(std::move(modules[i]));
    }
    main_program = chosen_main;
    modules = std::move(chosen);
    const std::size_t refused = all - modules.size();

    std::vector<elf::SharedPath> wanted;
    wanted.reserve(modules.size());
    for (const elf::Module& module : modules) wanted.push_back(module.path);
    const std::optional<std::string> executable = search.executable;
    ModuleOpener opener(core_memory, std::move(search), std::move(wanted), rights, limits);

    CoreModules result{.modules = std::move(modules), .reports = {}, .refused = refused};
    for (std::size_t i = 0; i < result.modules.size() && !limits.cancelled(); ++i) {
        const bool is_main = main_program == i;
        auto report = opener.open(result.modules[i], is_main ? executable : std::nullopt);
        if (report) result.reports.push_back(*std::move(report));
    }
    return result;
}

bool is_never_written(const elf::Mapping& mapping) {
    return !mapping.path.empty() && !mapping.writable &&
           (mapping.executable || mapping.offset.value == 0);
}

std::vector<memory::Region> file_regions(const std::vector<elf::Module>& modules,
                                         bool written_pages_dumped) {
    std::vector<memory::Region> regions;
    for (const elf::Module& module : modules) {
        if (!module.image) continue;
        const auto file = module.image->bytes();
        for (const elf::Mapping& mapping : module.mappings) {
            if (mapping.path != module.path || !mapping.readable) continue;
            if (!written_pages_dumped && !is_never_written(mapping)) continue;
            if (mapping.offset.value >= file.size()) continue;
            const std::uint64_t size =
                std::min<std::uint64_t>(mapping.range.size(), file.size() - mapping.offset.value);
            regions.push_back(memory::Region::of_bytes(
                mapping.range.begin, file.subspan(mapping.offset.value, size), module.image));
            // The rest of the file's last page reads as zeros; pages behind it cannot be read.
            regions.push_back(memory::Region::of_zeros(
                {mapping.range.begin + size,
                 std::min(mapping.range.end, mapping.range.begin + page_end(size))}));
        }
        if (written_pages_dumped) add_zeros(module, regions);
    }
    return regions;
}

}  // namespace pystack::target
