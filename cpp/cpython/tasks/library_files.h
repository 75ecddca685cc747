#pragma once

#include <string_view>

namespace pystack::cpython {

/// Whether `path` is the file of a library that is `file` below the folder of its packages, as
/// "asyncio/tasks.py".
inline bool is_library_file(std::string_view path, std::string_view file) {
    if (!path.ends_with(file)) return false;
    path.remove_suffix(file.size());
    return path.empty() || path.ends_with('/');
}

}  // namespace pystack::cpython
