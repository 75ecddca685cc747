#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "elf/module_map.h"

namespace pystack::elf {

/// Reads the text of /proc/PID/maps piece by piece; malformed lines are skipped. Keeps no text but
/// the paths, and a path once for mappings that follow each other.
class MapsParser {
  public:
    /// `max_bytes`: what the mappings may take.
    explicit MapsParser(std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max())
        : bytes_left_(max_bytes) {}

    /// False once no more mappings are kept.
    bool add(std::string_view text);
    /// In the order of the text, which is by rising address.
    std::vector<Mapping> finish();

  private:
    void parse(std::string_view line);

    std::vector<Mapping> mappings_;
    SharedPath previous_;
    std::string line_;  // The beginning of a line whose end is in the next piece.
    std::uint64_t bytes_left_;
    bool is_full_ = false;
};

/// The whole text at once.
std::vector<Mapping> parse_maps(std::string_view text);

}  // namespace pystack::elf
