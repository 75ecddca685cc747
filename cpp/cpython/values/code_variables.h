#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cpython/frames/code_reader.h"
#include "cpython/layout/layout.h"
#include "memory/memory_reader.h"
#include "model/variables.h"

namespace pystack::cpython {

/// Bytes of a name; what is longer is cut.
inline constexpr std::size_t kMaxVariableName = 1024;

/// The variables that a code object declares. Does not change in the life of the code object.
struct CodeVariables {
    struct Slot {
        std::string name;  ///< As the program has it; not escaped.
        model::VariableKind kind = model::VariableKind::kLocal;
        std::uint32_t index = 0;  ///< Of its word behind interpreter_frame.localsplus.
    };

    /// Arguments as in the signature, then locals, cells and free variables.
    std::vector<Slot> slots;
    std::uint32_t words = 0;  ///< Behind localsplus.
    /// A class body or a module: its names are the keys of the dict in interpreter_frame.locals.
    bool has_namespace = false;
    std::optional<Error> problem;  ///< Set when they could not be read; there are no slots then.
};

/// Fills what a code object declares. kCorruptData if it contradicts itself.
Result<void> read_code_variables(const memory::MemoryReader& memory, const Layout& layout,
                                 const Code& code, CodeVariables& variables);

}  // namespace pystack::cpython
