#pragma once

#include <string>
#include <string_view>

namespace pystack::symbols {

/// A symbol in the words of its source.
struct ReadableName {
    std::string full;        ///< C++: with parameters and template arguments.
    std::string short_name;  ///< Without them, and without what compilers add to clones (".cold",
                             ///< ".part.0").
};

/// C++ (Itanium ABI), Rust (legacy and v0), Cython; anything else stays as it is. Names too long to
/// be demangled safely stay so too. The text can hold any bytes: whoever prints it escapes it.
ReadableName demangle(std::string_view symbol);

/// A demangled C++ name without return type, parameters, and template arguments.
std::string shorten_cpp(std::string_view name);

}  // namespace pystack::symbols
