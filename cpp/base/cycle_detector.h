#pragma once

#include <cstdint>

#include "base/address.h"

namespace pystack {

/// Notices when an address comes again (Brent): a corrupt or torn chain may be a ring.
class CycleDetector {
  public:
    bool seen(RemoteAddr address) {
        if (address == mark_) return true;
        if (++steps_ == limit_) {
            limit_ *= 2;
            mark_ = address;
        }
        return false;
    }

  private:
    RemoteAddr mark_;
    std::uint64_t steps_ = 0;
    std::uint64_t limit_ = 2;
};

}  // namespace pystack
