#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "cpython/values/rendering.h"

namespace pystack::cpython {

/// repr() of a str or bytes, without the secrets in it. `is_cut`: it is the beginning of a longer
/// one.
void append_masked_str(Rendering& r, std::string_view utf8, bool is_cut);
void append_masked_bytes(Rendering& r, std::span<const std::byte> bytes, bool is_cut);

/// The value of a dict's item, or what stands in its place if the key is a name that hides it.
void append_value_of_key(Rendering& r, RemoteAddr key, RemoteAddr value);

/// The items of a sequence or set, `total` in all, without brackets. In a sequence, a name may hide
/// the item after it: the first of two, as headers are often stored, or an option of a command line
/// such as "--password".
void append_items(Rendering& r, std::uint64_t total, std::span<const RemoteAddr> items,
                  bool in_order = true);

}  // namespace pystack::cpython
