#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pystack::symbols {

/// Reads the letters and numbers of a symbol of Rust's v0 scheme (RFC 2603). After a failure
/// nothing is read any more: every read gives zero or nothing.
class RustV0Reader {
  public:
    /// `input`: behind "_R", from where back references count.
    explicit RustV0Reader(std::string_view input) : input_(input) {}

    static bool is_digit(char c) { return c >= '0' && c <= '9'; }
    static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
    static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

    void fail() { failed_ = true; }
    bool failed() const { return failed_; }
    bool at_end() const { return position_ == input_.size(); }
    std::size_t position() const { return position_; }
    void seek(std::size_t position) { position_ = position; }

    /// The next letter, or a zero byte.
    char peek() const { return !failed_ && position_ < input_.size() ? input_[position_] : '\0'; }
    /// After peek().
    void skip() { ++position_; }
    char take();
    bool accept(char wanted);

    std::uint64_t base_62();
    /// 0 if the number with this tag is not there, and one more than it otherwise.
    std::uint64_t optional_base_62(char tag) { return accept(tag) ? base_62() + 1 : 0; }
    std::string undisambiguated_identifier();
    std::string_view hex_digits();
    /// As a decimal, if it has at most 64 bits.
    std::string hex_number();
    static std::uint64_t value_of(std::string_view hex_digits);

  private:
    std::uint64_t decimal();

    std::string_view input_;
    std::size_t position_ = 0;
    bool failed_ = false;
};

}  // namespace pystack::symbols
