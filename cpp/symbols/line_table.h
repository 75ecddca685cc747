#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "symbols/dwarf_file.h"

namespace pystack::symbols {

/// Which line of which file each instruction of a unit was made of (.debug_line, versions 2 to 5).
class LineTable {
  public:
    /// Empty when the unit has none; as far as the limits allow, or it makes sense. The file must
    /// outlive this.
    LineTable(const DwarfFile& file, const DwarfUnit& unit);

    struct Place {
        std::string file;        ///< Empty when not known.
        std::uint32_t line = 0;  ///< 0: not known.
    };
    Place find(std::uint64_t address) const;
    /// By the number that attributes use; empty when there is none.
    std::string file(std::uint64_t number) const;

  private:
    struct Row {
        std::uint64_t address = 0;
        std::uint32_t file = 0;
        std::uint32_t line = 0;
        bool is_end = false;  ///< The first address behind a piece of code.
    };
    struct File {
        std::string_view name;
        std::uint64_t folder = 0;
    };
    struct Header {
        std::uint8_t instruction_size = 1;
        std::int8_t line_base = 0;
        std::uint8_t line_range = 1;
        std::uint8_t opcode_base = 1;
        std::span<const std::byte> operand_counts;
        FormSizes sizes;
    };

    bool read_header(modules::ByteCursor& cursor, modules::ByteCursor& program, Header& header);
    bool read_old_files(modules::ByteCursor& cursor);
    template <class Add>
    bool read_listed(modules::ByteCursor& cursor, FormSizes sizes, Add add);
    void run(modules::ByteCursor& program, const Header& header);
    bool add(const Row& row);

    const DwarfFile& dwarf_;
    const DwarfUnit& unit_;
    std::vector<Row> rows_;                  // By address.
    std::vector<std::string_view> folders_;  // The first is that of the compilation.
    std::vector<File> files_;
};

}  // namespace pystack::symbols
