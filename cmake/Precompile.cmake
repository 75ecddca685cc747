include_guard(GLOBAL)

# Gives the target the standard headers that most sources include, already compiled: for the C++ tests, which are many.
# With the optimisation of a release, g++ 12 warns of these headers then. The first target that asks makes them
# for those that follow, which must have the same compiler options: one owner for libraries, one for programs.
function(pystack_precompile target owner)
  if(NOT PYSTACK_PRECOMPILE)
    return()
  endif()
  if(NOT target STREQUAL owner)
    target_precompile_headers(${target} REUSE_FROM ${owner})
    return()
  endif()
  target_precompile_headers(
    ${target}
    PRIVATE
    <algorithm>
    <array>
    <charconv>
    <chrono>
    <cstdint>
    <cstring>
    <expected>
    <functional>
    <map>
    <memory>
    <mutex>
    <optional>
    <span>
    <string>
    <string_view>
    <thread>
    <unordered_map>
    <unordered_set>
    <utility>
    <vector>
    ${ARGN})
endfunction()
