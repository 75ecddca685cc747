#include "bindings/task_bindings.h"

#include "bindings/optional_values.h"

namespace nb = nanobind;

namespace pystack::bindings {

namespace {

const char* task_state_word(model::TaskState state) {
    switch (state) {
        case model::TaskState::kCreated:
            return "created";
        case model::TaskState::kReady:
            return "ready";
        case model::TaskState::kRunning:
            return "running";
        case model::TaskState::kWaiting:
            return "waiting";
        case model::TaskState::kUnknown:
            break;
    }
    return nullptr;
}

nb::object wait_kind_word(model::TaskWaitKind kind) {
    for (const auto& [known, word] : model::kTaskWaitKindNames) {
        if (known == kind) return nb::str(word.data(), word.size());
    }
    return nb::str("other");
}

nb::list to_list(const std::vector<std::uint64_t>& ids) {
    nb::list items;
    for (const std::uint64_t id : ids) items.append(id);
    return items;
}

nb::dict to_dict(const model::TaskWait& wait) {
    nb::dict item;
    item["kind"] = wait_kind_word(wait.kind);
    item["id"] = wait.object != 0 ? nb::object(nb::int_(wait.object)) : nb::none();
    item["type"] = optional_str(wait.type_name);
    item["holders"] = to_list(wait.holders);
    item["remaining_s"] = optional_number(wait.remaining_s);
    item["pid"] = optional_number(wait.pid);
    item["may_time_out"] = wait.may_time_out;
    item["target"] = wait.target.empty() ? nb::none() : to_os_str(wait.target);
    return item;
}

}  // namespace

nb::dict event_loop_dict(const model::EventLoop& loop) {
    nb::dict item;
    item["id"] = loop.id;
    item["type"] = optional_str(loop.type_name);
    item["running_task"] = optional_number(loop.running_task);
    item["busy_s"] = optional_number(loop.busy_s);
    return item;
}

nb::dict TaskMaker::make(const model::Task& task) {
    nb::dict item;
    const std::string_view library =
        model::kTaskLibraryNames[static_cast<std::size_t>(task.library)];
    item["library"] = nb::str(library.data(), library.size());
    item["id"] = task.id;
    item["interpreter_id"] = task.interpreter_id;
    item["name"] = optional_str(task.name);
    const char* state = task_state_word(task.state);
    item["state"] = state != nullptr ? nb::object(nb::str(state)) : nb::none();
    item["loop"] = optional_number(task.loop);
    item["python_thread_id"] = optional_number(task.python_thread_id);
    item["waits_for"] = task.waits_for ? nb::object(to_dict(*task.waits_for)) : nb::none();
    item["awaited_by"] = to_list(task.awaited_by);
    item["problem"] = str_or_none(task.problem);
    item["frames"] = frames_of(task);
    return item;
}

nb::list TaskMaker::frames_of(const model::Task& task) {
    const auto [place, is_new] = made_.try_emplace(task.frames.get());
    if (is_new && task.frames) {
        for (const model::Frame& frame : *task.frames) place->second.append(frames_.make(frame));
    }
    return place->second;
}

}  // namespace pystack::bindings
