#include "symbols/perf_map.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <utility>

namespace pystack::symbols {

namespace {

constexpr std::size_t kMaxName = 512;
/// Two numbers before the name.
constexpr std::size_t kMaxLine = kMaxName + 64;
/// A function, besides its name, in the tree.
constexpr std::uint64_t kFunctionBytes = 128;
/// Names of all functions of a large program have some ten megabytes.
constexpr std::uint64_t kMaxRead = std::uint64_t{256} << 20;
constexpr std::chrono::milliseconds kPauseAfterVain{100};

/// The number at the beginning, which is taken off together with the space behind it.
std::optional<std::uint64_t> take_hex(std::string_view& line) {
    if (line.starts_with("0x")) line.remove_prefix(2);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value, 16);
    const auto size = static_cast<std::size_t>(end - line.data());
    if (error != std::errc{} || size >= line.size() || line[size] != ' ') return std::nullopt;
    line.remove_prefix(size + 1);
    return value;
}

}  // namespace

bool PerfMapNames::add(std::string_view piece) {
    while (!piece.empty()) {
        const std::size_t end = piece.find('\n');
        const std::string_view part = piece.substr(0, end);
        const bool ends = end != std::string_view::npos;
        rest_.append(part.substr(0, kMaxLine - rest_.size()));
        if (!ends) return true;
        if (!add_line(rest_)) return false;
        rest_.clear();
        piece.remove_prefix(end + 1);
    }
    return true;
}

bool PerfMapNames::add_line(std::string_view line) {
    const auto begin = take_hex(line);
    const auto size = begin ? take_hex(line) : std::nullopt;
    if (!size || *size == 0 || *size > UINT64_MAX - *begin || line.empty()) return true;
    const std::uint64_t bytes = kFunctionBytes + std::min(line.size(), kMaxName);
    if (!limits_.charge_steps() || !limits_.charge_bytes(bytes)) return false;
    bytes_ += bytes;
    const RemoteRange range{{*begin}, {*begin + *size}};
    // What was there before is no more.
    auto old = functions_.lower_bound(range.begin);
    if (old != functions_.begin() && std::prev(old)->second.end > range.begin) --old;
    while (old != functions_.end() && old->first < range.end) old = functions_.erase(old);
    functions_.emplace(range.begin, Function{range.end, std::string(line.substr(0, kMaxName))});
    return true;
}

void PerfMapNames::clear() {
    functions_.clear();
    rest_.clear();
    limits_.return_bytes(std::exchange(bytes_, 0));
}

const std::string* PerfMapNames::find(RemoteAddr address) const {
    const auto after = functions_.upper_bound(address);
    if (after == functions_.begin()) return nullptr;
    const Function& function = std::prev(after)->second;
    return address < function.end ? &function.name : nullptr;
}

const std::string* PerfMap::find(RemoteAddr address) {
    const std::string* name = names_.find(address);
    if (name != nullptr || is_full_ || !open()) return name;
    read_more();
    return names_.find(address);
}

bool PerfMap::open() {
    if (file_) return true;
    if (!pace_.is_due()) return false;
    const auto begin = Pace::Clock::now();
    if (auto opened = target_.open_perf_map()) file_ = *std::move(opened);
    pace_.worked_since(begin, kPauseAfterVain);
    return file_.has_value();
}

void PerfMap::read_more() {
    struct stat status;
    if (::fstat(file_->get(), &status) != 0) return;
    if (static_cast<std::uint64_t>(status.st_size) < position_) {
        names_.clear();
        position_ = 0;
    }
    std::array<char, 1 << 16> piece;
    while (!target_.limits().cancelled()) {
        const ssize_t size =
            ::pread(file_->get(), piece.data(), piece.size(), static_cast<off_t>(position_));
        if (size <= 0) return;
        position_ += static_cast<std::uint64_t>(size);
        is_full_ =
            position_ > kMaxRead || !names_.add({piece.data(), static_cast<std::size_t>(size)});
        if (is_full_) return;
    }
}

}  // namespace pystack::symbols
