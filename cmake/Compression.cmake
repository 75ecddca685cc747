# What the debug information of ELF files is compressed with. pystack_compression is the target to link: zlib and, if
# it is there, zstd (compressed sections), and liblzma (.gnu_debugdata).
include(${CMAKE_CURRENT_LIST_DIR}/Packages.cmake)
find_path(COMPRESSION_LZMA_INCLUDE_DIR lzma.h)
find_library(COMPRESSION_LZMA NAMES lzma)
pystack_require(liblzma-dev xz-devel COMPRESSION_LZMA_INCLUDE_DIR COMPRESSION_LZMA)
find_path(COMPRESSION_ZLIB_INCLUDE_DIR zlib.h)
find_library(COMPRESSION_ZLIB NAMES z)
pystack_require(zlib1g-dev zlib-devel COMPRESSION_ZLIB_INCLUDE_DIR COMPRESSION_ZLIB)
find_path(COMPRESSION_ZSTD_INCLUDE_DIR zstd.h)
find_library(COMPRESSION_ZSTD NAMES zstd)

add_library(pystack_compression INTERFACE)
target_include_directories(pystack_compression SYSTEM INTERFACE ${COMPRESSION_LZMA_INCLUDE_DIR}
                                                                ${COMPRESSION_ZLIB_INCLUDE_DIR})
target_link_libraries(pystack_compression INTERFACE ${COMPRESSION_LZMA} ${COMPRESSION_ZLIB})
if(COMPRESSION_ZSTD_INCLUDE_DIR AND COMPRESSION_ZSTD)
  target_include_directories(pystack_compression SYSTEM INTERFACE ${COMPRESSION_ZSTD_INCLUDE_DIR})
  target_link_libraries(pystack_compression INTERFACE ${COMPRESSION_ZSTD})
  target_compile_definitions(pystack_compression INTERFACE PYSTACK_HAS_ZSTD)
endif()
