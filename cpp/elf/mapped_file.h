#pragma once

#include <cstddef>
#include <optional>
#include <span>

namespace pystack::elf {

/// A file mapped for reading, which its owner may cut short at any time. Reading a page that is
/// gone raises SIGBUS; the first mapping of the process therefore installs a handler that puts
/// zeros in the place of the missing pages, and marks the mapping as torn. Every other SIGBUS goes
/// to the handler that was installed before. A handler that is installed later than ours and does
/// not call the one before it takes that protection away.
///
/// Reading costs nothing extra. Thread-safe, except that a mapping must outlive its readers.
class MappedFile {
  public:
    MappedFile() = default;
    /// Maps the first `size` bytes of the file (more than none). nullopt, with errno set, if the
    /// kernel refuses. The descriptor may be closed afterwards.
    static std::optional<MappedFile> map(int descriptor, std::size_t size);
    ~MappedFile();
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;

    std::span<const std::byte> bytes() const { return bytes_; }
    /// Gives back the memory of a part of bytes(): its pages are read from the file again when they
    /// are needed. Nothing happens to memory that is not of a mapped file.
    static void release(std::span<const std::byte> part);
    /// Whether somebody has read what the file no longer had, so that a part of what was read of it
    /// was zeros.
    bool is_torn() const;

    struct Guard;  ///< The mapping's entry in the handler's table.

  private:
    MappedFile(std::span<const std::byte> bytes, Guard* guard) : bytes_(bytes), guard_(guard) {}

    std::span<const std::byte> bytes_;
    Guard* guard_ = nullptr;
};

}  // namespace pystack::elf
