#pragma once

#include <climits>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace pystack::elf {

/// A path that the target names. Copies share the text: one file has many mappings, and a hostile
/// target has long paths.
class SharedPath {
  public:
    /// The longest path that is kept, one byte more than the longest that can be opened.
    static constexpr std::size_t kMaxSize = PATH_MAX;
    /// Real programs have no longer ones. A target must not have so many that there is no room for
    /// the others.
    static constexpr std::size_t kLongSize = 512;

    SharedPath() = default;
    SharedPath(std::string text)  // NOLINT(google-explicit-constructor)
        : text_(text.empty() ? nullptr : std::make_shared<const std::string>(std::move(text))) {}
    SharedPath(const char* text)  // NOLINT(google-explicit-constructor)
        : SharedPath(std::string(text)) {}

    const std::string& str() const {
        static const std::string kEmpty;
        return text_ ? *text_ : kEmpty;
    }
    operator const std::string&() const { return str(); }  // NOLINT(google-explicit-constructor)
    operator std::string_view() const { return str(); }    // NOLINT(google-explicit-constructor)
    bool empty() const { return text_ == nullptr; }
    std::size_t size() const { return str().size(); }
    bool starts_with(std::string_view prefix) const { return str().starts_with(prefix); }
    bool starts_with(char first) const { return str().starts_with(first); }
    bool is_long() const { return size() > kLongSize; }
    /// The path was cut, so no file has it.
    bool is_cut() const { return size() >= kMaxSize; }

    friend bool operator==(const SharedPath& one, const SharedPath& other) {
        return one.text_ == other.text_ || one.str() == other.str();
    }
    friend bool operator==(const SharedPath& one, std::string_view other) {
        return one.str() == other;
    }
    friend bool operator==(const SharedPath& one, const std::string& other) {
        return one.str() == other;
    }
    friend bool operator==(const SharedPath& one, const char* other) { return one.str() == other; }

  private:
    std::shared_ptr<const std::string> text_;
};

}  // namespace pystack::elf
