#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "cpython/frames/frame_format.h"
#include "support/fake_interpreter.h"

namespace pystack::testing {

/// Code objects, and frames that execute them, as the interpreter of `fake` would have them.
struct FakeCodes {
    static constexpr std::int64_t kUnits = 20;
    static constexpr std::int32_t kFirstLine = 10;

    explicit FakeCodes(FakeInterpreter& of) : fake(of) {
        const auto& layout = fake.layout;
        type = fake.allocate(
            std::max(layout.type_object.struct_size, *layout.type_object.tp_name + 8));
        name_type(type, "code");
    }

    void name_type(RemoteAddr of, const std::string& name) {
        const RemoteAddr text = fake.allocate(name.size() + 16);
        fake.memory().put_text(text, name);
        fake.memory().put(of + *fake.layout.type_object.tp_name, text);
    }

    // Without any bytes, whatever size it claims.
    RemoteAddr bytes_object(std::int64_t size) {
        const auto& fields = fake.layout.bytes_object;
        const RemoteAddr address = fake.allocate(*fields.ob_sval + 1);
        fake.memory().put(address + *fields.ob_size, size);
        return address;
    }

    RemoteAddr code(const std::string& function, const std::string& file) {
        const RemoteAddr address = fake.allocate(fake.layout.code_object.struct_size + 2 * kUnits);
        fill(address, function, file);
        return address;
    }

    void fill(RemoteAddr address, const std::string& function, const std::string& file) {
        const auto& layout = fake.layout;
        const auto& fields = layout.code_object;
        fake.memory().put(address + *layout.pyobject.ob_type, type);
        if (fields.co_code_adaptive) fake.memory().put(address + *layout.pyobject.ob_size, kUnits);
        fake.memory().put(address + *fields.filename, fake.heap.str(file));
        fake.memory().put(address + *fields.name, fake.heap.str(function));
        if (fields.qualname)
            fake.memory().put(address + *fields.qualname, fake.heap.str("Class." + function));
        fake.memory().put(address + *fields.firstlineno, kFirstLine);
        fake.memory().put(address + *fields.linetable, bytes_object(0));
    }

    cpython::RawFrame frame(RemoteAddr code, std::int64_t offset = 0) const {
        const auto unit = static_cast<std::uint64_t>(offset);
        switch (fake.layout.instruction) {
            case cpython::Instruction::kByteIndex:
                return {.code = code, .instruction = unit};
            case cpython::Instruction::kUnitIndex:
                return {.code = code, .instruction = unit / 2};
            default:
                return {.code = code, .instruction = (instructions(code) + unit).value};
        }
    }

    RemoteAddr instructions(RemoteAddr code) const {
        return code + *fake.layout.code_object.co_code_adaptive;
    }

    FakeInterpreter& fake;
    RemoteAddr type;
};

}  // namespace pystack::testing
