#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/result.h"
#include "cpython/layout/layout.h"
#include "cpython/values/redaction.h"
#include "cpython/values/render_limits.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// Turns objects of the target into text as repr() would write it, without running any code of the
/// target: a class's own __repr__ is not asked. The text is one line of valid UTF-8 without control
/// characters. docs/locals.md has the rules; in short:
///   - built-in types, datetimes, deques, exceptions: as repr() does;
///   - instances: `Class(attribute=value, ...)`, slots first; without attributes `<module.Class at
///   0x...>`;
///   - subclasses of built-ins: `Class(content)`, and their own attributes behind it;
///   - enum members: `<Class.NAME: value>`; namedtuples: `Class(field=value, ...)`;
///   - functions, methods, generators: as repr(); modules: `<module 'name'>`;
///   - numpy arrays: `numpy.ndarray(dtype=..., shape=..., data=[...])`;
///   - an object that contains itself: `[...]`, `{...}`, `(...)`, `Class(...)`;
///   - what cannot be read: `<unreadable: why>`;
///   - values that the redaction hides, and secrets in texts: `<redacted>`;
///   - when the byte budget is spent: `<not read: byte budget spent>`.
///
/// One object is one reading of one target that stands still: pages and types are copied once.
/// Not thread-safe.
class ValueRenderer {
  public:
    ValueRenderer(const memory::MemoryReader& memory, const Layout& layout,
                  const RenderLimits& limits, Redaction redaction = {});
    ~ValueRenderer();

    /// Begins a second reading: forgets everything, keeps the memory it took, and copies the pages
    /// that the first one wanted in one batch. So a reading of the running target, whatever it came
    /// to, makes the one while it stands still short.
    void reset();
    /// The target runs again: what is read from now on is what reset() has copied, and nothing
    /// else. When all of it was there (misses() stays 0) every value is that of the moment of
    /// reset(); if not, read again while the target stands still.
    void freeze();
    void unfreeze();
    std::size_t misses() const;
    /// A new thread of the target: a part of its byte budget, and later the rest of it.
    void begin(double part = 1);
    void add_rest(double part);
    /// Whether the byte budget is spent.
    bool spent() const;
    /// Copies what will be wanted of these objects in one batch. Optional.
    void fetch(std::span<const RemoteAddr> objects);

    std::string render(RemoteAddr object);

    struct Text {
        std::string value;
        /// Of the object's class, with its module: "int", "app.models.User". Escaped.
        std::optional<std::string> type_name;
        /// Something is missing because of the depth or the budget.
        bool is_cut = false;
    };
    enum class Depth : std::uint8_t {
        kNothingInside,  ///< Of containers and instances only what they are.
        kFull,           ///< RenderLimits::max_depth.
    };
    /// The content of a cell, or the object if it is none; nullopt when the cell is empty.
    std::optional<Text> render_variable(RemoteAddr object, Depth depth = Depth::kFull);
    /// Whether the value of a variable of that name must not be looked at.
    bool hides(std::string_view name) const;

    bool is_dict(RemoteAddr object);
    bool is_str(RemoteAddr object);

    /// The copy through which everything is read.
    const memory::MemoryReader& memory() const;

  private:
    class State;

    Text render(RemoteAddr object, Depth depth);

    std::unique_ptr<State> state_;
};

}  // namespace pystack::cpython
