#include "waits/descriptor_names.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

using namespace pystack;
using namespace pystack::waits;
using model::WaitKind;

namespace {

/// The name of one that is there.
DescriptorNames::Name name_of(DescriptorNames& names, int fd) {
    const auto name = names.find(fd);
    REQUIRE(name);
    return *name;
}

struct Socket {
    explicit Socket(int made) : fd(made) { REQUIRE(fd >= 0); }
    ~Socket() { ::close(fd); }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    const int fd;
};

}  // namespace

TEST_CASE("the peer of a socket") {
    CHECK(peer_of("TCP 127.0.0.1:8080 -> 10.0.0.5:5432, ESTABLISHED") == "10.0.0.5:5432");
    CHECK(peer_of("TCP [::1]:80, LISTEN") == "[::1]:80");
    CHECK(peer_of("UDP 127.0.0.1:53") == "127.0.0.1:53");
    CHECK(peer_of("UDP 127.0.0.1:53 -> 1.2.3.4:5") == "1.2.3.4:5");
    CHECK(peer_of("unix socket /run/my, app -> x.sock") == "/run/my, app -> x.sock");
    CHECK(peer_of("unix socket").empty());
    CHECK(peer_of("").empty());
}

TEST_CASE("what descriptors are, of sockets at the second look") {
    int pipes[2];
    REQUIRE(::pipe(pipes) == 0);
    const Socket reader(pipes[0]);
    const Socket writer(pipes[1]);
    const Socket null(::open("/dev/null", O_RDONLY));
    const Socket server(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(server.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(server.fd, 1) == 0);
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(server.fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);

    DescriptorNames names(::getpid());
    CHECK(name_of(names, reader.fd).kind == WaitKind::kPipe);
    CHECK(name_of(names, null.fd).text == "/dev/null");
    CHECK_FALSE(names.has_unknown());
    CHECK(name_of(names, server.fd).kind == WaitKind::kSocket);
    CHECK(name_of(names, server.fd).text.empty());
    CHECK(names.has_unknown());
    names.look_up();
    CHECK_FALSE(names.has_unknown());
    CHECK(name_of(names, server.fd).text == "127.0.0.1:" + std::to_string(ntohs(address.sin_port)));
    CHECK_FALSE(names.has_unknown());
    CHECK_FALSE(names.find(-1));
}
