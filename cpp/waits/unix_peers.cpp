#include "waits/unix_peers.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <limits>
#include <span>

#include "files/file_descriptor.h"

namespace pystack::waits {

namespace {

struct Question {
    ::nlmsghdr header;
    ::unix_diag_req body;
};

bool ask(int netlink, std::uint32_t inode) {
    constexpr std::uint32_t kAnyCookie = std::numeric_limits<std::uint32_t>::max();
    Question question{};
    question.header.nlmsg_len = sizeof question;
    question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    question.header.nlmsg_flags = NLM_F_REQUEST;
    question.body.sdiag_family = AF_UNIX;
    question.body.udiag_states = std::numeric_limits<std::uint32_t>::max();
    question.body.udiag_ino = inode;
    question.body.udiag_show = UDIAG_SHOW_PEER;
    question.body.udiag_cookie[0] = kAnyCookie;
    question.body.udiag_cookie[1] = kAnyCookie;
    return ::send(netlink, &question, sizeof question, 0) == sizeof question;
}

/// The attribute UNIX_DIAG_PEER of the answer.
std::optional<std::uint64_t> parse_answer(std::span<const std::byte> bytes) {
    const auto read = [&](std::size_t at, auto& value) {
        if (at > bytes.size() || bytes.size() - at < sizeof value) return false;
        std::memcpy(&value, bytes.data() + at, sizeof value);
        return true;
    };
    ::nlmsghdr header{};
    if (!read(0, header) || header.nlmsg_type != SOCK_DIAG_BY_FAMILY) return std::nullopt;
    std::size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(::unix_diag_msg));
    ::rtattr attribute{};
    while (read(at, attribute) && attribute.rta_len >= sizeof attribute) {
        std::uint32_t peer = 0;
        if (attribute.rta_type == UNIX_DIAG_PEER && read(at + sizeof attribute, peer)) return peer;
        at += RTA_ALIGN(attribute.rta_len);
    }
    return std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> unix_peer(std::uint64_t socket) {
    const auto inode = static_cast<std::uint32_t>(socket);
    if (inode != socket) return std::nullopt;
    const files::FileDescriptor netlink(
        ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!netlink || !ask(netlink.get(), inode)) return std::nullopt;
    // The answer is there once the question is sent.
    alignas(::nlmsghdr) std::array<std::byte, 4096> answer;
    const ssize_t size = ::recv(netlink.get(), answer.data(), answer.size(), MSG_DONTWAIT);
    if (size <= 0) return std::nullopt;
    return parse_answer(std::span(answer).first(static_cast<std::size_t>(size)));
}

}  // namespace pystack::waits
