#pragma once

#include <unistd.h>

#include <array>
#include <string>

#include "base/result.h"
#include "files/file_descriptor.h"

/// The first bytes of a file that was opened, or why it was not.
inline std::string text_of(const pystack::Result<pystack::files::FileDescriptor>& file) {
    if (!file) return "(" + file.error().detail + ")";
    std::array<char, 64> text;
    const ssize_t size = ::pread(file->get(), text.data(), text.size(), 0);
    return size < 0 ? "(unreadable)" : std::string(text.data(), static_cast<std::size_t>(size));
}
