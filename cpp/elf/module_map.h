#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "elf/elf_image.h"
#include "elf/shared_path.h"

namespace pystack::elf {

/// One mapping of the target, from /proc/PID/maps or a core's NT_FILE note.
struct Mapping {
    RemoteRange range;
    FileOffset offset;
    std::uint64_t inode = 0;
    std::uint64_t device = 0;  ///< As makedev() builds it, so it compares with st_dev.
    bool readable = false;
    bool writable = false;
    bool executable = false;
    /// As the kernel prints it, with its \012 for a newline decoded and without " (deleted)"; names
    /// that are no files ("[heap]", "[vdso]", "anon_inode:...") included. Empty for anonymous
    /// memory. What is longer than SharedPath::kMaxSize is cut.
    SharedPath path;
    /// " (deleted)" was cut off. The text does not tell an unlinked file from a living one whose
    /// own name ends so: who opens the file compares device and inode.
    bool deleted = false;
};

/// The mappings of one file loaded at one bias. The same file mapped twice gives two modules.
struct Module {
    SharedPath path;
    bool deleted = false;
    std::vector<Mapping> mappings;          ///< By rising address; never empty.
    std::shared_ptr<const ElfImage> image;  ///< Null when the file cannot be opened or is not ELF.
    std::uint64_t bias = 0;  ///< Target address = address in the file's headers + bias.

    RemoteRange range() const { return {mappings.front().range.begin, mappings.back().range.end}; }
};

/// Groups file mappings into modules, which come by rising address and do not overlap. `image` and
/// `bias` are left for who opens the files. The mappings may come in any order; one that overlaps
/// an earlier one (only a hostile core has that) is dropped.
///
/// Consecutive mappings of the same (device, inode, path) whose offsets do not fall are one module;
/// a mapping of offset 0 starts a new one. Also part of the module, where they touch it without a
/// gap:
/// - the dynamic linker's inaccessible mappings between segments;
/// - anonymous memory between two of its mappings: text moved to huge pages;
/// - anonymous memory directly behind a writable mapping: its .bss. Without address randomisation
/// the
///   kernel prints the .bss of an executable as part of "[heap]"; it counts as well. Where other
///   memory happens to follow at once, this takes that in too: the end of .bss is in the image's
///   segments.
std::vector<Module> group_modules(const std::vector<Mapping>& mappings);

/// Where `image` was loaded, from the mappings of one module (target address = address in the file
/// + bias). nullopt when no mapping is one that a loader would make of one of the file's segments:
/// data files, an executable that somebody maps whole to read it, or another version of the file
/// than the mapped one.
///
/// A few pages mapped out of the middle of a segment (libffi's trampolines) do have a bias, and
/// code in them is found by it; that the rest of the file is loaded there as well does not follow.
std::optional<std::uint64_t> compute_bias(const ElfImage& image, std::span<const Mapping> mappings);

/// The mapping that holds `address`, or null. `mappings` are by rising address, as parse_maps gives
/// them.
const Mapping* find_mapping(std::span<const Mapping> mappings, RemoteAddr address);

/// The module with a mapping that holds `address`, or null. `modules` are as group_modules gives
/// them.
const Module* find_module(std::span<const Module> modules, RemoteAddr address);

}  // namespace pystack::elf
