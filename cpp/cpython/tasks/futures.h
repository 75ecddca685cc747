#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "cpython/tasks/asyncio_offsets.h"
#include "memory/memory_reader.h"

namespace pystack::cpython {

/// What an object is to asyncio. Subclasses are what they derive from.
enum class FutureKind : std::uint8_t {
    kNone,
    kFuture,        ///< _asyncio.Future, made in C.
    kTask,          ///< _asyncio.Task.
    kPythonFuture,  ///< asyncio.futures._PyFuture.
    kPythonTask,
};

/// What a future and a task hold. Null: nothing, or it is not known.
struct FutureParts {
    RemoteAddr loop;
    RemoteAddr first_callback;  ///< Of C futures; the others have only the list.
    RemoteAddr more_callbacks;  ///< A list of (callback, context).
    // Only of tasks:
    RemoteAddr coroutine;
    RemoteAddr name;        ///< A str or an int.
    RemoteAddr waited_for;  ///< The future that it is suspended on: `_fut_waiter`.
    RemoteAddr awaited_by;  ///< 3.14+
    bool awaited_by_is_set = false;
};

/// Reads futures and tasks, made in C or in Python. The shape of the C ones is not published below
/// 3.14 and differs between micro releases: it is found from tasks that are known.
class Futures {
  public:
    Futures(const memory::MemoryReader& memory, const Layout& layout, TypeCache& types,
            const std::optional<AsyncioOffsets>& published);

    FutureKind kind_of(RemoteAddr object);
    static bool is_task(FutureKind kind) {
        return kind == FutureKind::kTask || kind == FutureKind::kPythonTask;
    }

    /// Learns the shape of C tasks from these, which are some of the target's. False: they do not
    /// agree on one, and read() has nothing of C tasks.
    bool learn_shape(std::span<const RemoteAddr> tasks);

    /// nullopt if it is no future, or cannot be read.
    std::optional<FutureParts> read(RemoteAddr future);
    /// The functions that it will call when it is done, at most `most`.
    std::vector<RemoteAddr> callbacks_of(const FutureParts& future, std::size_t most);

  private:
    /// Offsets in a C task. `_fut_waiter`, the coroutine and the name (3.8+) lie behind each other.
    struct Shape {
        std::uint32_t coroutine = 0;
        bool has_name = false;
        std::uint32_t size = 0;  ///< Up to what is read.
    };

    std::optional<FutureParts> read_c_future(RemoteAddr future, bool is_task);
    std::optional<FutureParts> read_python_future(RemoteAddr future, bool is_task);
    bool is_awaitable(RemoteAddr object);
    bool is_name(RemoteAddr object);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    TypeCache& types_;
    const std::optional<AsyncioOffsets> published_;
    std::optional<Shape> shape_;
    std::unordered_map<RemoteAddr, FutureKind> kinds_;  ///< By type.
    std::vector<std::byte> buffer_;
};

}  // namespace pystack::cpython
