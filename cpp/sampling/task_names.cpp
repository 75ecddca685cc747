#include "sampling/task_names.h"

#include <utility>

#include "memory/remote_struct.h"

namespace pystack::sampling {

using memory::RemoteStruct;

RemoteAddr TaskNames::running_task(RemoteAddr thread_state) const {
    return memory_.read_pointer(thread_state + offsets_.running_task).value_or(RemoteAddr{});
}

std::optional<RemoteAddr> TaskNames::read_name(RemoteAddr thread_state, RemoteAddr task,
                                               RemoteRange bytes) {
    const RemoteAddr place = task + offsets_.task_name;
    const RemoteAddr running = thread_state + offsets_.running_task;
    batch_.clear();
    const std::size_t name = batch_.add({place, place + 8});
    const std::size_t object = batch_.add(bytes);
    const std::size_t still = batch_.add({running, running + 8});
    batch_.read(memory_);
    const auto runs = RemoteStruct(running, batch_.bytes(still)).pointer(0);
    const auto found = RemoteStruct(place, batch_.bytes(name)).pointer(0);
    if (!runs || *runs != task || !found || !*found) return std::nullopt;
    const auto read = batch_.bytes(object);
    bytes_.assign(read.begin(), read.end());
    return *found;
}

std::optional<model::FrameId> TaskNames::frame_of(RemoteAddr thread_state, RemoteAddr task,
                                                  Known& known) {
    const auto name = read_name(thread_state, task, {known.name, known.name + known.bytes.size()});
    if (!name) return std::nullopt;
    if (*name == known.name && !known.bytes.empty() && bytes_ == known.bytes) return known.frame;

    // Read twice with the decoding in between: what is equal then is what was decoded.
    known = {.name = *name};
    const auto decoded = cpython::read_task_name(memory_, layout_, *name);
    if (!decoded) return std::nullopt;
    const RemoteRange object{*name, *name + decoded->bytes};
    if (read_name(thread_state, task, object) != name) return std::nullopt;
    known.bytes = bytes_;
    const auto again = cpython::read_task_name(memory_, layout_, *name);
    if (!again || again->text != decoded->text) {
        known = {};
        return std::nullopt;
    }
    known.frame = interner_.task_frame(decoded->text);
    return known.frame;
}

}  // namespace pystack::sampling
