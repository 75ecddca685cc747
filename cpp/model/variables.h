#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pystack::model {

/// What a variable is to its function.
enum class VariableKind : std::uint8_t {
    kPositionalOnly,
    kPositional,  ///< Positional or keyword.
    kKeywordOnly,
    kVarPositional,  ///< `*args`.
    kVarKeyword,     ///< `**kwargs`.
    kImplicit,  ///< An argument the compiler added, named `.0`: the iterator of a comprehension.
    kLocal,     ///< Also the names of a class body and of a module.
    kCell,      ///< A local that inner functions use. Arguments stay arguments.
    kFree,      ///< From an enclosing function.
};

/// As the JSON output has it.
constexpr std::string_view variable_kind_name(VariableKind kind) {
    switch (kind) {
        case VariableKind::kPositionalOnly:
            return "positional_only";
        case VariableKind::kPositional:
            return "positional";
        case VariableKind::kKeywordOnly:
            return "keyword_only";
        case VariableKind::kVarPositional:
            return "var_positional";
        case VariableKind::kVarKeyword:
            return "var_keyword";
        case VariableKind::kImplicit:
            return "implicit";
        case VariableKind::kLocal:
            return "local";
        case VariableKind::kCell:
            return "cell";
        case VariableKind::kFree:
            return "free";
    }
    return "local";
}

/// A variable that has a value. All texts are escaped: no control character is in them.
struct Variable {
    std::string name;
    VariableKind kind = VariableKind::kLocal;
    std::string value;  ///< As cpython/values/value_renderer.h says; empty when `redacted`.
    /// Of its class with the module, as in "int" or "app.models.User"; nullopt when that could not
    /// be read or must not be.
    std::optional<std::string> type_name;
    bool redacted = false;  ///< The value was not looked at.
};

/// The variables of one frame.
struct FrameVariables {
    std::vector<Variable> variables;  ///< Arguments as in the signature, then the others.
    std::uint64_t omitted = 0;        ///< How many more there are.
    std::string problem;  ///< Why there are none, or not all; empty when there is nothing to say.
};

}  // namespace pystack::model
