#include "cpython/frames/code_reader.h"

#include <algorithm>

#include "cpython/frames/line_table.h"
#include "cpython/objects/builtin_types.h"
#include "cpython/objects/objects.h"
#include "memory/remote_struct.h"

namespace pystack::cpython {

namespace {

using memory::MemoryCopy;
using memory::RemoteStruct;

// In code points. No compiler makes such names; the longest path that can be opened is as long.
constexpr std::size_t kMaxNameLength = 4096;
/// Of a function of a million lines.
constexpr std::size_t kMaxLineTable = 16 << 20;
/// Of one code object, without what it refers to.
constexpr std::uint64_t kCodeBytes = sizeof(Code) + 64;
/// An entry of a line table is at most so long, and steps over at least one unit of instructions.
constexpr std::uint64_t kMaxEntryBytes = 32;
/// Fetched ahead of knowing a string's size: most names and tables are shorter.
constexpr std::uint64_t kStringGuess = 256;
constexpr std::uint64_t kTableGuess = 512;
/// Instructions are 16-bit units since 3.6 [Include/cpython/code.h: _Py_CODEUNIT].
constexpr std::int64_t kUnitBytes = 2;
/// CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR [Include/cpython/code.h].
constexpr std::uint32_t kGeneratorFlags = 0x20 | 0x80 | 0x200;
/// CO_COROUTINE and CO_ITERABLE_COROUTINE.
constexpr std::uint32_t kCoroutineFlags = 0x80 | 0x100;
/// In place of an index: the address was known and is not any more.
constexpr std::uint32_t kForgotten = 0xffffffff;

/// Offsets of the fields of Code::Identity.
RemoteRange identity_offsets(const Layout& layout) {
    const auto& fields = layout.code_object;
    std::uint32_t begin = *fields.firstlineno;
    std::uint32_t end = *fields.firstlineno + 4;
    for (const FieldOffset field :
         {fields.filename, fields.name, fields.qualname, fields.linetable}) {
        if (!field) continue;
        begin = std::min(begin, *field);
        end = std::max(end, *field + 8);
    }
    return {{begin}, {end}};
}

}  // namespace

CodeReader::CodeReader(const memory::MemoryReader& memory, const Layout& layout,
                       std::shared_ptr<WorkLimits> limits)
    : memory_(memory),
      layout_(layout),
      identity_(identity_offsets(layout)),
      limits_(std::move(limits)) {}

bool CodeReader::charge(std::uint64_t bytes) {
    if (!limits_->charge_bytes(bytes)) return false;
    bytes_ += bytes;
    return true;
}

std::vector<RemoteAddr> CodeReader::distinct(std::span<const RawFrame> frames) const {
    std::vector<RemoteAddr> addresses;
    for (const RawFrame& frame : frames) {
        // Recursion: the same code many times in a row.
        if (!frame.shim && (addresses.empty() || addresses.back() != frame.code)) {
            addresses.push_back(frame.code);
        }
    }
    std::sort(addresses.begin(), addresses.end());
    addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
    return addresses;
}

void CodeReader::load(std::span<const RawFrame> frames) {
    std::vector<RemoteAddr> addresses = distinct(frames);
    std::erase_if(addresses, [this](RemoteAddr address) { return find(address) != nullptr; });
    if (addresses.empty()) return;

    MemoryCopy copy(memory_);
    std::vector<RemoteRange> ranges;
    for (const RemoteAddr address : addresses) {
        ranges.push_back({address, address + layout_.code_object.struct_size});
    }
    copy.fetch(ranges);
    ranges.clear();
    for (const RemoteAddr address : addresses) {
        const auto bytes = copy.view(identity_range(address).begin, identity_range(address).size());
        if (!bytes) continue;
        const auto identity = read_identity(address, *bytes);
        if (!identity) continue;
        for (const RemoteAddr text : {identity->filename, identity->name, identity->qualname}) {
            ranges.push_back({text, text + kStringGuess});
        }
        ranges.push_back({identity->linetable, identity->linetable + kTableGuess});
    }
    std::sort(ranges.begin(), ranges.end());
    ranges.erase(std::unique(ranges.begin(), ranges.end()), ranges.end());
    copy.fetch(ranges);
    Shared shared;
    for (const RemoteAddr address : addresses) {
        codes_.push_back(read(address, copy, shared));
        const auto index = static_cast<std::uint32_t>(codes_.size() - 1);
        codes_.back()->index = index;
        known_.find_or_insert(address.value, index) = index;
    }
}

Result<model::Text> CodeReader::read_text(RemoteAddr str, const MemoryCopy& copy, Shared& shared) {
    if (const auto known = shared.texts.find(str); known != shared.texts.end())
        return known->second;
    PYSTACK_TRY(prefix, read_str_prefix(copy, layout_, str, kMaxNameLength));
    if (!prefix.complete) {
        prefix.text +=
            "... (" + std::to_string(prefix.length - kMaxNameLength) + " characters left out)";
    }
    if (!charge(prefix.text.size())) return fail(left_out());
    return shared.texts.emplace(str, std::move(prefix.text)).first->second;
}

/// Without it there are no lines, but names.
Result<void> CodeReader::read_line_table(Code& code, const MemoryCopy& copy, Shared& shared) {
    const RemoteAddr address = code.identity.linetable;
    if (const auto known = shared.tables.find(address); known != shared.tables.end()) {
        code.line_table = known->second;
        return {};
    }
    PYSTACK_TRY(size, copy.read_value<std::int64_t>(address + *layout_.bytes_object.ob_size));
    if (size < 0) return fail(corrupt("line table", address));
    const auto bytes = static_cast<std::uint64_t>(size);
    if (bytes > kMaxLineTable) limits_->refuse_bytes();
    if (bytes > kMaxLineTable || !charge(bytes)) {
        shared.tables.emplace(address, nullptr);
        return {};
    }
    PYSTACK_TRY(table, read_bytes_object(copy, layout_, address, kMaxLineTable));
    code.line_table = std::make_shared<const std::vector<std::byte>>(std::move(table));
    shared.tables.emplace(address, code.line_table);
    return {};
}

std::unique_ptr<Code> CodeReader::read(RemoteAddr address, MemoryCopy& copy, Shared& shared) {
    auto code = std::make_unique<Code>();
    code->address = address;
    const auto fill = [&]() -> Result<void> {
        if (!charge(kCodeBytes)) return fail(left_out());
        const auto& fields = layout_.code_object;
        PYSTACK_TRY(bytes, copy.read_bytes(address, fields.struct_size));
        const RemoteStruct object(address, bytes);
        PYSTACK_CHECK(
            check_type(address, object.pointer(*layout_.pyobject.ob_type).value_or(RemoteAddr{})));
        const RemoteRange range = identity_range(address);
        const auto identity =
            read_identity(address, std::span(bytes).subspan(range.begin - address, range.size()));
        if (!identity) return fail(corrupt("code object", address));
        code->identity = *identity;
        PYSTACK_TRY(function, read_text(identity->name, copy, shared));
        code->function = std::move(function);
        if (identity->qualname) {
            PYSTACK_TRY(qualname, read_text(identity->qualname, copy, shared));
            code->qualname = std::move(qualname);
        }
        PYSTACK_TRY(file, read_text(identity->filename, copy, shared));
        code->file = std::move(file);
        PYSTACK_CHECK(read_line_table(*code, copy, shared));
        if (fields.flags) code->flags = object.get<std::uint32_t>(*fields.flags).value_or(0);
        if (fields.co_code_adaptive) {
            const auto units = object.get<std::int64_t>(*layout_.pyobject.ob_size).value_or(0);
            code->size_bytes = std::clamp<std::int64_t>(units, 0, INT32_MAX) * kUnitBytes;
        }
        if (fields.firsttraceable) {
            const auto units = object.get<std::int32_t>(*fields.firsttraceable).value_or(0);
            code->first_traceable = std::max(units, 0) * kUnitBytes;
        }
        if (fields.co_tlbc) code->tlbc = object.pointer(*fields.co_tlbc).value_or(RemoteAddr{});
        return {};
    };
    if (auto filled = fill(); !filled) code->problem = std::move(filled).error();
    return code;
}

Result<void> CodeReader::check_type(RemoteAddr address, RemoteAddr type) {
    if (std::find(code_types_.begin(), code_types_.end(), type) != code_types_.end()) return {};
    if (!is_code_type(memory_, layout_, type))
        return fail(corrupt("type of a code object", address));
    code_types_.push_back(type);
    return {};
}

std::optional<Code::Identity> CodeReader::read_identity(RemoteAddr address,
                                                        std::span<const std::byte> bytes) const {
    const auto& fields = layout_.code_object;
    const std::uint64_t begin = identity_range(address).begin - address;
    const RemoteStruct object(address, bytes);
    const auto filename = object.pointer(*fields.filename - begin);
    const auto name = object.pointer(*fields.name - begin);
    const auto linetable = object.pointer(*fields.linetable - begin);
    const auto first_line = object.get<std::int32_t>(*fields.firstlineno - begin);
    if (!filename || !name || !linetable || !first_line) return std::nullopt;
    Code::Identity identity{.filename = *filename,
                            .name = *name,
                            .qualname = {},
                            .linetable = *linetable,
                            .first_line = *first_line};
    if (fields.qualname)
        identity.qualname = object.pointer(*fields.qualname - begin).value_or(RemoteAddr{});
    return identity;
}

bool CodeReader::verify(std::span<const RawFrame> frames) {
    const std::vector<RemoteAddr> addresses = distinct(frames);
    std::vector<RemoteRange> ranges;
    for (const RemoteAddr address : addresses) ranges.push_back(identity_range(address));
    MemoryCopy copy(memory_);
    copy.fetch(ranges);
    bool same = true;
    for (const RemoteAddr address : addresses) {
        const Code* code = find(address);
        const auto bytes = copy.view(identity_range(address).begin, identity_range(address).size());
        if (code != nullptr && bytes && is_same(*code, *bytes)) continue;
        if (code != nullptr) forget(*code);
        same = false;
    }
    return same;
}

bool CodeReader::is_same(const Code& code, std::span<const std::byte> bytes) const {
    return !code.problem && bytes.size() == identity_.size() &&
           read_identity(code.address, bytes) == code.identity;
}

void CodeReader::forget(const Code& code) {
    if (std::uint32_t* known = known_.find(code.address.value); known && *known == code.index) {
        *known = kForgotten;
    }
}

const Code* CodeReader::find(RemoteAddr code) const {
    const std::uint32_t* known = known_.find(code.value);
    return known == nullptr || *known == kForgotten ? nullptr : codes_[*known].get();
}

std::optional<RemoteAddr> CodeReader::bytecode(const Code& code, const RawFrame& frame) {
    if (!code.tlbc || frame.tlbc_index == 0)
        return code.address + *layout_.code_object.co_code_adaptive;
    // struct _PyCodeArray {Py_ssize_t size; char *entries[]}, grown by replacement, so it is read
    // anew [Include/internal/pycore_code.h of 3.14].
    const auto table = memory_.read_pointer(code.address + *layout_.code_object.co_tlbc);
    if (!table) return std::nullopt;
    const auto size = memory_.read_value<std::int64_t>(*table);
    if (!size || frame.tlbc_index < 0 || frame.tlbc_index >= *size) return std::nullopt;
    const auto entry =
        memory_.read_pointer(*table + 8 + 8 * static_cast<std::uint64_t>(frame.tlbc_index));
    if (!entry || !*entry) return std::nullopt;
    return *entry;
}

std::optional<std::int64_t> CodeReader::place(const Code& code, const RawFrame& frame) {
    if (frame.line > 0) return kLinePlaces + frame.line;
    const auto index = static_cast<std::int64_t>(frame.instruction);
    switch (layout_.instruction) {
        case Instruction::kByteIndex:
            return index < 0 ? -1 : index;
        case Instruction::kUnitIndex:
            return index < 0 ? -1 : index * kUnitBytes;
        case Instruction::kPreviousUnit:
        case Instruction::kCurrentUnit:
            break;
    }
    const auto base = bytecode(code, frame);
    if (!base) return std::nullopt;
    const auto offset = static_cast<std::int64_t>(frame.instruction - base->value);
    if (layout_.instruction == Instruction::kPreviousUnit && offset == -kUnitBytes) return -1;
    if (offset < 0 || offset >= code.size_bytes || offset % kUnitBytes != 0) return std::nullopt;
    return offset;
}

bool CodeReader::instructions_fit(std::span<const RawFrame> frames) {
    return std::all_of(frames.begin(), frames.end(), [this](const RawFrame& frame) {
        if (frame.shim) return true;
        const Code* code = find(frame.code);
        return code != nullptr && !code->problem && place(*code, frame).has_value();
    });
}

RemoteAddr CodeReader::first_unknown(std::span<const RawFrame> frames) const {
    for (const RawFrame& frame : frames) {
        const Code* code = frame.shim ? nullptr : find(frame.code);
        if (!frame.shim && (code == nullptr || code->problem)) return frame.code;
    }
    return {};
}

bool Code::is_generator() const {
    return (flags & kGeneratorFlags) != 0;
}

bool Code::is_coroutine() const {
    return (flags & kCoroutineFlags) != 0;
}

bool CodeReader::is_truncated(std::span<const RawFrame> frames) const {
    const auto outermost = std::find_if(frames.rbegin(), frames.rend(),
                                        [](const RawFrame& frame) { return !frame.shim; });
    if (outermost == frames.rend()) return false;
    const Code* code = find(outermost->code);
    return code != nullptr && code->is_generator();
}

bool CodeReader::is_incomplete(const Code& code, const RawFrame& frame) {
    if (!layout_.code_object.firsttraceable || frame.owner == layout_.generator_owner) return false;
    const auto offset = place(code, frame);
    return offset && *offset < code.first_traceable;
}

model::SourcePosition CodeReader::position(const Code& code, std::int64_t place) const {
    if (place >= kLinePlaces) {
        model::SourcePosition position;
        position.line = static_cast<std::int32_t>(place - kLinePlaces);
        return position;
    }
    if (!code.line_table) return {};
    std::span<const std::byte> table(*code.line_table);
    if (layout_.line_table == LineTableFormat::kLocations311) {
        // Nothing behind this is of this instruction, whatever the table says.
        const auto unit = static_cast<std::uint64_t>(std::max<std::int64_t>(place, 0)) / 2;
        const std::uint64_t reach = (unit + 1) * kMaxEntryBytes;
        if (reach < table.size()) table = table.first(static_cast<std::size_t>(reach));
    }
    if (!limits_->charge_steps(1 + table.size() / 16)) return {};
    return position_at(layout_.line_table, table, code.identity.first_line, place);
}

}  // namespace pystack::cpython
