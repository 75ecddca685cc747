#include "cpython/sync/with_blocks.h"

#include <algorithm>
#include <optional>

namespace pystack::cpython {

namespace {

/// SETUP_FINALLY: the type of every block but that of a handler that runs [Include/opcode.h].
constexpr std::int32_t kSetupFinally = 122;
/// Handlers inside handlers; the compiler's own limit of nested blocks is 20.
constexpr std::size_t kMostHandlers = 128;

struct Entry {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    std::uint32_t target = 0;
    std::uint32_t depth = 0;
    bool keeps_instruction = false;  ///< "lasti": so does the handler of a with block.
};

/// The entries one after another [InternalDocs/exception_handling.md].
class ExceptionTable {
  public:
    explicit ExceptionTable(std::span<const std::byte> bytes) : bytes_(bytes) {}

    std::optional<Entry> next() {
        const auto begin = number();
        const auto size = number();
        const auto target = number();
        const auto depth = number();
        if (!begin || !size || !target || !depth) return std::nullopt;
        return Entry{.begin = *begin,
                     .end = *begin + *size,
                     .target = *target,
                     .depth = *depth >> 1,
                     .keeps_instruction = (*depth & 1) != 0};
    }

  private:
    std::optional<std::uint32_t> number() {
        constexpr std::uint32_t kMore = 0x40;
        constexpr std::uint32_t kBits = 0x3F;
        constexpr int kMostBytes = 5;
        std::uint32_t value = 0;
        for (int i = 0; i < kMostBytes && at_ < bytes_.size(); ++i) {
            const auto byte = std::to_integer<std::uint32_t>(bytes_[at_++]);
            value = (value << 6) | (byte & kBits);
            if ((byte & kMore) == 0) return value;
        }
        return std::nullopt;
    }

    std::span<const std::byte> bytes_;
    std::size_t at_ = 0;
};

std::optional<Entry> entry_of(std::span<const std::byte> bytes, std::uint32_t unit) {
    ExceptionTable table(bytes);
    while (const auto entry = table.next()) {
        if (entry->begin <= unit && unit < entry->end) return entry;
    }
    return std::nullopt;
}

bool is_with(const Entry& entry, const IsWithHandler& is_with_handler) {
    return entry.keeps_instruction && entry.depth > 0 && is_with_handler(entry.target);
}

}  // namespace

std::vector<std::uint32_t> with_slots(std::span<const std::byte> exception_table,
                                      std::uint32_t unit, const IsWithHandler& is_with_handler) {
    std::vector<std::uint32_t> slots;
    std::vector<std::uint32_t> seen;
    // A handler lies outside of the block that it belongs to, and inside of those around it.
    for (std::uint32_t at = unit; seen.size() < kMostHandlers;) {
        const auto entry = entry_of(exception_table, at);
        if (!entry || std::ranges::find(seen, entry->target) != seen.end()) break;
        if (is_with(*entry, is_with_handler)) slots.push_back(entry->depth - 1);
        seen.push_back(entry->target);
        at = entry->target;
    }
    return slots;
}

bool has_with_blocks(std::span<const std::byte> exception_table,
                     const IsWithHandler& is_with_handler) {
    ExceptionTable table(exception_table);
    while (const auto entry = table.next()) {
        if (is_with(*entry, is_with_handler)) return true;
    }
    return false;
}

std::vector<std::uint32_t> with_slots(std::span<const TryBlock> blocks,
                                      const IsWithHandler& is_with_handler) {
    std::vector<std::uint32_t> slots;
    for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
        if (block->type != kSetupFinally || block->level <= 0 || block->handler < 0) continue;
        if (!is_with_handler(static_cast<std::uint32_t>(block->handler))) continue;
        slots.push_back(static_cast<std::uint32_t>(block->level) - 1);
    }
    return slots;
}

}  // namespace pystack::cpython
