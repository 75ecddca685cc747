#include "waits/kernel_stack.h"

#include <doctest/doctest.h>

using namespace pystack::waits;

TEST_CASE("functions of a kernel stack") {
    using Names = std::vector<std::string>;
    CHECK(parse_kernel_stack("[<0>] kernel_clone+0x1af/0x3e0\n[<0>] do_syscall_64+0x71/0x280\n") ==
          Names{"kernel_clone", "do_syscall_64"});
    CHECK(parse_kernel_stack("[<ffffffff8110c2e9>] wait+0x1/0x2 [fuse]\n") == Names{"wait"});
    CHECK(parse_kernel_stack("").empty());
    CHECK(parse_kernel_stack("\n\nabc\n[<0>]\n").empty());
}
