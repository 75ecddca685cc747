#include "target/initial_stack.h"

#include <elf.h>

#include <algorithm>
#include <cstdint>

namespace pystack::target {

namespace {

/// The vector lies a few hundred bytes below the random bytes that it points to.
constexpr std::size_t kSearchBytes = 64 << 10;
/// The kernel allows 6 MiB of arguments and environment (3/4 of _STK_LIM), which has most of it in
/// the strings.
constexpr std::size_t kMaxPointerBytes = 2 << 20;
constexpr std::size_t kBlockBytes = 64 << 10;
constexpr std::size_t kMaxArgumentBytes = 128 << 10;  ///< MAX_ARG_STRLEN of the kernel.
constexpr std::size_t kMaxTotalBytes = 6 << 20;
constexpr std::uint64_t kWord = sizeof(std::uint64_t);

using Words = std::vector<std::uint64_t>;

/// The `count` words that end at `end`, or fewer when memory begins later.
Words words_before(const memory::MemoryReader& memory, RemoteAddr end, std::size_t count) {
    Words words;
    while (count > 0) {
        // Where the stack begins is not known: halve until what is asked for is there.
        Words block(std::min({count, kBlockBytes / kWord, end.value / kWord}));
        while (!block.empty() &&
               !memory.read(end - block.size() * kWord, std::as_writable_bytes(std::span(block)))) {
            block.resize(block.size() / 2);
        }
        if (block.empty()) break;
        words.insert(words.begin(), block.begin(), block.end());
        count -= block.size();
        end = end - block.size() * kWord;
    }
    return words;
}

std::optional<RemoteAddr> find_vector(const memory::MemoryReader& memory,
                                      std::span<const elf::AuxEntry> auxv) {
    const auto random = std::find_if(auxv.begin(), auxv.end(),
                                     [](const elf::AuxEntry& e) { return e.key == AT_RANDOM; });
    if (random == auxv.end()) return std::nullopt;
    const auto index = static_cast<std::size_t>(random - auxv.begin());
    const RemoteAddr top{random->value & ~(kWord - 1)};
    const Words words = words_before(memory, top, kSearchBytes / kWord);
    for (std::size_t at = words.size(); at-- > 2 * index;) {
        // The keys must agree; values need not: a dynamic linker that was started as a program
        // changes some.
        const std::size_t first = at - 2 * index;
        if (first + 2 * auxv.size() > words.size() || words[at] != AT_RANDOM ||
            words[at + 1] != random->value) {
            continue;
        }
        bool equal = true;
        for (std::size_t i = 0; i < auxv.size() && equal; ++i) {
            equal = words[first + 2 * i] == auxv[i].key;
        }
        if (equal) return top - (words.size() - first) * kWord;
    }
    return std::nullopt;
}

/// The words of argv. What lies between it and the auxiliary vector cannot be relied on: the C
/// library moves entries of the environment, and leaves more than one null behind.
std::optional<Words> find_argv(const memory::MemoryReader& memory, RemoteAddr vector) {
    std::size_t count = kBlockBytes / kWord;
    while (true) {
        const Words words = words_before(memory, vector, count);
        for (std::size_t at = words.size(); at-- > 0;) {
            const std::uint64_t argc = words[at];
            if (argc == 0 || argc >= words.size() - at - 1 || words[at + 1 + argc] != 0) continue;
            const Words argv(words.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                             words.begin() + static_cast<std::ptrdiff_t>(at + 1 + argc));
            const bool on_stack = std::all_of(argv.begin(), argv.end(), [&](std::uint64_t pointer) {
                return pointer > vector.value && pointer - vector.value < 2 * kMaxTotalBytes;
            });
            if (on_stack) return argv;
        }
        if (words.size() < count || count * kWord >= kMaxPointerBytes) return std::nullopt;
        count *= 2;
    }
}

}  // namespace

std::optional<std::vector<std::string>> read_arguments(const memory::MemoryReader& memory,
                                                       std::span<const elf::AuxEntry> auxv) {
    const auto vector = find_vector(memory, auxv);
    if (!vector) return std::nullopt;
    const auto argv = find_argv(memory, *vector);
    if (!argv) return std::nullopt;

    const std::uint64_t first = *std::min_element(argv->begin(), argv->end());
    std::vector<std::string> arguments;
    std::size_t total = 0;
    for (const std::uint64_t pointer : *argv) {
        auto text = memory.read_c_string({pointer}, kMaxArgumentBytes);
        if (!text) return std::nullopt;
        // Behind the first, each begins where another has ended, unless one long text was written
        // over them.
        const auto before = memory.read_value<char>(RemoteAddr{pointer} - 1);
        if (pointer != first && before && *before != '\0') {
            auto title = memory.read_c_string({first}, kMaxArgumentBytes);
            if (!title) return std::nullopt;
            return std::vector{std::move(*title)};
        }
        total += text->size();
        if (total > kMaxTotalBytes) return std::nullopt;
        arguments.push_back(std::move(*text));
    }
    return arguments;
}

}  // namespace pystack::target
