#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "cpython/layout/layout.h"

namespace pystack::cpython {

/// No structure that is read whole may be larger, and no offset.
inline constexpr std::uint32_t kMaxStructSize = 1 << 20;

/// Run on every Layout before its first use, whatever its source; after it the walkers trust the
/// offsets. Each field that is present lies inside its structure with all its bytes, at its natural
/// alignment; no structure is larger than kMaxStructSize; and the fields are there without which a
/// stack cannot be read in the layout's own formats. kOffsetsRejected names the first field that
/// fails in `what`.
Result<void> check_layout(const Layout& layout);

/// kOffsetsRejected for `what` ("section.field"), with the value or the reason in the message.
Error offsets_rejected(const char* what, std::uint64_t value);
Error offsets_rejected(const char* what, const char* reason);

}  // namespace pystack::cpython
