# What the debug information of ELF files is compressed with. pystack_compression is the target to link: zlib and, if
# it is there, zstd (compressed sections), and liblzma (.gnu_debugdata).
find_path(COMPRESSION_LZMA_INCLUDE_DIR lzma.h REQUIRED)
find_library(COMPRESSION_LZMA NAMES lzma REQUIRED)
find_path(COMPRESSION_ZLIB_INCLUDE_DIR zlib.h REQUIRED)
find_library(COMPRESSION_ZLIB NAMES z REQUIRED)
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
