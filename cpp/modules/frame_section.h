#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/work_limits.h"
#include "modules/byte_cursor.h"

namespace pystack::modules {

/// How to unwind a piece of code: an entry of .eh_frame or .debug_frame, with what it shares with
/// others (LSB, section 10.6; DWARF 5, section 6.4).
struct FrameEntry {
    std::uint64_t begin = 0;  ///< Of the code, as in the file.
    std::uint64_t end = 0;
    std::uint64_t code_unit = 1;
    std::int64_t data_unit = 1;
    std::uint64_t return_register = 0;
    std::uint8_t encoding = 0;  ///< Of addresses: DW_EH_PE_...
    bool is_signal_frame = false;
    std::span<const std::byte> first_instructions;  ///< What is true at the beginning of the code.
    std::span<const std::byte> instructions;
    std::uint64_t instructions_address = 0;

    bool contains(std::uint64_t address) const { return begin <= address && address < end; }
};

/// Takes an address. `place` is that of the cursor's first byte, `data_base` what relative ones of
/// .eh_frame_hdr count from. nullopt when it is not there, or encoded in a way that files do not
/// use.
std::optional<std::uint64_t> take_encoded(ByteCursor& cursor, std::uint8_t encoding,
                                          std::uint64_t place, std::uint64_t data_base);

/// One such section. The bytes are untrusted and must outlive this. Belongs to one thread at a
/// time.
class FrameSection {
  public:
    enum class Kind : std::uint8_t { kEhFrame, kDebugFrame };

    /// `address` is where the section is loaded.
    FrameSection(std::span<const std::byte> bytes, std::uint64_t address, Kind kind)
        : bytes_(bytes), address_(address), kind_(kind) {}

    bool empty() const { return bytes_.empty(); }
    std::uint64_t address() const { return address_; }
    /// nullopt when there is no entry for code at `offset`.
    std::optional<FrameEntry> entry(std::uint64_t offset) const;
    /// The entry whose code has `address` in it. The first question reads all entries, as far as
    /// the limits allow.
    std::optional<FrameEntry> find(std::uint64_t address, WorkLimits& limits);

  private:
    struct Header {
        std::uint64_t end = 0;       ///< Of the entry.
        std::uint64_t shared = 0;    ///< Offset of what it shares with others, or kNone.
        std::uint64_t contents = 0;  ///< Offset of what follows.
    };
    struct Place {
        std::uint64_t begin = 0;
        std::uint64_t offset = 0;
    };

    std::optional<Header> header(std::uint64_t offset) const;
    bool read_shared(std::uint64_t offset, FrameEntry& entry, bool& has_data) const;
    void read_all(WorkLimits& limits);

    std::span<const std::byte> bytes_;
    std::uint64_t address_;
    Kind kind_;
    std::optional<std::vector<Place>> places_;  // By begin.
};

}  // namespace pystack::modules
