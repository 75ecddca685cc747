#include "waits/socket_tables.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <vector>

#include "process/proc_files.h"

namespace pystack::waits {

namespace {

/// As many lines of one table: a server can have more sockets than a dump should wait for.
constexpr std::size_t kMostLines = 200'000;
constexpr std::size_t kMostLine = 512;

/// By number [include/net/tcp_states.h].
constexpr std::array<std::string_view, 13> kStates = {
    "",      "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",   "TIME_WAIT",
    "CLOSE", "CLOSE_WAIT",  "LAST_ACK", "LISTEN",   "CLOSING",   "NEW_SYN_RECV"};

std::vector<std::string_view> words_of(std::string_view line, std::size_t most) {
    std::vector<std::string_view> words;
    while (words.size() < most) {
        const std::size_t begin = line.find_first_not_of(' ');
        if (begin == std::string_view::npos) break;
        const std::size_t end = std::min(line.find(' ', begin), line.size());
        words.push_back(line.substr(begin, end - begin));
        line.remove_prefix(end);
    }
    return words;
}

template <class Number>
std::optional<Number> number(std::string_view text, int base) {
    Number value = 0;
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, value, base);
    if (read.ec != std::errc{} || read.ptr != end) return std::nullopt;
    return value;
}

struct Endpoint {
    std::string text;
    bool is_set = false;  ///< Not all zeros.
};

/// "0100007F:1F90": words of an address in network order, printed as numbers of this machine.
std::optional<Endpoint> parse_endpoint(std::string_view text) {
    constexpr std::size_t kWordDigits = 8;
    const std::size_t colon = text.find(':');
    if (colon != kWordDigits && colon != 4 * kWordDigits) return std::nullopt;
    std::array<std::uint32_t, 4> words{};
    for (std::size_t i = 0; i * kWordDigits < colon; ++i) {
        const auto word = number<std::uint32_t>(text.substr(i * kWordDigits, kWordDigits), 16);
        if (!word) return std::nullopt;
        words[i] = *word;
    }
    const auto port = number<std::uint16_t>(text.substr(colon + 1), 16);
    if (!port) return std::nullopt;
    const bool is_short = colon == kWordDigits;
    std::array<char, INET6_ADDRSTRLEN> printed;
    if (::inet_ntop(is_short ? AF_INET : AF_INET6, words.data(), printed.data(), printed.size()) ==
        nullptr) {
        return std::nullopt;
    }
    const std::string address = is_short ? printed.data() : '[' + std::string(printed.data()) + ']';
    const bool is_set =
        *port != 0 || std::ranges::any_of(words, [](std::uint32_t word) { return word != 0; });
    return Endpoint{.text = address + ':' + std::to_string(*port), .is_set = is_set};
}

void for_each_line(const std::string& path, const std::function<void(std::string_view)>& take) {
    std::string rest;
    std::size_t lines = 0;
    (void)process::read_proc_file_in_pieces(path, [&](std::string_view piece) {
        while (!piece.empty()) {
            const std::size_t end = piece.find('\n');
            rest += piece.substr(0, std::min(end, kMostLine));
            if (end == std::string_view::npos) break;
            take(rest);
            rest.clear();
            piece.remove_prefix(end + 1);
            if (++lines >= kMostLines) return false;
        }
        return rest.size() <= kMostLine;
    });
}

}  // namespace

std::optional<SocketLine> parse_inet_line(std::string_view line, std::string_view protocol) {
    constexpr std::size_t kWords = 10;
    const auto words = words_of(line, kWords);
    if (words.size() < kWords) return std::nullopt;
    const auto local = parse_endpoint(words[1]);
    const auto remote = parse_endpoint(words[2]);
    const auto state = number<std::uint32_t>(words[3], 16);
    const auto inode = number<std::uint64_t>(words[9], 10);
    if (!local || !remote || !state || !inode) return std::nullopt;
    SocketLine socket{.inode = *inode, .text = std::string(protocol) + ' ' + local->text};
    if (remote->is_set) socket.text += " -> " + remote->text;
    if (protocol == "TCP" && *state > 0 && *state < kStates.size())
        socket.text += ", " + std::string(kStates[*state]);
    return socket;
}

std::optional<SocketLine> parse_unix_line(std::string_view line) {
    constexpr std::size_t kInode = 6;
    const auto words = words_of(line, kInode + 1);
    if (words.size() <= kInode) return std::nullopt;
    const auto inode = number<std::uint64_t>(words[kInode], 10);
    if (!inode) return std::nullopt;
    SocketLine socket{.inode = *inode, .text = "unix socket"};
    const auto end = static_cast<std::size_t>(words[kInode].end() - line.begin());
    // The rest of the line is the path, which may have blanks.
    if (end + 1 < line.size()) socket.text += ' ' + std::string(line.substr(end + 1));
    return socket;
}

std::unordered_map<std::uint64_t, std::string> find_sockets(pid_t pid,
                                                            std::span<const std::uint64_t> inodes) {
    std::unordered_map<std::uint64_t, std::string> found;
    const auto keep = [&](std::optional<SocketLine> socket) {
        if (socket && std::ranges::find(inodes, socket->inode) != inodes.end())
            found[socket->inode] = std::move(socket->text);
    };
    const std::string folder = "/proc/" + std::to_string(pid) + "/net/";
    const struct {
        const char* name;
        const char* protocol;
    } tables[] = {{"tcp", "TCP"}, {"tcp6", "TCP"}, {"udp", "UDP"}, {"udp6", "UDP"}};
    for (const auto& [name, protocol] : tables) {
        if (found.size() == inodes.size()) return found;
        for_each_line(folder + name,
                      [&](std::string_view line) { keep(parse_inet_line(line, protocol)); });
    }
    if (found.size() < inodes.size()) {
        for_each_line(folder + "unix", [&](std::string_view line) { keep(parse_unix_line(line)); });
    }
    return found;
}

}  // namespace pystack::waits
