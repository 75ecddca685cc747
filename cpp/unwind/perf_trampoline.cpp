#include "unwind/perf_trampoline.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "base/pages.h"

namespace pystack::unwind {

namespace {

enum class Place : std::uint8_t {
    kEntered,  ///< On the stack lies only the return address.
    kRoom,     ///< And a word that is not used.
    kSaved,    ///< And the caller's rbp.
};

struct Piece {
    Place place;
    std::array<std::uint8_t, 4> code;
    std::size_t size;
};

// _Py_trampoline_func_start [Python/asm_trampoline.S].
/// 3.12 to 3.14: sub $8,%rsp; call *%rcx; add $8,%rsp; ret.
constexpr std::array<Piece, 4> kWithRoom = {{{Place::kEntered, {0x48, 0x83, 0xec, 0x08}, 4},
                                             {Place::kRoom, {0xff, 0xd1}, 2},
                                             {Place::kRoom, {0x48, 0x83, 0xc4, 0x08}, 4},
                                             {Place::kEntered, {0xc3}, 1}}};
/// 3.15: push %rbp; mov %rsp,%rbp; call *%rcx; pop %rbp; ret.
constexpr std::array<Piece, 5> kWithFramePointer = {{{Place::kEntered, {0x55}, 1},
                                                     {Place::kSaved, {0x48, 0x89, 0xe5}, 3},
                                                     {Place::kSaved, {0xff, 0xd1}, 2},
                                                     {Place::kSaved, {0x5d}, 1},
                                                     {Place::kEntered, {0xc3}, 1}}};
/// endbr64, which precedes them in builds with CET.
constexpr std::array<std::uint8_t, 4> kLandingPad = {0xf3, 0x0f, 0x1e, 0xfa};
constexpr std::size_t kLongest = 11;

/// What is around an address.
class Code {
  public:
    Code(const memory::MemoryReader& memory, RemoteAddr address)
        // Each begins at a multiple of 16 bytes, so none crosses a page.
        : before_(std::min<std::size_t>(address.value % kPageSize, kLongest)),
          size_(memory.read_up_to(address - before_, std::as_writable_bytes(std::span(bytes_)))) {}

    /// Whether `wanted` lie `distance` before the address.
    bool has(std::size_t distance, std::span<const std::uint8_t> wanted) const {
        if (distance > before_) return false;
        const std::size_t begin = before_ - distance;
        return begin + wanted.size() <= size_ &&
               std::equal(wanted.begin(), wanted.end(), bytes_.begin() + begin);
    }

  private:
    std::array<std::uint8_t, 3 * kLongest> bytes_{};
    std::size_t before_;
    std::size_t size_;
};

template <std::size_t count>
std::optional<Place> place_in(const Code& code, const std::array<Piece, count>& pieces) {
    std::array<std::uint8_t, kLongest> whole{};
    std::array<Place, kLongest> places{};
    std::size_t size = 0;
    for (const Piece& piece : pieces) {
        for (std::size_t i = 0; i < piece.size; ++i) {
            places[size] = piece.place;
            whole[size++] = piece.code[i];
        }
    }
    const std::span<const std::uint8_t> wanted(whole.data(), size);
    for (std::size_t distance = 0; distance < size; ++distance) {
        if (code.has(distance, wanted)) return places[distance];
    }
    return std::nullopt;
}

UnwindRule rule_at(Place place) {
    constexpr std::int32_t kWordSize = 8;
    UnwindRule rule;
    rule.kind = UnwindRule::Kind::kPlain;
    rule.cfa_register = arch::kStackPointerRegister;
    rule.cfa_offset = place == Place::kEntered ? kWordSize : 2 * kWordSize;
    rule.saved.fill(UnwindRule::kSame);
    for (std::size_t i = 0; i < arch::kPreserved.size(); ++i) {
        if (place == Place::kSaved && arch::kPreserved[i] == arch::kFramePointerRegister)
            rule.saved[i] = -2 * kWordSize;
    }
    return rule;
}

}  // namespace

std::optional<UnwindRule> perf_trampoline_rule(const memory::MemoryReader& memory,
                                               RemoteAddr lookup_address) {
    const Code code(memory, lookup_address);
    auto place = place_in(code, kWithRoom);
    if (!place) place = place_in(code, kWithFramePointer);
    if (!place && code.has(0, kLandingPad)) {
        const Code behind(memory, lookup_address + kLandingPad.size());
        place = place_in(behind, kWithRoom);
        if (!place) place = place_in(behind, kWithFramePointer);
        if (place != Place::kEntered) return std::nullopt;
    }
    return place ? std::optional(rule_at(*place)) : std::nullopt;
}

}  // namespace pystack::unwind
