#include "symbols/rust_v0.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "symbols/punycode.h"
#include "symbols/rust_character.h"
#include "symbols/rust_v0_reader.h"

namespace pystack::symbols {

namespace {

constexpr std::size_t kMaxOutput = 1 << 16;
constexpr int kMaxDepth = 200;
constexpr int kMaxSteps = 1 << 18;

/// By their letters; empty for letters that stand for none.
constexpr std::array<std::string_view, 26> kBasicTypes = {
    "i8",   "bool", "char", "f64", "str", "f32", "",    "u8", "isize", "usize", "",    "i32", "u32",
    "i128", "u128", "_",    "",    "",    "i16", "u16", "()", "...",   "",      "i64", "u64", "!"};

std::string_view basic_type(char letter) {
    return letter >= 'a' && letter <= 'z' ? kBasicTypes[static_cast<std::size_t>(letter - 'a')]
                                          : std::string_view();
}

/// The grammar of RFC 2603, one function a rule. After a failure nothing is read or written any
/// more.
class V0Demangler : private RustV0Reader {
  public:
    explicit V0Demangler(std::string_view mangled) : RustV0Reader(mangled) {}

    std::optional<std::string> run() {
        path(true);
        // What may follow is the crate that the code was instantiated in: parsed, not shown.
        if (!failed() && is_upper(peek())) {
            printing_ = false;
            path(false);
        }
        if (failed() || !at_end()) return std::nullopt;
        return std::move(output_);
    }

  private:
    struct Identifier {
        std::uint64_t disambiguator = 0;
        std::string name;
    };

    class Nesting {
      public:
        explicit Nesting(V0Demangler& demangler) : demangler_(demangler) {
            if (++demangler_.depth_ > kMaxDepth || ++demangler_.steps_ > kMaxSteps)
                demangler_.fail();
        }
        ~Nesting() { --demangler_.depth_; }
        Nesting(const Nesting&) = delete;
        Nesting& operator=(const Nesting&) = delete;

      private:
        V0Demangler& demangler_;
    };

    void print(std::string_view text) {
        if (failed() || !printing_) return;
        output_ += text;
        if (output_.size() > kMaxOutput) fail();
    }

    Identifier identifier() {
        Identifier result;
        result.disambiguator = optional_base_62('s');
        result.name = undisambiguated_identifier();
        return result;
    }

    /// Follows "B<offset>" with `parse`, once, and only to print.
    template <class Parse>
    void back_reference(std::size_t start, Parse parse) {
        const std::uint64_t target = base_62();
        if (failed() || target >= start) return fail();
        if (!printing_) return;
        const std::size_t after = position();
        seek(static_cast<std::size_t>(target));
        parse();
        seek(after);
    }

    void silently_impl_path() {
        const bool was_printing = printing_;
        printing_ = false;
        optional_base_62('s');
        path(false);
        printing_ = was_printing;
    }

    /// `is_value`: in an expression, where generic arguments take a "::" in front.
    void path(bool is_value) {
        const Nesting nesting(*this);
        const std::size_t start = position();
        switch (take()) {
            case 'C':
                print(identifier().name);
                break;
            case 'N':
                nested_path(is_value);
                break;
            case 'M':
                silently_impl_path();
                print("<");
                type();
                print(">");
                break;
            case 'X':
                silently_impl_path();
                qualified_path();
                break;
            case 'Y':
                qualified_path();
                break;
            case 'I':
                path(is_value);
                if (is_value) print("::");
                print("<");
                list([this] { generic_argument(); });
                print(">");
                break;
            case 'B':
                back_reference(start, [this, is_value] { path(is_value); });
                break;
            default:
                fail();
        }
    }

    void qualified_path() {
        print("<");
        type();
        print(" as ");
        path(false);
        print(">");
    }

    void nested_path(bool is_value) {
        const char name_space = take();
        if (!is_lower(name_space) && !is_upper(name_space)) return fail();
        path(is_value);
        const Identifier last = identifier();
        if (is_lower(name_space)) {
            if (!last.name.empty()) print("::" + last.name);
            return;
        }
        const std::string number = "#" + std::to_string(last.disambiguator) + "}";
        std::string kind(1, name_space);
        if (name_space == 'C') kind = "closure";
        if (name_space == 'S') kind = "shim";
        print("::{" + kind + (last.name.empty() ? "" : ":" + last.name) + number);
    }

    /// Items up to "E", with commas; the number of items.
    template <class Item>
    int list(Item item) {
        int count = 0;
        while (!failed() && !accept('E')) {
            if (count++ > 0) print(", ");
            item();
        }
        return count;
    }

    void generic_argument() {
        if (accept('L')) {
            lifetime(base_62());
        } else if (accept('K')) {
            constant();
        } else {
            type();
        }
    }

    void lifetime(std::uint64_t index) {
        if (index == 0) return print("'_");
        if (index > bound_lifetimes_) return fail();
        const std::uint64_t depth = bound_lifetimes_ - index;
        constexpr std::uint64_t kLetters = 26;
        print(depth < kLetters ? std::string("'") + static_cast<char>('a' + depth)
                               : "'_" + std::to_string(depth));
    }

