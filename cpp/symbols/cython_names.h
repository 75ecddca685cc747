#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pystack::symbols {

/// The dotted name in Python of a function that Cython has translated to C, by its C name:
/// "pkg.mod.Class.method" for "__pyx_pw_3pkg_3mod_5Class_1method". nullopt for other names, and for
/// those that can be read in more than one way.
std::optional<std::string> cython_name(std::string_view symbol);

}  // namespace pystack::symbols
