#include "waits/socket_tables.h"

#include <doctest/doctest.h>

using namespace pystack::waits;

TEST_CASE("lines of the tables of sockets") {
    const auto tcp = parse_inet_line(
        "   0: 0100007F:1F90 0500000A:1538 01 00000000:00000000 00:00000000 00000000     0        "
        "0 "
        "4711 1 0000000 20",
        "TCP");
    REQUIRE(tcp);
    CHECK(tcp->inode == 4711);
    CHECK(tcp->text == "TCP 127.0.0.1:8080 -> 10.0.0.5:5432, ESTABLISHED");
    const auto listening = parse_inet_line(
        " 12: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A "
        "00000000:00000000 00:00000000 00000000 0 0 12 1 0",
        "TCP");
    REQUIRE(listening);
    CHECK(listening->text == "TCP [::1]:80, LISTEN");
    const auto udp = parse_inet_line(
        "1: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 5 2 0",
        "UDP");
    REQUIRE(udp);
    CHECK(udp->text == "UDP 127.0.0.1:53");
    const auto named = parse_unix_line(
        "0000000000000000: 00000002 00000000 00010000 0001 01 20345 /run/my app.sock");
    REQUIRE(named);
    CHECK(named->inode == 20345);
    CHECK(named->text == "unix socket /run/my app.sock");
    CHECK(parse_unix_line("0000000000000000: 00000003 00000000 00000000 0001 03 1601")->text ==
          "unix socket");
}

TEST_CASE("what is no such line") {
    for (const char* text :
         {"", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid",
          "0: 0100007F 0100007F:1 01 a b c d e 1", "0: 0100007F:12345 0100007F:1 01 a b c d e 1",
          "0: 0100007X:1 0100007F:1 01 a b c d e 1", "0: 0100007F:1 0100007F:1 01 a b c d e x",
          "0: 0100007F:1 0100007F:1 XX a b c d e 1"}) {
        CHECK_FALSE(parse_inet_line(text, "TCP"));
    }
    CHECK_FALSE(parse_unix_line("Num       RefCount Protocol Flags    Type St Inode Path"));
    CHECK_FALSE(parse_unix_line("1 2 3"));
}