    /// "G<count>": for<'a, 'b>. The number of lifetimes that were bound, for the caller to release.
    std::uint64_t binder() {
        const std::uint64_t count = optional_base_62('G');
        constexpr std::uint64_t kMaxLifetimes = 1000;
        if (count > kMaxLifetimes) fail();
        if (failed() || count == 0) return 0;
        print("for<");
        for (std::uint64_t i = 0; i < count; ++i) {
            if (i > 0) print(", ");
            ++bound_lifetimes_;
            lifetime(1);
        }
        print("> ");
        return count;
    }

    void type() {
        const Nesting nesting(*this);
        const std::size_t start = position();
        const char tag = peek();
        if (const std::string_view basic = basic_type(tag); !basic.empty()) {
            skip();
            return print(basic);
        }
        switch (tag) {
            case 'R':
            case 'Q':
                skip();
                return reference(tag == 'Q');
            case 'P':
                skip();
                print("*const ");
                return type();
            case 'O':
                skip();
                print("*mut ");
                return type();
            case 'A':
            case 'S':
                skip();
                print("[");
                type();
                if (tag == 'A') {
                    print("; ");
                    constant();
                }
                return print("]");
            case 'T':
                skip();
                print("(");
                if (list([this] { type(); }) == 1) print(",");
                return print(")");
            case 'F':
                skip();
                return function();
            case 'D':
                skip();
                return trait_object();
            case 'B':
                skip();
                return back_reference(start, [this] { type(); });
            default:
                path(false);
        }
    }

    void reference(bool is_mutable) {
        print("&");
        if (accept('L')) {
            if (const std::uint64_t index = base_62(); index != 0) {
                lifetime(index);
                print(" ");
            }
        }
        if (is_mutable) print("mut ");
        type();
    }

    void function() {
        const std::uint64_t bound = binder();
        if (accept('U')) print("unsafe ");
        if (accept('K')) {
            std::string abi = accept('C') ? "C" : undisambiguated_identifier();
            std::replace(abi.begin(), abi.end(), '_', '-');
            print("extern \"" + abi + "\" ");
        }
        print("fn(");
        list([this] { type(); });
        print(")");
        if (!accept('u')) {  // The unit type is not written.
            print(" -> ");
            type();
        }
        bound_lifetimes_ -= bound;
    }

    void trait_object() {
        print("dyn ");
        const std::uint64_t bound = binder();
        for (int count = 0; !failed() && !accept('E'); ++count) {
            if (count > 0) print(" + ");
            dyn_trait();
        }
        bound_lifetimes_ -= bound;
        if (!accept('L')) return fail();
        if (const std::uint64_t index = base_62(); index != 0) {
            print(" + ");
            lifetime(index);
        }
    }

    /// A path whose last generic arguments are followed by those of its associated types.
    void dyn_trait() {
        bool is_open = open_trait_path();
        while (accept('p')) {
            print(is_open ? ", " : "<");
            is_open = true;
            print(undisambiguated_identifier() + " = ");
            type();
        }
        if (is_open) print(">");
    }

    bool open_trait_path() {
        const Nesting nesting(*this);
        const std::size_t start = position();
        bool is_open = false;
        if (accept('B')) {
            back_reference(start, [&] { is_open = open_trait_path(); });
        } else if (accept('I')) {
            path(false);
            print("<");
            list([this] { generic_argument(); });
            is_open = true;
        } else {
            path(false);
        }
        return is_open;
    }

    void constant() {
        const Nesting nesting(*this);
        const std::size_t start = position();
        const char kind = take();
        switch (kind) {
            case 'p':
                return print("_");
            case 'B':
                return back_reference(start, [this] { constant(); });
            case 'h':
            case 't':
            case 'm':
            case 'y':
            case 'o':
            case 'j':
            case 'a':
            case 's':
            case 'l':
            case 'x':
            case 'n':
            case 'i':
                if (accept('n')) print("-");
                return print(hex_number());
            case 'b':
                return print(hex_number() == "0" ? "false" : "true");
            case 'c':
                return character();
            default:
                fail();
        }
    }

    void character() {
        const std::string_view digits = hex_digits();
        constexpr std::size_t kMaxDigits = 6;
        const std::uint64_t code = digits.size() <= kMaxDigits ? value_of(digits) : UINT32_MAX;
        if (!is_unicode(static_cast<std::uint32_t>(code))) return fail();
        print("'" + rust_character(static_cast<std::uint32_t>(code)) + "'");
    }

    std::string output_;
    std::uint64_t bound_lifetimes_ = 0;
    int depth_ = 0;
    int steps_ = 0;
    bool printing_ = true;
};

}  // namespace

std::optional<std::string> demangle_rust_v0(std::string_view mangled) {
    if (mangled.size() > kMaxRustSymbol) return std::nullopt;
    return V0Demangler(mangled).run();
}

}  // namespace pystack::symbols
