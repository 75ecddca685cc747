# elfutils, linked statically where the system has the archives (Debian's libelf-dev has), so that the
# extension needs nothing at run time. pystack_elfutils is the target to link.
find_path(ELFUTILS_INCLUDE_DIR gelf.h REQUIRED)
find_library(ELFUTILS_LIBELF NAMES libelf.a elf REQUIRED)
find_library(ELFUTILS_ZLIB NAMES z REQUIRED)

add_library(pystack_elfutils INTERFACE)
target_include_directories(pystack_elfutils SYSTEM INTERFACE ${ELFUTILS_INCLUDE_DIR})
target_link_libraries(pystack_elfutils INTERFACE ${ELFUTILS_LIBELF} ${ELFUTILS_ZLIB})
if(ELFUTILS_LIBELF MATCHES "\\.a$")
  # libelf.a of newer elfutils uses zstd for compressed sections.
  find_library(ELFUTILS_ZSTD NAMES zstd)
  if(ELFUTILS_ZSTD)
    target_link_libraries(pystack_elfutils INTERFACE ${ELFUTILS_ZSTD})
  endif()
endif()
