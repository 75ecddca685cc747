#include "cpython/sync/frame_objects.h"

#include <algorithm>
#include <array>

#include "cpython/objects/objects.h"
#include "cpython/objects/stack_slot.h"
#include "cpython/sync/with_blocks.h"
#include "cpython/values/code_variables.h"

namespace pystack::cpython {

namespace {

using memory::MemoryReader;

constexpr std::uint64_t kWordBytes = 8;
constexpr std::int64_t kUnitBytes = 2;
/// The compiler's own limits are far below.
constexpr std::uint32_t kMostWords = 1 << 14;
constexpr std::size_t kMostTableBytes = 1 << 16;
constexpr std::size_t kMostCodeBytes = 1 << 20;
/// CO_MAXBLOCKS [cpython/code.h].
constexpr std::int32_t kMostBlocks = 20;

std::uint32_t words_at(const MemoryReader& memory, RemoteAddr code, FieldOffset field) {
    if (!field) return 0;
    const auto count = memory.read_value<std::int32_t>(code + *field);
    return count && *count > 0 ? std::min(static_cast<std::uint32_t>(*count), kMostWords) : 0;
}

}  // namespace

void FrameObjects::load(const MemoryReader& memory, const Code& code) {
    if (shapes_.contains(&code)) return;
    shapes_.emplace(&code, code.problem ? Shape{} : read_shape(memory, code));
}

const FrameObjects::Shape* FrameObjects::shape_of(const Code& code) const {
    const auto known = shapes_.find(&code);
    return known == shapes_.end() ? nullptr : &known->second;
}

bool FrameObjects::has_with_blocks(const Code& code) const {
    const Shape* shape = shape_of(code);
    return shape != nullptr && !shape->with_handlers.empty();
}

FrameObjects::Shape FrameObjects::read_shape(const MemoryReader& memory, const Code& code) const {
    const auto& fields = layout_.code_object;
    Shape shape;
    shape.variables = words_at(memory, code.address, fields.nlocalsplus);
    shape.stack = words_at(memory, code.address, fields.stacksize);
    if (fields.exceptiontable) {
        const auto table = memory.read_pointer(code.address + *fields.exceptiontable);
        if (!table) return shape;
        auto bytes = read_bytes_object(memory, layout_, *table, kMostTableBytes);
        if (bytes) shape.exception_table = *std::move(bytes);
    }
    find_with_handlers(memory, code, shape);
    return shape;
}

/// By the first instructions of the handlers.
void FrameObjects::find_with_handlers(const MemoryReader& memory, const Code& code,
                                      Shape& shape) const {
    const auto& fields = layout_.code_object;
    const WithHandler& opcodes = layout_.with_handler;
    if (fields.exceptiontable) {
        if (!fields.co_code_adaptive || shape.exception_table.empty()) return;
        const RemoteAddr begin = code.address + *fields.co_code_adaptive;
        const auto is_with = [&](std::uint32_t unit) {
            const std::int64_t offset = std::int64_t{unit} * kUnitBytes;
            std::array<std::uint8_t, 4> units{};
            if (offset + static_cast<std::int64_t>(units.size()) > code.size_bytes) return false;
            if (!memory.read(begin + static_cast<std::uint64_t>(offset),
                             std::as_writable_bytes(std::span(units)))) {
                return false;
            }
            const bool found = units[0] == opcodes.first && units[2] == opcodes.second;
            if (found) shape.with_handlers.push_back(unit);
            return false;  // All of them are wanted.
        };
        cpython::has_with_blocks(shape.exception_table, is_with);
    } else if (fields.code) {
        const auto object = memory.read_pointer(code.address + *fields.code);
        if (!object) return;
        const auto bytes = read_bytes_object(memory, layout_, *object, kMostCodeBytes);
        if (!bytes) return;
        const bool in_units = layout_.instruction == Instruction::kUnitIndex;
        for (std::size_t at = 0; at + 1 < bytes->size(); at += kUnitBytes) {
            if (std::to_integer<std::uint8_t>((*bytes)[at]) != opcodes.first) continue;
            const std::size_t place = in_units ? at / kUnitBytes : at;
            shape.with_handlers.push_back(static_cast<std::uint32_t>(place));
        }
    }
    std::ranges::sort(shape.with_handlers);
}

RemoteAddr FrameObjects::stack_of(const MemoryReader& memory, const Shape& shape,
                                  const RawFrame& frame) const {
    const auto& fields = layout_.interpreter_frame;
    if (fields.valuestack)
        return memory.read_pointer(frame.address + *fields.valuestack).value_or(RemoteAddr{});
    return frame.address + *fields.localsplus + shape.variables * kWordBytes;
}

RemoteRange FrameObjects::range(const MemoryReader& memory, const Code& code,
                                const RawFrame& frame) const {
    const Shape* shape = shape_of(code);
    const RemoteAddr first = frame.address + *layout_.interpreter_frame.localsplus;
    if (shape == nullptr) return {first, first};
    const RemoteAddr stack = stack_of(memory, *shape, frame);
    const RemoteAddr end = stack + shape->stack * kWordBytes;
    constexpr std::uint64_t kMostBytes = kMostWords * 2 * kWordBytes;
    if (!stack || end < first || end.value - first.value > kMostBytes) return {first, first};
    return {first, end};
}

std::vector<std::uint32_t> FrameObjects::slots(const MemoryReader& memory, const Shape& shape,
                                               const Code& code, const RawFrame& frame) {
    if (frame.compiled) return {};  // It has no value stack.
    const auto is_with = [&shape](std::uint32_t unit) {
        return std::ranges::binary_search(shape.with_handlers, unit);
    };
    const auto& fields = layout_.interpreter_frame;
    if (!fields.blockstack) {
        const auto offset = codes_.place(code, frame);
        if (!offset || *offset < 0) return {};
        return with_slots(shape.exception_table, static_cast<std::uint32_t>(*offset / kUnitBytes),
                          is_with);
    }
    const auto count = memory.read_value<std::int32_t>(frame.address + *fields.iblock);
    if (!count || *count <= 0 || *count > kMostBlocks) return {};
    std::array<TryBlock, kMostBlocks> blocks;
    const auto used = std::span(blocks).first(static_cast<std::size_t>(*count));
    if (!memory.read(frame.address + *fields.blockstack, std::as_writable_bytes(used))) return {};
    return with_slots(used, is_with);
}

std::vector<RemoteAddr> FrameObjects::with_objects(const MemoryReader& memory, const Code& code,
                                                   const RawFrame& frame) {
    std::vector<RemoteAddr> objects;
    const Shape* shape = shape_of(code);
    if (shape == nullptr || shape->with_handlers.empty()) return objects;
    const RemoteAddr stack = stack_of(memory, *shape, frame);
    if (!stack) return objects;
    for (const std::uint32_t slot : slots(memory, *shape, code, frame)) {
        if (slot >= shape->stack) continue;
        if (const RemoteAddr object = object_at(memory, stack + slot * kWordBytes))
            objects.push_back(object);
    }
    return objects;
}

std::vector<RemoteAddr> FrameObjects::all(const MemoryReader& memory, const Code& code,
                                          const RawFrame& frame) const {
    std::vector<RemoteAddr> objects;
    const RemoteRange words = range(memory, code, frame);
    for (RemoteAddr at = words.begin; at < words.end; at = at + kWordBytes) {
        if (const RemoteAddr object = object_at(memory, at)) objects.push_back(object);
    }
    return objects;
}

/// Null if it cannot be read, or holds no object.
RemoteAddr FrameObjects::object_at(const MemoryReader& memory, RemoteAddr word) const {
    const auto content = memory.read_value<std::uint64_t>(word);
    return content ? decode_slot(layout_.stack_ref, *content).object : RemoteAddr{};
}

/// What a cell holds; anything else itself.
RemoteAddr FrameObjects::held_by(const MemoryReader& memory, RemoteAddr value,
                                 TypeCache& types) const {
    const auto type = types.of(value);
    if (!type || (*type)->kind != ValueKind::kCell || !layout_.cell_object.ob_ref) return value;
    return memory.read_pointer(value + *layout_.cell_object.ob_ref).value_or(RemoteAddr{});
}

RemoteAddr FrameObjects::word_of(const MemoryReader& memory, const Code& code,
                                 const RawFrame& frame, std::uint32_t index) const {
    const RemoteRange words = range(memory, code, frame);
    if (index >= words.size() / kWordBytes) return {};
    return object_at(memory, words.begin + index * kWordBytes);
}

RemoteAddr FrameObjects::variable(const MemoryReader& memory, const Code& code,
                                  const RawFrame& frame, std::uint32_t index,
                                  TypeCache& types) const {
    const RemoteAddr value = word_of(memory, code, frame, index);
    return value ? held_by(memory, value, types) : value;
}

RemoteAddr FrameObjects::first_argument(const MemoryReader& memory, const Code& code,
                                        const RawFrame& frame, TypeCache& types) const {
    const RemoteAddr value = word_of(memory, code, frame, 0);
    if (value) return held_by(memory, value, types);
    // Below 3.11 an argument that is a cell lies behind the others.
    CodeVariables declared;
    const auto read = read_code_variables(memory, layout_, code, declared);
    if (!read || declared.slots.empty()) return {};
    return variable(memory, code, frame, declared.slots.front().index, types);
}

}  // namespace pystack::cpython
