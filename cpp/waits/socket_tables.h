#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

namespace pystack::waits {

/// What the tables of /proc/PID/net say of sockets, by inode: "TCP 10.0.0.1:80 -> 10.0.0.5:5432,
/// ESTABLISHED", "UDP 127.0.0.1:53", "unix socket /run/app.sock".
std::unordered_map<std::uint64_t, std::string> find_sockets(pid_t pid,
                                                            std::span<const std::uint64_t> inodes);

/// A socket in a line of such a table.
struct SocketLine {
    std::uint64_t inode = 0;
    std::string text;
};
/// `protocol`: "TCP" or "UDP". nullopt for the heading, and for what is no such line.
std::optional<SocketLine> parse_inet_line(std::string_view line, std::string_view protocol);
std::optional<SocketLine> parse_unix_line(std::string_view line);

}  // namespace pystack::waits
