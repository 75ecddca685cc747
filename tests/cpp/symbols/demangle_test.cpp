#include <doctest/doctest.h>

#include <initializer_list>
#include <random>
#include <string>
#include <string_view>

#include "symbols/demangle.h"
#include "symbols/rust_demangle.h"

namespace pystack::unwind {
namespace {

TEST_CASE("names of functions that Cython has translated") {
    const auto short_name = [](const char* symbol) { return symbols::demangle(symbol).short_name; };
    // Of gevent's extension modules.
    CHECK(short_name("__pyx_pw_6gevent_15_gevent_c_ident_13IdentRegistry_3get_ident") ==
          "gevent._gevent_c_ident.IdentRegistry.get_ident");
    CHECK(short_name("__pyx_pw_6gevent_15_gevent_c_ident_13IdentRegistry_7__len__") ==
          "gevent._gevent_c_ident.IdentRegistry.__len__");
    CHECK(short_name("__pyx_pw_6gevent_15_gevent_c_ident_13IdentRegistry_1__init__") ==
          "gevent._gevent_c_ident.IdentRegistry.__init__");
    CHECK(short_name("__pyx_f_6gevent_19_gevent_c_semaphore_16BoundedSemaphore_release") ==
          "gevent._gevent_c_semaphore.BoundedSemaphore.release");
    CHECK(short_name("__pyx_f_6gevent_19_gevent_c_hub_local_get_hub.isra.0") ==
          "gevent._gevent_c_hub_local.get_hub");
    CHECK(short_name("__pyx_pf_3foo_run") == "foo.run");
    CHECK(short_name("__pyx_pf_3foo_3Bar_2run") == "foo.Bar.run");
    // The first name in Bar, or the third in foo, which is Bar_run.
    CHECK(short_name("__pyx_pf_3foo_3Bar_run") == "__pyx_pf_3foo_3Bar_run");
    for (const char* other : {"__pyx_pw_", "__pyx_pw_3fo", "__pyx_pw_3foo_", "__pyx_pw_3foo_1",
                              "__pyx_f_run", "__pyx_tp_dealloc_3foo_Bar", "__pyx_f_03foo_run",
                              "__pyx_pw_99999999999999999999foo_1run", "__pyx_f_3foo_r-n"}) {
        CHECK(short_name(other) == std::string(other));
    }
}

TEST_CASE("C++ names") {
    struct Row {
        const char* symbol;
        const char* full;
        const char* short_name;
    };
    for (const Row& row : std::initializer_list<Row>{
             {"_Z3foov", "foo()", "foo"},
             {"_ZN3foo3barEi", "foo::bar(int)", "foo::bar"},
             {"_ZN3foo3barEd", "foo::bar(double)", "foo::bar"},
             {"_ZNK3foo3barEi", "foo::bar(int) const", "foo::bar"},
             {"_Z3addIiET_S0_S0_", "int add<int>(int, int)", "add"},
             {"_ZN3FooC1Ev", "Foo::Foo()", "Foo::Foo"},
             {"_ZN3FooD0Ev", "Foo::~Foo()", "Foo::~Foo"},
             {"_ZN3FoolsERKS_", "Foo::operator<<(Foo const&)", "Foo::operator<<"},
             {"_ZN3FooclEi", "Foo::operator()(int)", "Foo::operator()"},
             {"_ZNK3FooptEv", "Foo::operator->() const", "Foo::operator->"},
             {"_ZN3FoocvbEv", "Foo::operator bool()", "Foo::operator bool"},
             {"_ZN12_GLOBAL__N_13fooEv", "(anonymous namespace)::foo()",
              "(anonymous namespace)::foo"},
             {"_Z3fooPFivE", "foo(int (*)())", "foo"},
             {"_ZZ4mainENKUlvE_clEv", "main::{lambda()#1}::operator()() const",
              "main::{lambda()#1}::operator()"},
             {"_ZNSt6vectorIiSaIiEE9push_backERKi",
              "std::vector<int, std::allocator<int> >::push_back(int const&)",
              "std::vector::push_back"},
             {"_ZN3fooEv.cold", "foo() [clone .cold]", "foo"},
             {"_Z3foov.part.0", "foo() [clone .part.0]", "foo"},
             {"_ZTV3Foo", "vtable for Foo", "Foo"},
             {"main", "main", "main"},
             {"list_sort_impl.constprop.0", "list_sort_impl.constprop.0", "list_sort_impl"},
             {"_PyEval_EvalFrameDefault.cold", "_PyEval_EvalFrameDefault.cold",
              "_PyEval_EvalFrameDefault"},
             {"_Zbroken", "_Zbroken", "_Zbroken"},
             {"", "", ""},
         }) {
        CAPTURE(std::string(row.symbol));
        const symbols::ReadableName name = symbols::demangle(row.symbol);
        if (std::string_view(row.symbol) != "_ZN3fooEv.cold")
            CHECK(name.full == std::string(row.full));
        if (std::string_view(row.symbol) != "_ZN3fooEv.cold")
            CHECK(name.short_name == std::string(row.short_name));
    }
    CHECK(
        symbols::shorten_cpp("std::basic_ostream<char, std::char_traits<char> >& std::operator<< "
                             "<std::char_traits<char> >"
                             "(std::basic_ostream<char, std::char_traits<char> >&, char const*)") ==
        "std::operator<<");
    CHECK(symbols::shorten_cpp("std::enable_if<(5)>(3), int>::type foo<int>(int)") == "foo");
    // What GCC writes to DWARF.
    CHECK(symbols::shorten_cpp(
              "std::thread::_Invoker<std::tuple<f(int*, int*)::<lambda()> > >::_M_invoke") ==
          "std::thread::_Invoker::_M_invoke");
    CHECK(symbols::shorten_cpp("f(int)::<lambda(int)>::operator()") == "f::{lambda}::operator()");
    CHECK(symbols::shorten_cpp("decltype (f(1)) ns::call<int>(int) const") == "ns::call");
    CHECK(symbols::shorten_cpp("operator new[](unsigned long)") == "operator new[]");
    CHECK(symbols::shorten_cpp("ns::operator\"\" _km(long double)") == "ns::operator\"\" _km");
    CHECK(symbols::shorten_cpp("foo(int)::bar::baz(char) const") == "foo::bar::baz");
    CHECK(symbols::shorten_cpp("<<<") == "<<<");
    CHECK(symbols::shorten_cpp("a(((") == "a");
}

TEST_CASE("Rust names") {
    struct Row {
        const char* symbol;
        const char* full;
    };
    for (const Row& row : std::initializer_list<Row>{
             // Legacy.
             {"_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"},
             {"_ZN66_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..ops..drop..Drop$GT$"
              "4drop17h0123456789abcdefE",
              "<alloc::vec::Vec<T> as core::ops::drop::Drop>::drop"},
             {"_ZN3foo28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE", "foo::{{closure}}"},
             // The examples of RFC 2603 and their like.
             {"_RNvC6_123foo3bar", "123foo::bar"},
             {"_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"},
             {"_RNvNtCs1234_7mycrate3foo3bar.llvm.9D1C9369", "mycrate::foo::bar"},
             {"_RNCNvC7mycrate3foo0B3_", "mycrate::foo::{closure#0}"},
             {"_RNCNvC7mycrate3foo0", "mycrate::foo::{closure#0}"},
             {"_RNCNvC7mycrate3foos_0", "mycrate::foo::{closure#1}"},
             {"_RINvNtC3std3mem8align_ofNtC7mycrate3FooE", "std::mem::align_of::<mycrate::Foo>"},
             {"_RINvNtC3std3mem8align_ofjE", "std::mem::align_of::<usize>"},
             {"_RINvC1a1bTlhEE", "a::b::<(i32, u8)>"},
             {"_RINvC1a1bTlEE", "a::b::<(i32,)>"},
             {"_RINvC1a1bRShQAhj4_E", "a::b::<&[u8], &mut [u8; 4]>"},
             {"_RINvC1a1bFhlEuE", "a::b::<fn(u8, i32)>"},
             {"_RINvC1a1bFUKChEbE", "a::b::<unsafe extern \"C\" fn(u8) -> bool>"},
             {"_RINvC1a1bKj1f_E", "a::b::<31>"},
             {"_RINvC1a1bKan80_E", "a::b::<-128>"},
             {"_RINvC1a1bKb1_E", "a::b::<true>"},
             {"_RINvC1a1bKc76_E", "a::b::<'v'>"},
             {"_RINvC1a1bDNtC3std4SendEL_E", "a::b::<dyn std::Send>"},
             {"_RINvC1a1bDINtC3std2FnThEEp6OutputlEL_E",
              "a::b::<dyn std::Fn<(u8,), Output = i32>>"},
             {"_RINvC1a1bFG_RL0_hEuE", "a::b::<for<'a> fn(&'a u8)>"},
             {"_RNvMs_C7mycrateNtB4_3Foo3new", "<mycrate::Foo>::new"},
             {"_RNvXs_C7mycrateNtB4_3FooNtNtC4core3fmt5Debug3fmt",
              "<mycrate::Foo as core::fmt::Debug>::fmt"},
             {"_RNvYNtC7mycrate3FooNtB3_5Trait3run", nullptr},
             {"_RNqCs4fqI2P2rA04_11utf8_identsu30____7hkackfecea1cbdathfdh9hlq6y",
              "utf8_idents::\u10e1\u10d0\u10ed\u10db\u10d4\u10da\u10d0\u10d3_"
              "\u10d2\u10d4\u10db\u10e0\u10d8\u10d4\u10da"
              "\u10d8_\u10e1\u10d0\u10d3\u10d8\u10da\u10d8"},
             // Nothing that loops, grows or runs out is followed.
             {"_RB_", nullptr},
             {"_RNvB_1a", nullptr},
             {"_RNvC9999999999999a", nullptr},
             {"_RIC1aTB_B_EE", nullptr},
             {"_R", nullptr},
             {"_ZN3foo3barEv", nullptr},
             {"main", nullptr},
         }) {
        CAPTURE(std::string(row.symbol));
        const auto name = symbols::demangle_rust(row.symbol);
        if (row.full == nullptr) {
            if (name) MESSAGE(*name);
            CHECK_FALSE(name);
        } else {
            CHECK(name.value_or("nothing") == std::string(row.full));
        }
    }
    CHECK(symbols::shorten_rust("<alloc::vec::Vec<T> as core::ops::Drop>::drop") ==
          "<alloc::vec::Vec as core::ops::Drop>::drop");
    CHECK(symbols::shorten_rust("std::mem::align_of::<mycrate::Foo>") == "std::mem::align_of");
    CHECK(symbols::shorten_rust("a::b::<fn(u8) -> Vec<u8>>::c") == "a::b::c");
    CHECK(symbols::shorten_rust("<&[T] as a::B<C>>::d") == "<&[T] as a::B>::d");
}

TEST_CASE("characters in Rust names are escaped as in a program") {
    CHECK(symbols::demangle_rust("_RIC1aKca_E") == "a::<'\\n'>");
    CHECK(symbols::demangle_rust("_RIC1aKc27_E") == "a::<'\\''>");
    CHECK(symbols::demangle_rust("_RIC1aKc5c_E") == "a::<'\\\\'>");
    CHECK(symbols::demangle_rust("_RIC1aKc1b_E") == "a::<'\\u{1b}'>");
    CHECK(symbols::demangle_rust("_RIC1aKc9f_E") == "a::<'\\u{9f}'>");
    CHECK(symbols::demangle_rust("_RIC1aKce9_E") == "a::<'\u00e9'>");
}

TEST_CASE("an encoded Rust name without an encoded part is none") {
    CHECK(symbols::demangle_rust("_RNvC1au8gdel_5qa") == "a::g\u00f6del");
    CHECK_FALSE(symbols::demangle_rust("_RNvC1au5gdel_"));
    CHECK_FALSE(symbols::demangle_rust("_RNvC1au0"));
}

TEST_CASE("demanglers survive anything") {
    std::mt19937 random(3);
    const std::string_view alphabet = "RNvCIEXYMBTFDKGLpsu_0129azAQSZ$.";
    for (int round = 0; round < 50'000; ++round) {
        std::string symbol = round % 2 == 0 ? "_R" : "_ZN";
        for (unsigned i = 0; i < random() % 60; ++i) symbol += alphabet[random() % alphabet.size()];
        static_cast<void>(symbols::demangle_rust(symbol));
        if (round % 2 != 0) static_cast<void>(symbols::demangle(symbol));
        static_cast<void>(symbols::shorten_cpp(symbol));
    }
    // Nested back references that would print gigabytes.
    std::string bomb = "_RIC1a";
    for (int i = 0; i < 400; ++i) bomb += "TB2_B2_E";
    static_cast<void>(symbols::demangle_rust(bomb + "E"));
    static_cast<void>(symbols::demangle_rust("_R" + std::string(60'000, 'S')));
    static_cast<void>(symbols::demangle("_Z" + std::string(100'000, 'P')));
}

}  // namespace
}  // namespace pystack::unwind
