#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "cpython/frames/code_reader.h"
#include "cpython/frames/stack_reader.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/stack_slot.h"
#include "cpython/values/code_variables.h"
#include "cpython/values/value_renderer.h"
#include "memory/memory_reader.h"
#include "model/variables.h"

namespace pystack::cpython {

/// The bytes of the frame that LocalsReader looks at: what to copy while the target is stopped. It
/// lies in one piece, from the frame on.
RemoteRange locals_range(const Layout& layout, const CodeVariables& variables,
                         const RawFrame& frame);

/// Reads names and values of the variables of frames. Not thread-safe.
///
///     LocalsReader locals(memory, layout);
///     locals.load(codes);                                // any time; what is known costs nothing
///     later
///     ... stop the target, read frames, locals.load(codes) again for new ones ...
///     copy.fetch(locals.range(code, frame));             // for each frame
///     ValueRenderer renderer(memory, layout, limits, redaction);
///     auto found = locals.find(frames of one thread, copy, renderer);
///     locals.render(found, renderer);                    // still stopped, or `renderer` is sealed
///
/// Of a frame of compiled code only a namespace is read. A variable that has no value is left out.
/// A value that cannot be read says so in its place.
class LocalsReader {
  public:
    struct Frame {
        const RawFrame* raw = nullptr;
        const Code* code = nullptr;
    };
    /// No function has more variables, few modules have; the others are counted.
    static constexpr std::size_t kMaxVariables = 500;

    LocalsReader(const memory::MemoryReader& memory, const Layout& layout);

    /// Reads the variables of code objects that are not known yet, in few batches. The pointers
    /// must stay valid, as those of CodeReader do.
    void load(std::span<const Code* const> codes);
    const CodeVariables& variables_of(const Code& code);

    RemoteRange range(const Code& code, const RawFrame& frame) {
        return locals_range(layout_, variables_of(code), frame);
    }

    /// How many variables the frame has at most, whatever is in them.
    std::size_t most_variables(const Code& code);
    /// How many of them have a value, of a frame that is not shown. None of them is looked at.
    std::uint64_t count(const Frame& frame, const memory::MemoryReader& frame_memory);

    /// A variable that has a value, before that is looked at.
    struct Found {
        std::string name;
        model::VariableKind kind;
        SlotContent content;
        bool redacted;  ///< The renderer hides what has its name: it is not looked at.
    };
    struct FoundFrame {
        std::vector<Found> variables;
        std::uint64_t omitted = 0;
        std::optional<Error> problem;
    };

    /// What the variables of these frames hold. `frame_memory` has at least range() of each frame;
    /// `renderer` has the copies of the objects that they hold, afterwards.
    std::vector<FoundFrame> find(std::span<const Frame> frames,
                                 const memory::MemoryReader& frame_memory, ValueRenderer& renderer);
    /// The values of the frames of one stack. Half of its byte budget, which is the part `share` of
    /// that of `renderer`, is for what each variable is (numbers, strings, types, how many items);
    /// what is inside of containers and instances follows, of the first frames first, as long as
    /// the budget lasts.
    static std::vector<model::FrameVariables> render(std::span<const FoundFrame> frames,
                                                     ValueRenderer& renderer, double share = 1);
    /// Both at once.
    std::vector<model::FrameVariables> read(std::span<const Frame> frames,
                                            const memory::MemoryReader& frame_memory,
                                            ValueRenderer& renderer);

  private:
    std::unique_ptr<CodeVariables> read_variables(const memory::MemoryReader& memory,
                                                  const Code& code);
    FoundFrame find(const Frame& frame, const memory::MemoryReader& frame_memory,
                    ValueRenderer& renderer);
    void find_in_namespace(RemoteAddr dict, ValueRenderer& renderer, FoundFrame& found);

    const memory::MemoryReader& memory_;
    const Layout layout_;
    std::unordered_map<const Code*, std::unique_ptr<CodeVariables>> known_;
};

}  // namespace pystack::cpython
