#include "waits/descriptors.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "process/proc_files.h"
#include "waits/socket_tables.h"

namespace pystack::waits {

namespace {

using model::WaitKind;

constexpr std::size_t kMostCommand = 120;

/// By the device's major number: the path may be that of another mount namespace
/// [Documentation/admin-guide/devices.txt].
bool is_terminal(const struct ::stat& status) {
    constexpr unsigned kTty = 4;
    constexpr unsigned kConsole = 5;
    constexpr unsigned kFirstPts = 136;
    constexpr unsigned kLastPts = 143;
    const unsigned number = major(status.st_rdev);
    return S_ISCHR(status.st_mode) &&
           (number == kTty || number == kConsole || (number >= kFirstPts && number <= kLastPts));
}

/// One line of /proc/locks that is not of a waiter: "1: FLOCK ADVISORY WRITE 4711 08:01:99 0 EOF".
std::optional<pid_t> owner_in(std::string_view line, std::string_view file) {
    std::array<std::string_view, 6> words;
    for (std::string_view& word : words) {
        const std::size_t begin = line.find_first_not_of(' ');
        if (begin == std::string_view::npos) return std::nullopt;
        const std::size_t end = std::min(line.find(' ', begin), line.size());
        word = line.substr(begin, end - begin);
        line.remove_prefix(end);
    }
    if (words[5] != file) return std::nullopt;
    const pid_t pid = std::atoi(std::string(words[4]).c_str());
    return pid > 0 ? std::optional(pid) : std::nullopt;
}

}  // namespace

std::optional<Descriptor> describe_descriptor(pid_t pid, int fd) {
    const std::string path = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
    const auto link = process::read_link(path);
    struct ::stat status{};
    if (!link || ::stat(path.c_str(), &status) != 0) return std::nullopt;
    Descriptor found{
        .target = *link, .link = *link, .device = status.st_dev, .inode = status.st_ino};
    if (S_ISSOCK(status.st_mode)) {
        found.kind = WaitKind::kSocket;
        found.target.clear();
    } else if (S_ISFIFO(status.st_mode)) {
        found.kind = WaitKind::kPipe;
        if (link->starts_with("pipe:")) found.target.clear();
    } else if (is_terminal(status)) {
        found.kind = WaitKind::kTerminal;
    } else if (link->starts_with('/')) {
        found.kind = WaitKind::kFile;
    }
    return found;
}

std::vector<std::optional<Descriptor>> describe_descriptors(pid_t pid, std::span<const int> fds) {
    std::vector<std::optional<Descriptor>> found;
    std::vector<std::uint64_t> sockets;
    for (const int fd : fds) {
        found.push_back(describe_descriptor(pid, fd));
        if (found.back() && found.back()->kind == WaitKind::kSocket)
            sockets.push_back(found.back()->inode);
    }
    if (sockets.empty()) return found;
    const auto texts = find_sockets(pid, sockets);
    for (std::optional<Descriptor>& one : found) {
        if (!one || one->kind != WaitKind::kSocket) continue;
        const auto text = texts.find(one->inode);
        if (text != texts.end()) one->target = text->second;
    }
    return found;
}

std::optional<pid_t> lock_owner(const Descriptor& file) {
    std::array<char, 64> name;
    const int size = std::snprintf(name.data(), name.size(), "%02x:%02x:%llu", major(file.device),
                                   minor(file.device), static_cast<unsigned long long>(file.inode));
    const std::string_view wanted(name.data(), static_cast<std::size_t>(size));
    const auto text = process::read_proc_file("/proc/locks");
    if (!text) return std::nullopt;
    std::string_view rest = *text;
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        const std::string_view line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (line.find("->") != std::string_view::npos) continue;
        if (const auto owner = owner_in(line, wanted)) return owner;
    }
    return std::nullopt;
}

std::string command_of(pid_t pid) {
    const std::string folder = "/proc/" + std::to_string(pid) + "/";
    auto command = process::read_proc_file(folder + "cmdline", 4096);
    if (!command || command->empty()) {
        const auto stat = process::read_stat(pid, pid);
        return stat ? stat->name : std::string();
    }
    while (!command->empty() && command->back() == '\0') command->pop_back();
    std::ranges::replace(*command, '\0', ' ');
    if (command->size() > kMostCommand)
        command->replace(kMostCommand - 3, std::string::npos, "...");
    return *command;
}

}  // namespace pystack::waits
