#include "unwind/cfi_table.h"

#include <dwarf.h>
#include <elfutils/libdw.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <span>
#include <utility>

#include "unwind/elf_sections.h"

namespace pystack::unwind {

namespace {

/// Rows with expressions are a handful in real files (PLT, signal frames, realigned stacks).
constexpr std::size_t kMaxGeneralRules = 1 << 16;
/// dwarf_frame_register's scratch space, as its documentation wants.
constexpr std::size_t kScratchOperations = 3;

struct Free {
    void operator()(Dwarf_Frame* frame) const { std::free(frame); }
};
using FrameHandle = std::unique_ptr<Dwarf_Frame, Free>;

std::vector<DwarfOperation> copy(const Dwarf_Op* operations, std::size_t count) {
    std::vector<DwarfOperation> copied;
    copied.reserve(count);
    for (const Dwarf_Op& operation : std::span(operations, count)) {
        copied.push_back({operation.atom, operation.number, operation.number2, operation.offset});
    }
    return copied;
}

/// What libdw says of one register.
struct Location {
    enum class Kind : std::uint8_t { kSame, kUndefined, kAtCfaPlus, kExpression };
    Kind kind = Kind::kUndefined;
    std::int64_t offset = 0;  // Of kAtCfaPlus.
    std::span<const Dwarf_Op> operations;
};

std::optional<Location> locate(Dwarf_Frame* frame, unsigned number,
                               std::array<Dwarf_Op, kScratchOperations>& scratch) {
    Dwarf_Op* operations = nullptr;
    std::size_t count = 0;
    if (dwarf_frame_register(frame, static_cast<int>(number), scratch.data(), &operations,
                             &count) != 0) {
        return std::nullopt;
    }
    Location location;
    if (count == 0) {
        location.kind = operations == nullptr ? Location::Kind::kSame : Location::Kind::kUndefined;
        return location;
    }
    location.operations = {operations, count};
    const bool from_cfa = operations[0].atom == DW_OP_call_frame_cfa;
    if (from_cfa && (count == 1 || (count == 2 && operations[1].atom == DW_OP_plus_uconst))) {
        location.kind = Location::Kind::kAtCfaPlus;
        location.offset = count == 1 ? 0 : static_cast<std::int64_t>(operations[1].number);
    } else {
        location.kind = Location::Kind::kExpression;
    }
    return location;
}

bool fits(std::int64_t offset) {
    return offset > INT16_MIN && offset < UnwindRule::kLost;
}

/// The stack pointer of the caller is the CFA: libdw says so in words.
bool is_cfa(const Location& location) {
    if (location.kind == Location::Kind::kSame) return true;
    const auto operations = location.operations;
    return location.kind == Location::Kind::kExpression && operations.size() >= 2 &&
           operations.front().atom == DW_OP_call_frame_cfa &&
           operations.back().atom == DW_OP_stack_value &&
           (operations.size() == 2 ||
            (operations.size() == 3 && operations[1].atom == DW_OP_plus_uconst &&
             operations[1].number == 0));
}

/// nullopt when it is not a plain rule.
std::optional<UnwindRule> plain_rule(Dwarf_Frame* frame, std::span<const Dwarf_Op> cfa) {
    UnwindRule rule;
    rule.kind = UnwindRule::Kind::kPlain;
    if (cfa.size() != 1) return std::nullopt;
    const Dwarf_Op& base = cfa.front();
    std::int64_t offset;
    if (base.atom == DW_OP_bregx && base.number < kRegisterCount) {
        rule.cfa_register = static_cast<std::uint8_t>(base.number);
        offset = static_cast<std::int64_t>(base.number2);
    } else if (base.atom >= DW_OP_breg0 && base.atom < DW_OP_breg0 + kRegisterCount) {
        rule.cfa_register = static_cast<std::uint8_t>(base.atom - DW_OP_breg0);
        offset = static_cast<std::int64_t>(base.number);
    } else {
        return std::nullopt;
    }
    if (offset < INT32_MIN || offset > INT32_MAX) return std::nullopt;
    rule.cfa_offset = static_cast<std::int32_t>(offset);

    std::array<Dwarf_Op, kScratchOperations> scratch;
    const auto return_address = locate(frame, kReturnAddressRegister, scratch);
    constexpr std::int64_t kReturnSlot = -8;
    if (!return_address || return_address->kind != Location::Kind::kAtCfaPlus ||
        return_address->offset != kReturnSlot) {
        return std::nullopt;
    }
    const auto stack_pointer = locate(frame, kStackPointerRegister, scratch);
    if (!stack_pointer || !is_cfa(*stack_pointer)) return std::nullopt;
    for (std::size_t i = 0; i < kPreserved.size(); ++i) {
        const auto location = locate(frame, kPreserved[i], scratch);
        if (!location) return std::nullopt;
        switch (location->kind) {
            case Location::Kind::kSame:
                rule.saved[i] = UnwindRule::kSame;
                break;
            case Location::Kind::kUndefined:
                rule.saved[i] = UnwindRule::kLost;
                break;
            case Location::Kind::kAtCfaPlus:
                if (!fits(location->offset)) return std::nullopt;
                rule.saved[i] = static_cast<std::int16_t>(location->offset);
                break;
            case Location::Kind::kExpression:
                return std::nullopt;
        }
    }
    return rule;
}

GeneralRule general_rule(Dwarf_Frame* frame, std::span<const Dwarf_Op> cfa) {
    GeneralRule general;
    general.cfa = copy(cfa.data(), cfa.size());
    std::array<Dwarf_Op, kScratchOperations> scratch;
    for (unsigned number = 0; number < kRegisterCount; ++number) {
        RegisterRule& rule = general.registers[number];
        const auto location = locate(frame, number, scratch);
        if (!location || location->kind == Location::Kind::kUndefined) {
            rule.kind = RegisterRule::Kind::kUndefined;
        } else if (location->kind != Location::Kind::kSame) {
            rule.kind = RegisterRule::Kind::kExpression;
            rule.operations = copy(location->operations.data(), location->operations.size());
        }
    }
    return general;
}

/// Also a file that was compiled without .eh_frame has one, with some entries of the C library's
/// start files and the linkage table. Real ones have a tenth of the size of the code.
bool is_nearly_empty(const ElfSection* eh_frame, const CodeModule& module) {
    constexpr std::uint64_t kLeastShare = 64;
    if (eh_frame == nullptr) return false;
    std::uint64_t code_size = 0;
    for (const elf::LoadSegment& segment : module.segments()) {
        if (segment.executable) code_size += segment.file_size;
    }
    return eh_frame->size < code_size / kLeastShare;
}

}  // namespace

CfiTable::CfiTable(std::shared_ptr<const CodeModule> module, const DebugFileOptions& debug_files)
    : module_(std::move(module)), elf_(module_->bytes()) {
    if (elf_.get() == nullptr) return;
    eh_frame_ = dwarf_getcfi_elf(elf_.get());
    open_debug_frame(debug_files);
}

CfiTable::~CfiTable() {
    if (eh_frame_ != nullptr) dwarf_cfi_end(eh_frame_);
}

UnwindRule CfiTable::rule(std::uint64_t file_address) {
    if (auto rule = rule_from(eh_frame_, file_address)) return *rule;
    if (auto rule = rule_from(debug_frame_, file_address)) return *rule;
    return {};
}

void CfiTable::open_debug_frame(const DebugFileOptions& debug_files) {
    const auto has_table = [](const ElfSections& sections) {
        return sections.find(".debug_frame") != nullptr ||
               sections.find(".zdebug_frame") != nullptr;
    };
    const ElfSections sections(module_->bytes());
    std::span<const std::byte> file = module_->bytes();
    if (!has_table(sections)) {
        if (eh_frame_ != nullptr && !is_nearly_empty(sections.find(".eh_frame"), *module_)) return;
        debug_file_ = find_debug_file(*module_, sections, debug_files);
        if (!debug_file_ || !has_table(ElfSections(debug_file_->image->bytes()))) return;
        file = debug_file_->image->bytes();
    }
    dwarf_ = std::make_unique<DwarfHandle>(file);
    if (dwarf_->get() != nullptr) debug_frame_ = dwarf_getcfi(dwarf_->get());
}

std::optional<UnwindRule> CfiTable::rule_from(Dwarf_CFI* cfi, std::uint64_t file_address) {
    if (cfi == nullptr) return std::nullopt;
    Dwarf_Frame* raw_frame = nullptr;
    if (dwarf_cfi_addrframe(cfi, file_address, &raw_frame) != 0) return std::nullopt;
    const FrameHandle frame(raw_frame);
    Dwarf_Addr begin = 0;
    bool is_signal_frame = false;
    if (dwarf_frame_info(frame.get(), &begin, nullptr, &is_signal_frame) !=
        kReturnAddressRegister) {
        return std::nullopt;
    }
    std::array<Dwarf_Op, kScratchOperations> scratch;
    const auto return_address = locate(frame.get(), kReturnAddressRegister, scratch);
    UnwindRule rule;
    if (return_address && return_address->kind == Location::Kind::kUndefined) {
        rule.kind = UnwindRule::Kind::kOutermost;
        return rule;
    }
    Dwarf_Op* cfa = nullptr;
    std::size_t cfa_size = 0;
    if (dwarf_frame_cfa(frame.get(), &cfa, &cfa_size) != 0 || cfa_size == 0) return std::nullopt;
    const std::span<const Dwarf_Op> cfa_operations(cfa, cfa_size);
    if (!is_signal_frame) {
        if (const auto plain = plain_rule(frame.get(), cfa_operations)) return plain;
    }
    if (general_.size() >= kMaxGeneralRules && !general_.contains(begin)) return std::nullopt;
    const auto [place, is_new] = general_.try_emplace(begin);
    if (is_new) place->second = general_rule(frame.get(), cfa_operations);
    rule.kind = UnwindRule::Kind::kGeneral;
    rule.is_signal_frame = is_signal_frame;
    rule.general = &place->second;
    return rule;
}

}  // namespace pystack::unwind
