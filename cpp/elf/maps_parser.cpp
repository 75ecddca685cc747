#include "elf/maps_parser.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace pystack::elf {
namespace {

/// The longest path, with each of its bytes a newline that is printed as four, and the fields.
constexpr std::size_t kMaxLine = 4 * SharedPath::kMaxSize + 256;

constexpr std::string_view kDeleted = " (deleted)";
constexpr std::string_view kEscapedNewline = "\\012";

/// Reads one line of fields from left to right; each step says whether the field was there.
class FieldReader {
  public:
    explicit FieldReader(std::string_view text) : rest_(text) {}

    bool number(std::uint64_t& value, int base) {
        const auto [end, error] = std::from_chars(rest_.begin(), rest_.end(), value, base);
        if (error != std::errc{}) return false;
        rest_.remove_prefix(static_cast<std::size_t>(end - rest_.begin()));
        return true;
    }

    bool character(char wanted) {
        if (!rest_.starts_with(wanted)) return false;
        rest_.remove_prefix(1);
        return true;
    }

    /// One place of the permissions: its letter, or a hyphen.
    bool flag(char letter, bool& value) {
        value = rest_.starts_with(letter);
        return value ? character(letter) : character('-');
    }

    std::string_view after_spaces() const {
        return rest_.substr(std::min(rest_.find_first_not_of(' '), rest_.size()));
    }

    bool at_end() const { return rest_.empty(); }

  private:
    std::string_view rest_;
};

std::string decode_path(std::string_view printed) {
    std::string path;
    path.reserve(std::min(printed.size(), SharedPath::kMaxSize));
    while (true) {
        const std::size_t escape = printed.find(kEscapedNewline);
        path += printed.substr(0, escape);
        if (path.size() >= SharedPath::kMaxSize) {
            path.resize(SharedPath::kMaxSize);
            return path;
        }
        if (escape == std::string_view::npos) return path;
        path += '\n';
        printed.remove_prefix(escape + kEscapedNewline.size());
    }
}

/// `previous` is the path of the line before, which most lines repeat.
std::optional<Mapping> parse_line(std::string_view line, const SharedPath& previous) {
    FieldReader fields(line);
    Mapping mapping;
    std::uint64_t major = 0;
    std::uint64_t minor = 0;
    const bool well_formed =
        fields.number(mapping.range.begin.value, 16) && fields.character('-') &&
        fields.number(mapping.range.end.value, 16) && fields.character(' ') &&
        fields.flag('r', mapping.readable) && fields.flag('w', mapping.writable) &&
        fields.flag('x', mapping.executable) && (fields.character('p') || fields.character('s')) &&
        fields.character(' ') && fields.number(mapping.offset.value, 16) && fields.character(' ') &&
        fields.number(major, 16) && fields.character(':') && fields.number(minor, 16) &&
        fields.character(' ') && fields.number(mapping.inode, 10) &&
        (fields.at_end() || fields.character(' '));
    if (!well_formed || mapping.range.size() == 0) return std::nullopt;
    mapping.device = makedev(static_cast<unsigned>(major), static_cast<unsigned>(minor));
    std::string_view path = fields.after_spaces();
    mapping.deleted = path.ends_with(kDeleted);
    if (mapping.deleted) path.remove_suffix(kDeleted.size());
    std::string decoded = decode_path(path);
    mapping.path = decoded == previous.str() ? previous : SharedPath(std::move(decoded));
    return mapping;
}

}  // namespace

bool MapsParser::add(std::string_view text) {
    while (!text.empty() && !is_full_) {
        const std::size_t end = text.find('\n');
        const std::string_view piece = text.substr(0, end);
        if (end != std::string_view::npos && line_.empty()) {
            parse(piece.substr(0, kMaxLine));
        } else {
            line_ += piece.substr(0, kMaxLine - line_.size());
            if (end == std::string_view::npos) break;
            parse(line_);
            line_.clear();
        }
        text.remove_prefix(end + 1);
    }
    return !is_full_;
}

std::vector<Mapping> MapsParser::finish() {
    if (!line_.empty() && !is_full_) parse(line_);
    line_.clear();
    return std::move(mappings_);
}

void MapsParser::parse(std::string_view line) {
    auto mapping = parse_line(line, previous_);
    if (!mapping) return;
    std::uint64_t bytes = sizeof(Mapping);
    if (!(mapping->path == previous_)) bytes += mapping->path.size();
    if (bytes > bytes_left_) {
        is_full_ = true;
        return;
    }
    bytes_left_ -= bytes;
    if (!mapping->path.empty()) previous_ = mapping->path;
    mappings_.push_back(*std::move(mapping));
}

std::vector<Mapping> parse_maps(std::string_view text) {
    MapsParser parser;
    parser.add(text);
    return parser.finish();
}

}  // namespace pystack::elf
