// Decodes the input as a DWARF expression, and runs it.

#include <array>
#include <initializer_list>
#include <span>

#include "driver.h"
#include "modules/dwarf_constants.h"
#include "support/fake_memory.h"
#include "unwind/dwarf_expression.h"

using namespace pystack;
using namespace pystack::unwind;
using namespace pystack::arch;

namespace {

constexpr RemoteAddr kStack{0x7ffd'0000'0000};

fuzz::Bytes expression(std::initializer_list<unsigned> values) {
    fuzz::Bytes bytes;
    for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

}  // namespace

void fuzz::run(std::span<const std::byte> input) {
    const auto operations = decode_expression(input);
    if (!operations) return;
    testing::FakeMemory memory;
    memory.add(kStack, Bytes(256, std::byte{0x11}));
    std::array<std::uint64_t, kRegisterCount> values;
    for (unsigned i = 0; i < kRegisterCount; ++i) values[i] = kStack.value + i * 8;
    for (const bool has_cfa : {false, true}) {
        RegisterState registers(values);
        registers.forget(3);
        registers.set_saved_at(6, kStack.value + 16);
        registers.set_saved_at(12, 0xdead);
        std::optional<RemoteAddr> fault;
        const ExpressionInput context{
            .registers = registers,
            .memory = memory,
            .cfa = has_cfa ? std::optional(kStack.value + 64) : std::nullopt,
            .bias = 0x1000};
        use(evaluate(*operations, context, fault));
    }
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    return {
        // The linkage table's rule: rsp + 8 + (rip & 15 >= 11) * 8.
        expression({0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22}),
        // The word at the CFA less 16; a value.
        expression({0x9c, 0x11, 0x70, 0x22, 0x06, 0x9f}),
        // A loop without an end: dup, bra, skip.
        expression({0x35, 0x12, 0x28, 0xfc, 0xff, 0x2f, 0xf9, 0xff}),
        // INT64_MIN / -1; bregx, rot, deref_size, pick, addr, const8s.
        expression({0x0f, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x11, 0x7f, 0x1b}),
        expression({0x92, 6, 8, 0x31, 0x32, 0x17, 0x94, 2, 0x15, 1, 0x03, 1, 2, 3, 4, 5, 6, 7, 8}),
    };
}
