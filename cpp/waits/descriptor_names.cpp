#include "waits/descriptor_names.h"

#include <algorithm>

#include "waits/descriptors.h"
#include "waits/socket_tables.h"

namespace pystack::waits {

namespace {

/// Sockets come and go: beyond so many, all are forgotten.
constexpr std::size_t kMostSockets = 4096;
/// Each line of the tables is compared with all of them.
constexpr std::size_t kMostAtOnce = 64;

}  // namespace

std::string peer_of(std::string_view text) {
    constexpr std::string_view kUnix = "unix socket";
    if (text.starts_with(kUnix)) {
        text.remove_prefix(std::min(kUnix.size() + 1, text.size()));
        return std::string(text);
    }
    constexpr std::string_view kArrow = " -> ";
    const std::size_t arrow = text.find(kArrow);
    const std::size_t begin =
        arrow != std::string_view::npos ? arrow + kArrow.size() : text.find(' ') + 1;
    return std::string(text.substr(begin, text.find(',', begin) - begin));
}

std::optional<DescriptorNames::Name> DescriptorNames::find(int fd) {
    auto found = describe_descriptor(pid_, fd);
    if (!found) return std::nullopt;
    if (found->kind != model::WaitKind::kSocket) return Name{found->kind, std::move(found->target)};
    const auto known = sockets_.find(found->inode);
    if (known != sockets_.end()) return Name{found->kind, known->second};
    if (unknown_.size() < kMostAtOnce &&
        std::ranges::find(unknown_, found->inode) == unknown_.end())
        unknown_.push_back(found->inode);
    return Name{found->kind, {}};
}

void DescriptorNames::look_up() {
    if (sockets_.size() + unknown_.size() > kMostSockets) sockets_.clear();
    const auto texts = find_sockets(pid_, unknown_);
    for (const std::uint64_t inode : unknown_) {
        const auto text = texts.find(inode);
        // Those of other kinds stay unknown, and are not looked for again.
        sockets_[inode] = text == texts.end() ? std::string() : peer_of(text->second);
    }
    unknown_.clear();
}

}  // namespace pystack::waits
