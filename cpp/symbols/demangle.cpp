#include "symbols/demangle.h"

#include <cxxabi.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <memory>

#include "symbols/cython_names.h"
#include "symbols/rust_demangle.h"

namespace pystack::symbols {

namespace {

/// The longest names of template libraries have some thousand characters.
constexpr std::size_t kMaxMangled = 1 << 13;

bool is_identifier(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$';
}

/// In DWARF, of what has no name in the program: "f()::<lambda(int)>".
bool is_made_up(std::string_view name) {
    return name.starts_with("<lambda");
}

struct Free {
    void operator()(char* text) const { std::free(text); }
};

/// C names: what GCC and clang put behind the names of parts and clones.
std::string_view without_clone_suffix(std::string_view symbol) {
    const std::size_t dot = symbol.find('.', 1);
    return symbol.substr(0, dot);
}

/// Reads a demangled name from left to right and keeps what is not between brackets.
class CppShortener {
  public:
    explicit CppShortener(std::string_view name) : rest_(name) {}

    std::string run() {
        while (!rest_.empty()) {
            if (at_operator()) {
                take_operator();
            } else if (rest_.starts_with(kAnonymous)) {
                keep(kAnonymous.size());
            } else {
                take();
            }
        }
        return std::move(text_);
    }

  private:
    static constexpr std::string_view kAnonymous = "(anonymous namespace)";
    static constexpr std::string_view kOperator = "operator";

    void keep(std::size_t size) {
        text_ += rest_.substr(0, size);
        last_ = rest_[size - 1];
        rest_.remove_prefix(size);
    }
    void drop(std::size_t size) {
        last_ = rest_[size - 1];
        rest_.remove_prefix(size);
    }

    bool at_operator() const {
        return rest_.starts_with(kOperator) && !is_identifier(last_) &&
               (rest_.size() == kOperator.size() || !is_identifier(rest_[kOperator.size()]));
    }

    void take_operator() {
        keep(kOperator.size());
        // With brackets in them; the others are characters like those of names.
        constexpr std::array<std::string_view, 13> kSymbols = {
            "()", "[]", "<=>", "<<=", ">>=", "->*", "<<", ">>", "<=", ">=", "->", "<", ">"};
        for (const std::string_view symbol : kSymbols) {
            if (!rest_.starts_with(symbol)) continue;
            keep(symbol.size());
            if (rest_.starts_with(" <")) drop(1);
            return;
        }
        if (!rest_.starts_with(' ') && !rest_.starts_with('"')) return;
        // new, delete, a literal's suffix, or the type that is converted to.
        while (!rest_.empty() && rest_.front() != '(') {
            if (rest_.front() == '<') {
                drop(bracketed());
            } else {
                keep(1);
            }
        }
    }

    void take() {
        const char c = rest_.front();
        switch (c) {
            case '<':
                if (is_made_up(rest_)) text_ += "{lambda}";
                drop(bracketed());
                break;
            case '[':
                drop(bracketed());
                break;
            case '{':
                keep(bracketed());
                break;
            case '(':
                drop(bracketed());
                had_parameters_ = true;
                break;
            case ' ':
                take_space();
                break;
            default:
                keep(1);
        }
    }

    /// What came before was a return type, or what follows qualifies a method.
    void take_space() {
        drop(1);
        if (had_parameters_) {
            for (const std::string_view word :
                 {"const", "volatile", "&&", "&", "noexcept", "[clone"}) {
                if (!rest_.starts_with(word)) continue;
                drop(word == "[clone" ? bracketed() : word.size());
                return;
            }
        }
        text_.clear();
        had_parameters_ = false;
    }

    /// The size of what is in brackets here. Shifts and comparisons in template arguments stand in
    /// parentheses.
    std::size_t bracketed() const {
        std::string open;
        for (std::size_t i = 0; i < rest_.size(); ++i) {
            const char c = rest_[i];
            switch (c) {
                case '(':
                case '[':
                case '{':
                    open += c;
                    break;
                case '<':
                    // Behind anything but a name it is a comparison, or a name of GCC's making.
                    if (i == 0 || is_identifier(rest_[i - 1]) || is_made_up(rest_.substr(i)))
                        open += c;
                    break;
                case '>':
                    if (i > 0 && rest_[i - 1] == '-') break;
                    if (!open.empty() && open.back() == '<') open.pop_back();
                    break;
                case ')':
                case ']':
                case '}':
                    while (!open.empty() && open.back() == '<') open.pop_back();
                    if (!open.empty()) open.pop_back();
                    break;
                default:
                    break;
            }
            if (open.empty()) return i + 1;
        }
        return rest_.size();
    }

    std::string_view rest_;
    std::string text_;
    char last_ = ' ';
    bool had_parameters_ = false;
};

}  // namespace

std::string shorten_cpp(std::string_view name) {
    std::string text = CppShortener(name).run();
    return text.empty() ? std::string(name) : text;
}

ReadableName demangle(std::string_view symbol) {
    if (auto rust = demangle_rust(symbol)) {
        std::string short_name = shorten_rust(*rust);
        return {std::move(*rust), std::move(short_name)};
    }
    if (symbol.starts_with("_Z") && symbol.size() <= kMaxMangled) {
        const std::string terminated(symbol);
        int status = 0;
        const std::unique_ptr<char, Free> text(
            abi::__cxa_demangle(terminated.c_str(), nullptr, nullptr, &status));
        if (status == 0 && text) return {text.get(), shorten_cpp(text.get())};
    }
    if (auto cython = cython_name(without_clone_suffix(symbol))) return {*cython, *cython};
    return {std::string(symbol), std::string(without_clone_suffix(symbol))};
}

}  // namespace pystack::symbols
