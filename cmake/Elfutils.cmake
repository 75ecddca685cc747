# elfutils. pystack_elfutils is the target to link: libdw, libelf, and liblzma (.gnu_debugdata).
#
# The static archives are taken where they can become part of a shared object. Distributions build libdw.a for
# executables only (its thread-local error number is addressed that way); then it is the shared
# library, which a wheel carries along.
find_path(ELFUTILS_INCLUDE_DIR elfutils/libdw.h REQUIRED)
find_path(ELFUTILS_LZMA_INCLUDE_DIR lzma.h REQUIRED)

find_library(ELFUTILS_STATIC_LIBDW NAMES libdw.a)
find_library(ELFUTILS_STATIC_LIBELF NAMES libelf.a)
find_library(ELFUTILS_LZMA NAMES lzma REQUIRED)
find_library(ELFUTILS_BZ2 NAMES bz2)
find_library(ELFUTILS_ZLIB NAMES z)
find_library(ELFUTILS_ZSTD NAMES zstd)  # Newer elfutils: compressed sections.

if(ELFUTILS_STATIC_LIBDW AND ELFUTILS_STATIC_LIBELF AND ELFUTILS_BZ2 AND ELFUTILS_ZLIB
   AND NOT DEFINED ELFUTILS_STATIC_USABLE)
  set(elfutils_probe ${CMAKE_BINARY_DIR}/elfutils_probe)
  file(WRITE ${elfutils_probe}/probe.cpp
       "#include <elfutils/libdw.h>\nvoid* probe(Elf* elf) { return dwarf_getcfi_elf(elf); }\n")
  file(
    WRITE ${elfutils_probe}/CMakeLists.txt
    "cmake_minimum_required(VERSION 3.25)\nproject(probe CXX)\nset(CMAKE_POSITION_INDEPENDENT_CODE ON)\n"
    "add_library(probe SHARED probe.cpp)\ntarget_include_directories(probe PRIVATE ${ELFUTILS_INCLUDE_DIR})\n"
    "target_link_libraries(probe PRIVATE ${ELFUTILS_STATIC_LIBDW} ${ELFUTILS_STATIC_LIBELF} ${ELFUTILS_LZMA}\n"
    "  ${ELFUTILS_BZ2} ${ELFUTILS_ZLIB})\n"
    "if(EXISTS \"${ELFUTILS_ZSTD}\")\n  target_link_libraries(probe PRIVATE ${ELFUTILS_ZSTD})\nendif()\n")
  try_compile(ELFUTILS_STATIC_USABLE ${elfutils_probe}/build ${elfutils_probe} probe)
endif()

add_library(pystack_elfutils INTERFACE)
target_include_directories(pystack_elfutils SYSTEM INTERFACE ${ELFUTILS_INCLUDE_DIR} ${ELFUTILS_LZMA_INCLUDE_DIR})
if(ELFUTILS_STATIC_USABLE)
  target_link_libraries(pystack_elfutils INTERFACE ${ELFUTILS_STATIC_LIBDW} ${ELFUTILS_STATIC_LIBELF}
                                                   ${ELFUTILS_LZMA} ${ELFUTILS_BZ2} ${ELFUTILS_ZLIB})
  if(ELFUTILS_ZSTD)
    target_link_libraries(pystack_elfutils INTERFACE ${ELFUTILS_ZSTD})
  endif()
else()
  find_library(ELFUTILS_LIBDW NAMES dw REQUIRED)
  find_library(ELFUTILS_LIBELF NAMES elf REQUIRED)
  target_link_libraries(pystack_elfutils INTERFACE ${ELFUTILS_LIBDW} ${ELFUTILS_LIBELF} ${ELFUTILS_LZMA})
endif()
