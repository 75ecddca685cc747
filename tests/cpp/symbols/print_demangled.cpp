// Demangles the Rust symbols on stdin, one per line; one that is none stays as it is. For
// tests/differential.

#include <iostream>
#include <string>

#include "symbols/rust_demangle.h"

int main() {
    for (std::string symbol; std::getline(std::cin, symbol);) {
        std::cout << pystack::symbols::demangle_rust(symbol).value_or(symbol) << '\n';
    }
}
