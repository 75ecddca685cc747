#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace pystack::model {

/// A text that does not change: copies share it, since thousands of frames have the same names.
class Text {
  public:
    Text() = default;
    Text(std::string text)  // NOLINT(google-explicit-constructor)
        : text_(text.empty() ? nullptr : std::make_shared<const std::string>(std::move(text))) {}
    Text(const char* text) : Text(std::string(text)) {}  // NOLINT(google-explicit-constructor)

    std::string_view view() const { return text_ ? std::string_view(*text_) : std::string_view(); }
    operator std::string_view() const { return view(); }  // NOLINT(google-explicit-constructor)
    bool empty() const { return text_ == nullptr; }
    /// Equal for copies of each other; texts that are made apart may differ in it and be equal.
    const void* identity() const { return text_.get(); }

    friend bool operator==(const Text& one, const Text& other) {
        return one.text_ == other.text_ || one.view() == other.view();
    }
    friend bool operator==(const Text& one, std::string_view other) { return one.view() == other; }
    friend bool operator==(const Text& one, const char* other) { return one.view() == other; }
    friend bool operator==(const Text& one, const std::string& other) {
        return one.view() == other;
    }

  private:
    std::shared_ptr<const std::string> text_;
};

}  // namespace pystack::model
