# What the tests of cpp/ and the fuzzers share is included as "support/...".
include_guard(GLOBAL)
include(${CMAKE_CURRENT_LIST_DIR}/Packages.cmake)
find_path(DOCTEST_INCLUDE_DIR doctest/doctest.h)
pystack_require(doctest-dev doctest-devel DOCTEST_INCLUDE_DIR)
set(support_root ${CMAKE_BINARY_DIR}/include/tests)
file(MAKE_DIRECTORY ${support_root})
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/tests/cpp/support ${support_root}/support SYMBOLIC)

add_library(pystack_test_support INTERFACE)
target_include_directories(pystack_test_support INTERFACE ${support_root})
target_include_directories(pystack_test_support SYSTEM INTERFACE ${DOCTEST_INCLUDE_DIR})
