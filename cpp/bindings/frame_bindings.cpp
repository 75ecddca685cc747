#include "bindings/frame_bindings.h"

#include "bindings/optional_values.h"
#include "bindings/text.h"

namespace nb = nanobind;

namespace pystack::bindings {

namespace {

const char* source_word(model::NameSource source) {
    switch (source) {
        case model::NameSource::kDebugInfo:
            return "debug-info";
        case model::NameSource::kSymbols:
            return "symbols";
        case model::NameSource::kMethodTable:
            return "method-table";
        case model::NameSource::kPerfMap:
            return "perf-map";
        case model::NameSource::kNone:
            break;
    }
    return "none";
}

nb::list to_list(const model::FrameVariables& frame) {
    nb::list items;
    for (const model::Variable& variable : frame.variables) {
        nb::dict item;
        item["name"] = to_str(variable.name);
        const std::string_view kind = model::variable_kind_name(variable.kind);
        item["kind"] = nb::str(kind.data(), kind.size());
        item["value"] = variable.redacted ? nb::none() : to_str(variable.value);
        item["type"] = optional_str(variable.type_name);
        item["redacted"] = variable.redacted;
        items.append(item);
    }
    return items;
}

}  // namespace

nb::object FrameMaker::name(const model::Text& text) {
    const auto [place, is_new] = names_.try_emplace(text.identity());
    if (is_new) place->second = to_str(text);
    return place->second;
}

FrameMaker::Key FrameMaker::key_of(const model::Frame& frame) {
    const auto number = [](const auto& value) { return value ? std::int64_t{*value} : -1; };
    const model::SourcePosition& at = frame.position;
    return {{frame.function.identity(), frame.qualname ? frame.qualname->identity() : nullptr,
             frame.file.identity()},
            {frame.first_line, number(at.line), number(at.end_line), number(at.column),
             number(at.end_column), number(frame.interpreter_id),
             frame.variables ? static_cast<std::int64_t>(frame.variables->omitted) : -1}};
}

nb::object FrameMaker::make(const model::Frame& frame) {
    if (frame.kind != model::FrameKind::kPython) return native_dict(frame);
    const bool shows_variables = frame.variables && (!frame.variables->variables.empty() ||
                                                     !frame.variables->problem.empty());
    if (shows_variables) return python_dict(frame);
    const auto [place, is_new] = made_.try_emplace(key_of(frame));
    if (is_new) place->second = python_dict(frame);
    return place->second;
}

nb::dict FrameMaker::native_dict(const model::Frame& frame) {
    nb::dict item;
    if (frame.kind == model::FrameKind::kGap) {
        item["kind"] = "gap";
        item["reason"] = to_str(frame.function);
        return item;
    }
    const model::NativeDetails details = frame.native.value_or(model::NativeDetails());
    item["kind"] = "native";
    item["function"] = name(frame.function);
    item["python_name"] = str_or_none(details.python_name);
    item["signature"] = to_str(details.signature);
    item["symbol"] = str_or_none(details.symbol);
    item["name_source"] = source_word(details.name_source);
    item["file"] = frame.file.empty() ? nb::none() : name(frame.file);
    item["line"] = optional_number(frame.position.line);
    item["module"] = details.module.empty() ? nb::none() : to_os_str(details.module);
    item["build_id"] = str_or_none(details.build_id);
    item["offset"] = details.offset;
    item["address"] = details.address;
    item["is_inlined"] = details.is_inlined;
    item["is_plumbing"] = details.is_plumbing;
    item["is_guess"] = details.is_guess;
    return item;
}

nb::dict FrameMaker::python_dict(const model::Frame& frame) {
    nb::dict item;
    item["kind"] = "python";
    item["function"] = name(frame.function);
    item["qualname"] = frame.qualname ? name(*frame.qualname) : nb::none();
    item["file"] = name(frame.file);
    item["line"] = optional_number(frame.position.line);
    item["end_line"] = optional_number(frame.position.end_line);
    item["column"] = optional_number(frame.position.column);
    item["end_column"] = optional_number(frame.position.end_column);
    item["first_line"] = frame.first_line;
    item["variables"] = frame.variables ? nb::object(to_list(*frame.variables)) : nb::none();
    const bool omitted = frame.variables && frame.variables->omitted > 0;
    item["variables_omitted"] = omitted ? nb::int_(frame.variables->omitted) : nb::int_(0);
    const bool problem = frame.variables && !frame.variables->problem.empty();
    item["variables_problem"] = problem ? to_str(frame.variables->problem) : nb::none();
    if (frame.interpreter_id) item["interpreter_id"] = *frame.interpreter_id;
    return item;
}

}  // namespace pystack::bindings
