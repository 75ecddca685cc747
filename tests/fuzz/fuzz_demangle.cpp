// Demangles the input as a name of C++ and of Rust, and shortens it as if it were demangled.

#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "driver.h"
#include "symbols/demangle.h"
#include "symbols/punycode.h"
#include "symbols/rust_demangle.h"
#include "symbols/rust_v0.h"

using namespace pystack;
using namespace pystack::symbols;

namespace {

/// Far more than any name: back references make it easy to ask for gigabytes.
constexpr std::size_t kMaxText = 1 << 20;

void check(std::string_view text) {
    if (text.size() > kMaxText) std::abort();
}

}  // namespace

void fuzz::run(std::span<const std::byte> input) {
    const std::string_view text = text_of(input);
    const ReadableName name = demangle(text);
    check(name.full);
    check(name.short_name);
    if (const auto rust = demangle_rust_v0(text)) {
        check(*rust);
        check(shorten_rust(*rust));
    }
    check(shorten_cpp(text));
    check(shorten_rust(text));
    if (const auto decoded = decode_punycode(text)) check(*decoded);
}

std::vector<fuzz::Bytes> fuzz::seeds() {
    std::vector<Bytes> seeds;
    for (const std::string_view name : {
             "_ZNSt6vectorIiSaIiEE9push_backERKi",
             "_ZN12_GLOBAL__N_16WriterIJiEE4saveEPKcz.cold",
             "_ZZN3foo3barEvENKUlvE_clEv",
             "_ZNSt8functionIFviEEC1IRZ4mainEUliE_vvEEOT_",
             "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE",
             "_ZN71_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..ops..Drop$GT$4drop17h0123456789ab"
             "cdefE",
             "_RNvC6_123foo3bar",
             "_RNvMs_NtCs1234_7mycrate3fooNtB4_3Foo3bar",
             "_RINvNtC3std3mem8align_ofNtC7mycrate3FooE",
             "_RNCNCNgCs6DXkGYLi8lr_2cc5spawn00B5_",
             "_RNvXs5_NtC5alloc3vecINtB5_3VechENtNtC4core3fmt5Debug3fmt",
             "_RNqCs4fqI2P2rA04_11utf8_idents30____7hkackfecea1cbdathfdh9hlq6y",
             "_RINtC3std3VecDG_INtC3foo3BarRL0_hEp4ItemuEL_E",
             "_RINvC3foo3barKj7b_Kc76_Kb1_Kn2a_E",
             "std::vector<int>::operator()(int, char const*) const [clone .part.0]",
             "<&[T] as a::B<C>>::d::{closure#0}",
             "Hallo_lr5h",
         }) {
        const auto bytes = bytes_of(name);
        seeds.emplace_back(bytes.begin(), bytes.end());
    }
    return seeds;
}
