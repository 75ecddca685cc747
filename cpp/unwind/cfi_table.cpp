#include "unwind/cfi_table.h"

#include <span>
#include <utility>

#include "modules/dwarf_constants.h"
#include "modules/elf_sections.h"

namespace pystack::unwind {

namespace {

/// Rows with expressions are a handful in real files (PLT, signal frames, realigned stacks).
constexpr std::size_t kMaxGeneralRules = 1 << 16;

using Kind = RegisterPlace::Kind;

/// The psABI's word for what the tables do not mention.
Kind kind_of(const FrameRow& row, unsigned number) {
    const Kind kind = row.registers[number].kind;
    if (kind != Kind::kUnspecified) return kind;
    if (number == arch::kStackPointerRegister) return Kind::kIsOffset;  // The CFA itself.
    for (const std::uint8_t preserved : arch::kPreserved) {
        if (number == preserved) return Kind::kSame;
    }
    return number == arch::kReturnAddressRegister ? Kind::kSame : Kind::kUndefined;
}

bool fits(std::int64_t offset) {
    return offset > INT16_MIN && offset < UnwindRule::kLost;
}

/// nullopt when it is not a plain rule.
std::optional<UnwindRule> plain_rule(const FrameRow& row) {
    UnwindRule rule;
    rule.kind = UnwindRule::Kind::kPlain;
    if (row.cfa_expression || row.cfa_register >= arch::kRegisterCount ||
        row.cfa_offset < INT32_MIN || row.cfa_offset > INT32_MAX) {
        return std::nullopt;
    }
    rule.cfa_register = static_cast<std::uint8_t>(row.cfa_register);
    rule.cfa_offset = static_cast<std::int32_t>(row.cfa_offset);

    constexpr std::int64_t kReturnSlot = -8;
    if (kind_of(row, arch::kReturnAddressRegister) != Kind::kAtOffset ||
        row.registers[arch::kReturnAddressRegister].number != kReturnSlot) {
        return std::nullopt;
    }
    const Kind stack_pointer = kind_of(row, arch::kStackPointerRegister);
    const bool is_cfa =
        stack_pointer == Kind::kSame || (stack_pointer == Kind::kIsOffset &&
                                         row.registers[arch::kStackPointerRegister].number == 0);
    if (!is_cfa) return std::nullopt;
    for (std::size_t i = 0; i < arch::kPreserved.size(); ++i) {
        const RegisterPlace& place = row.registers[arch::kPreserved[i]];
        switch (kind_of(row, arch::kPreserved[i])) {
            case Kind::kSame:
                rule.saved[i] = UnwindRule::kSame;
                break;
            case Kind::kUndefined:
                rule.saved[i] = UnwindRule::kLost;
                break;
            case Kind::kAtOffset:
                if (!fits(place.number)) return std::nullopt;
                rule.saved[i] = static_cast<std::int16_t>(place.number);
                break;
            default:
                return std::nullopt;
        }
    }
    return rule;
}

/// Where no branch of a decoded expression can lead to.
constexpr std::uint64_t kNowhere = UINT64_MAX;

/// nullopt when an expression makes no sense.
std::optional<std::vector<DwarfOperation>> operations_of(const RegisterPlace& place, Kind kind) {
    const DwarfOperation cfa{.code = modules::dwarf::kOpCallFrameCfa, .offset = kNowhere};
    switch (kind) {
        case Kind::kAtOffset:
        case Kind::kIsOffset: {
            std::vector<DwarfOperation> operations = {
                cfa,
                {.code = modules::dwarf::kOpPlusUConst,
                 .number = static_cast<std::uint64_t>(place.number)}};
            if (kind == Kind::kIsOffset)
                operations.push_back({.code = modules::dwarf::kOpStackValue});
            return operations;
        }
        case Kind::kInRegister:
            return std::vector<DwarfOperation>{
                {.code = modules::dwarf::kOpRegX,
                 .number = static_cast<std::uint64_t>(place.number)}};
        case Kind::kAtExpression:
        case Kind::kIsExpression: {
            auto operations = decode_expression(place.expression);
            if (!operations) return std::nullopt;
            operations->insert(operations->begin(), cfa);
            if (kind == Kind::kIsExpression) {
                operations->push_back(
                    {.code = modules::dwarf::kOpStackValue, .offset = place.expression.size()});
            }
            return operations;
        }
        default:
            return std::vector<DwarfOperation>();
    }
}

std::optional<GeneralRule> general_rule(const FrameRow& row) {
    GeneralRule general;
    if (row.cfa_expression) {
        auto operations = decode_expression(*row.cfa_expression);
        if (!operations || operations->empty()) return std::nullopt;
        general.cfa = *std::move(operations);
    } else {
        general.cfa = {{.code = modules::dwarf::kOpBregX,
                        .number = row.cfa_register,
                        .number2 = static_cast<std::uint64_t>(row.cfa_offset)}};
    }
    for (unsigned number = 0; number < arch::kRegisterCount; ++number) {
        RegisterRule& rule = general.registers[number];
        const Kind kind = kind_of(row, number);
        if (kind == Kind::kSame) continue;
        auto operations = operations_of(row.registers[number], kind);
        if (kind == Kind::kUndefined || !operations) {
            rule.kind = RegisterRule::Kind::kUndefined;
        } else {
            rule.kind = RegisterRule::Kind::kExpression;
            rule.operations = *std::move(operations);
        }
    }
    return general;
}

std::uint64_t size_of(const GeneralRule& general) {
    std::size_t operations = general.cfa.size();
    for (const RegisterRule& rule : general.registers) operations += rule.operations.size();
    return sizeof general + operations * sizeof(DwarfOperation);
}

/// Also a file that was compiled without .eh_frame has one, with some entries of the C library's
/// start files and the linkage table. Real ones have a tenth of the size of the code.
bool is_nearly_empty(const modules::ElfSection& eh_frame, const modules::CodeModule& module) {
    constexpr std::uint64_t kLeastShare = 64;
    std::uint64_t code_size = 0;
    for (const elf::LoadSegment& segment : module.segments()) {
        if (segment.executable) code_size += segment.file_size;
    }
    return eh_frame.size < code_size / kLeastShare;
}

bool has_debug_frame(const modules::ElfSections& sections) {
    return modules::find_debug_section(sections, ".debug_frame") != nullptr;
}

}  // namespace

CfiTable::CfiTable(std::shared_ptr<const modules::CodeModule> module,
                   const modules::DebugFileOptions& debug_files)
    : module_(std::move(module)), limits_(debug_files.limits), functions_(module_) {
    const modules::ElfSections sections(module_->bytes());
    const modules::ElfSection* const eh_frame = sections.find(".eh_frame");
    if (!functions_.has_table() && eh_frame != nullptr) {
        eh_frame_.emplace(eh_frame->bytes, eh_frame->address,
                          modules::FrameSection::Kind::kEhFrame);
    }
    const bool has_eh_frame = functions_.has_table() || eh_frame_;
    if (has_debug_frame(sections) || !has_eh_frame ||
        (eh_frame != nullptr && is_nearly_empty(*eh_frame, *module_))) {
        open_debug_frame(sections, debug_files);
    }
}

void CfiTable::open_debug_frame(const modules::ElfSections& sections,
                                const modules::DebugFileOptions& debug_files) {
    std::span<const std::byte> file = module_->bytes();
    if (!has_debug_frame(sections)) {
        debug_file_ = modules::find_debug_file(*module_, sections, debug_files);
        if (!debug_file_) return;
        file = debug_file_->image->bytes();
    }
    debug_sections_.emplace(file, limits_);
    const auto bytes = debug_sections_->bytes(".debug_frame");
    if (!bytes.empty()) debug_frame_.emplace(bytes, 0, modules::FrameSection::Kind::kDebugFrame);
}

UnwindRule CfiTable::rule(std::uint64_t file_address) {
    auto rule = rule_from(
        eh_frame_ ? eh_frame_->find(file_address, *limits_) : functions_.entry(file_address),
        file_address);
    if (!rule && debug_frame_)
        rule = rule_from(debug_frame_->find(file_address, *limits_), file_address);
    return rule.value_or(UnwindRule());
}

std::optional<UnwindRule> CfiTable::rule_from(const std::optional<modules::FrameEntry>& entry,
                                              std::uint64_t file_address) {
    if (!entry || entry->return_register != arch::kReturnAddressRegister) return std::nullopt;
    const auto row = row_at(*entry, file_address);
    if (!row) return std::nullopt;
    UnwindRule rule;
    if (kind_of(*row, arch::kReturnAddressRegister) == Kind::kUndefined) {
        rule.kind = UnwindRule::Kind::kOutermost;
        return rule;
    }
    if (!entry->is_signal_frame) {
        if (const auto plain = plain_rule(*row)) return plain;
    }
    auto known = general_.find(row->begin);
    if (known == general_.end()) {
        auto general = general_rule(*row);
        if (!general || general_.size() >= kMaxGeneralRules ||
            !limits_->charge_bytes(size_of(*general))) {
            return std::nullopt;
        }
        known = general_.emplace(row->begin, *std::move(general)).first;
    }
    rule.kind = UnwindRule::Kind::kGeneral;
    rule.is_signal_frame = entry->is_signal_frame;
    rule.general = &known->second;
    return rule;
}

}  // namespace pystack::unwind
