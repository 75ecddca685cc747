#pragma once

#include <string>

#include "base/result.h"
#include "files/file_descriptor.h"

namespace pystack::files {

/// Opens files for reading by names that the tool's user did not choose: only regular files, none
/// that the kernel makes up, with the rights and below the root that the chooser of the name has.
/// Thread-safe.
class FileOpener {
  public:
    virtual ~FileOpener() = default;
    /// kSystem, with an errno in Error::size, if there is none or it may not be opened.
    virtual Result<FileDescriptor> open(const std::string& path) const = 0;
};

}  // namespace pystack::files
