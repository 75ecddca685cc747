#pragma once

#include <cstddef>
#include <cstring>
#include <ranges>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "support/bytes.h"

// Each fuzz_*.cpp of this folder is one program: it defines run() and seeds(), driver.cpp the rest.
// Built with PYSTACK_LIBFUZZER, libFuzzer chooses the inputs (see tools/fuzz). Built without, the
// program changes the seeds at random for some seconds; ctest runs it so.

namespace pystack::fuzz {

using testing::Bytes;

/// Gives the input to the code under test and asks everything of what that makes of it. Depends on
/// nothing but the input. A wrong answer ends in abort(); a crash, a leak or a hang show
/// themselves.
void run(std::span<const std::byte> input);

/// Valid inputs, to start from.
std::vector<Bytes> seeds();

/// Reads an answer and the bytes that it refers to, and so keeps the compiler from leaving out the
/// question.
template <class T>
void use(const T& answer) {
    if constexpr (requires { answer.has_value(); }) {
        if (answer) use(*answer);
    } else if constexpr (std::ranges::contiguous_range<const T&>) {
        for (const auto& item : answer) use(item);
    } else if constexpr (std::is_trivially_copyable_v<T>) {
        const T copy = answer;
        asm volatile("" : : "g"(&copy) : "memory");
    }
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

inline std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Takes values from the front of an input; zeros behind its end.
class Input {
  public:
    explicit Input(std::span<const std::byte> bytes) : rest_(bytes) {}

    template <class T>
    T take() {
        static_assert(std::is_trivially_copyable_v<T>);
        T value{};
        const auto from = take_bytes(sizeof value);
        // Of an empty span data() is null, which memcpy must not get.
        if (!from.empty()) std::memcpy(&value, from.data(), from.size());
        return value;
    }

    /// As many as there are.
    std::span<const std::byte> take_bytes(std::size_t size) {
        const auto taken = rest_.first(size < rest_.size() ? size : rest_.size());
        rest_ = rest_.subspan(taken.size());
        return taken;
    }

    std::span<const std::byte> rest() const { return rest_; }

  private:
    std::span<const std::byte> rest_;
};

}  // namespace pystack::fuzz
