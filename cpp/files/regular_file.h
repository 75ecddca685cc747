#pragma once

#include <string>

#include "base/result.h"
#include "files/file_descriptor.h"

namespace pystack::files {

// All errors of this folder are kSystem with an errno in Error::size and the reason in
// Error::detail ("Permission denied", "not a regular file").

/// An Error for an errno, and one with a reason of its own.
Error refusal(int number);
Error refusal(int number, const char* reason);

/// Opens a file for reading that the tool's user named, with the caller's rights. Opening a device
/// can do something and opening a pipe can wait, so only regular files are opened.
Result<FileDescriptor> open_named(const std::string& path);

/// Opens a file for reading that a process runs or maps: `link` is /proc/PID/exe, or one of
/// /proc/PID/map_files. These lead to the file itself, whatever its path means by now. The process
/// had the right to read it when it mapped it, so the caller's rights give away nothing.
Result<FileDescriptor> open_mapped(const std::string& link);

/// Opens for reading what `place` is a descriptor of, from open() with O_PATH: only a regular file,
/// and not on a file system whose files the kernel makes up (procfs, sysfs and the like), since
/// reading those can tell secrets or do something. Nothing else can be put in its place between the
/// check and the opening.
Result<FileDescriptor> open_place(const FileDescriptor& place);

}  // namespace pystack::files
