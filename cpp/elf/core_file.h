#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "elf/core_notes.h"
#include "elf/mapped_file.h"
#include "memory/segment_memory.h"

namespace pystack::elf {

/// One PT_LOAD of a core. The kernel writes one for each mapping and leaves out the bytes of those
/// that the process's coredump_filter excludes or that were never written; gdb writes none for
/// these.
struct CoreSegment {
    RemoteRange range;
    FileOffset offset;
    std::uint64_t dumped = 0;     ///< Leading bytes that the writer meant to put into the core.
    std::uint64_t available = 0;  ///< How many of these the file really has: fewer when it is cut.
    bool readable = false;
    bool writable = false;
    bool executable = false;

    RemoteRange cut_range() const { return {range.begin + available, range.begin + dumped}; }
    /// What has to come from elsewhere, if from anywhere.
    RemoteRange undumped_range() const { return {range.begin + dumped, range.end}; }
};

/// What a cut core lacks, by its own headers.
struct CoreDamage {
    std::uint64_t file_size = 0;
    std::uint64_t expected_size =
        0;  ///< As the headers promise; at most file_size when nothing is missing.
    std::uint64_t missing_bytes = 0;  ///< Of memory.
    std::size_t cut_segments = 0;     ///< Segments with missing bytes.
    std::size_t missing_headers = 0;  ///< Program headers that lie behind the end of the file.
    bool notes_cut = false;           ///< Threads, signal or file names may be missing.

    bool any() const { return cut_segments > 0 || missing_headers > 0 || notes_cut; }
};

/// A core file, memory-mapped: opening it costs its headers and notes, whatever its size.
/// Everything in it is untrusted; what is missing is counted in damage(). Immutable and
/// thread-safe.
class CoreFile : public std::enable_shared_from_this<CoreFile> {
  public:
    /// kNotACore: another kind of file (`detail` says which). kUnsupportedTarget: a core of a
    /// 32-bit, big-endian or foreign machine. kCoreTruncated: so short that neither memory nor a
    /// thread is left. kSystem: it cannot be opened or mapped. Compressed cores are unpacked
    /// before, by the caller. What `limits` refuse is left out and counted.
    static Result<std::shared_ptr<const CoreFile>> open(const std::string& path,
                                                        WorkLimits& limits);
    CoreFile(const CoreFile&) = delete;
    CoreFile& operator=(const CoreFile&) = delete;

    const std::string& path() const { return path_; }
    /// By rising address. Segments of hostile cores can overlap.
    std::span<const CoreSegment> segments() const { return segments_; }
    const CoreNotes& notes() const { return notes_; }
    const CoreDamage& damage() const { return damage_; }
    /// Beyond the limits: neither in segments() nor counted as damage.
    std::size_t refused_segments() const { return refused_segments_; }
    std::int64_t modified_ns() const { return modified_ns_; }  ///< Realtime clock.
    /// Who wrote it, if that can be known: see files::sole_writer.
    std::optional<uid_t> written_by() const { return written_by_; }
    /// Whether the file was cut short while it was read: missing memory read as zeros since then.
    bool is_torn() const { return file_.is_torn(); }

    /// The memory that the core itself holds. Each region keeps this object alive.
    std::vector<memory::Region> regions() const;

  private:
    explicit CoreFile(std::string path) : path_(std::move(path)) {}

    Result<void> map();
    Result<void> check_header() const;
    Result<void> read_program_headers(WorkLimits& limits);
    std::span<const std::byte> bytes_at(FileOffset offset, std::uint64_t size) const;

    std::string path_;
    MappedFile file_;
    std::span<const std::byte> bytes_;  // Of file_.
    std::int64_t modified_ns_ = 0;
    std::optional<uid_t> written_by_;
    std::vector<CoreSegment> segments_;
    CoreNotes notes_;
    CoreDamage damage_;
    std::size_t refused_segments_ = 0;
};

}  // namespace pystack::elf
