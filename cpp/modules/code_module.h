#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/work_limits.h"
#include "elf/elf_image.h"
#include "elf/module_map.h"
#include "memory/memory_reader.h"

namespace pystack::modules {

/// A file with code, loaded at one place. What is learned of it stays valid after it is unloaded
/// and after the target has ended, so names can be looked up late. Immutable.
class CodeModule {
  public:
    /// `module` has its image.
    explicit CodeModule(const elf::Module& module);
    /// Of a module whose file cannot be had, or that has none (the vDSO): put together from what
    /// the target has in memory. Null when there is no ELF file at `range.begin`, and when `limits`
    /// refuse the copy.
    static std::shared_ptr<const CodeModule> from_memory(const memory::MemoryReader& memory,
                                                         RemoteRange range, std::string path,
                                                         WorkLimits* limits = nullptr);

    /// Of an ELF file that is nowhere but in `bytes`, with what it loads.
    static std::shared_ptr<const CodeModule> from_bytes(std::vector<std::byte> bytes,
                                                        std::vector<elf::LoadSegment> segments,
                                                        std::string path);

    const std::string& path() const { return path_; }
    bool deleted() const { return deleted_; }
    /// As lower-case hex; empty when there is none.
    const std::string& build_id() const { return build_id_; }
    std::uint64_t bias() const { return bias_; }
    /// The address as in the file's headers.
    std::uint64_t file_address(RemoteAddr address) const { return address.value - bias_; }

    /// See ElfImage::is_torn.
    bool is_torn() const { return image_ != nullptr && image_->is_torn(); }
    /// The whole file; of a module from memory only its headers and segments.
    std::span<const std::byte> bytes() const { return bytes_; }
    std::span<const elf::LoadSegment> segments() const { return segments_; }
    /// The bytes loaded at `file_address` and behind it, to the end of their segment.
    std::span<const std::byte> bytes_at(std::uint64_t file_address) const;

  private:
    CodeModule() = default;

    std::string path_;
    bool deleted_ = false;
    std::string build_id_;
    std::uint64_t bias_ = 0;
    std::span<const std::byte> bytes_;
    std::vector<elf::LoadSegment> segments_;
    std::shared_ptr<const elf::ElfImage> image_;  // Owns bytes_, or:
    std::vector<std::byte> copy_;
};

}  // namespace pystack::modules
