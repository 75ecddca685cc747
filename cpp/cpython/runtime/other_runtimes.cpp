#include "cpython/runtime/other_runtimes.h"

#include <algorithm>

#include "cpython/layout/version_guesses.h"

namespace pystack::cpython {

std::vector<std::string> other_runtimes(const target::Target& target, const Runtime& read) {
    std::vector<std::string> found;
    auto modules = target.modules();
    if (!modules) return found;
    const std::string program = target.executable().value_or("");
    std::vector<RemoteAddr> known{read.interpreters_head};
    for (elf::Module& module : *modules) {
        if (!is_interpreter_name(module.path) && module.path != program) continue;
        const auto other = runtime_of_file(target, module);
        // A program can share the variable of its library.
        if (!other || std::ranges::find(known, other->interpreters_head) != known.end()) continue;
        known.push_back(other->interpreters_head);
        found.push_back("CPython " + other->version_text() + " (" + other->binary + ")");
    }
    return found;
}

}  // namespace pystack::cpython
