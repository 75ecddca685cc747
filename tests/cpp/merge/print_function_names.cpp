// For each pid on stdin, one line: what the C functions of that process's interpreter are called by
// its own tables, where a native stack shows that name, and by their symbols: "name=symbol", with
// tabs between them. For tests/differential.

#include <iostream>
#include <string>
#include <vector>

#include "cpython/objects/function_names.h"
#include "cpython/runtime/interpreter_walker.h"
#include "cpython/runtime/runtime_locator.h"
#include "merge/native_names.h"
#include "modules/code_map.h"
#include "target/live_target.h"

using namespace pystack;

namespace {

bool print_names(pid_t pid) {
    const auto target = target::LiveTarget::open(pid);
    if (!target) return false;
    const auto runtime = cpython::locate_runtime(**target, {});
    modules::CodeMap map(**target);
    if (!runtime || !map.update()) return false;
    const cpython::WalkedInterpreters walked =
        cpython::walk_interpreters((*target)->memory(), *runtime);
    std::vector<RemoteAddr> interpreters;
    for (const auto& one : walked.interpreters) interpreters.push_back(one.address);
    const auto functions =
        cpython::read_function_names((*target)->memory(), runtime->layout, interpreters);
    merge::NativeNames names(*runtime, map, {});
    names.use(functions);
    for (const auto& [function, name] : functions) {
        const modules::CodeMap::Area* const area = map.find(function);
        if (area == nullptr || area->module == modules::kNoModule) continue;
        std::vector<model::Frame> frames;
        names.append({.pc = function, .sp = {}, .module = area->module, .is_activation = true},
                     false, frames);
        const model::NativeDetails& shown = *frames.front().native;
        if (shown.python_name.empty() || shown.symbol.empty()) continue;
        std::cout << shown.python_name << '=' << shown.symbol << '\t';
    }
    std::cout << std::endl;
    return true;
}

}  // namespace

int main() {
    for (std::string line; std::getline(std::cin, line);) {
        if (!print_names(std::stoi(line))) return 1;
    }
    return 0;
}
