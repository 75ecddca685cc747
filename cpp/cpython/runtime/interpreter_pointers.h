#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpython/layout/layout.h"
#include "elf/module_map.h"
#include "memory/page_cache.h"

namespace pystack::cpython {

/// Finds out which words of a memory point at something of an interpreter's shape: its first thread
/// points back at it.
class InterpreterPointers {
  public:
    /// `memory` must outlive it.
    explicit InterpreterPointers(const memory::MemoryReader& memory) : candidates_(memory) {}

    /// Interpreters and threads lie in readable and writable memory.
    void use(std::span<const elf::Mapping> mappings);
    bool knows_mappings() const { return !data_.empty(); }

    bool may_be_pointer(std::uint64_t word) const;

    /// Which of `indices` are those of such words. Two batched reads for all: the candidate's first
    /// thread, and that thread's interpreter.
    std::vector<std::size_t> among(const Layout& layout, std::span<const std::uint64_t> words,
                                   std::span<const std::size_t> indices);

  private:
    bool is_data_address(RemoteAddr address) const;
    template <class AddressOf>
    void read_words(std::span<std::uint64_t> destination, AddressOf address_of);

    /// Many words point at the same few pages. A page is read once; what is found in it is looked
    /// at again.
    memory::PageCache candidates_;
    std::vector<RemoteRange> data_;  ///< Sorted.
};

}  // namespace pystack::cpython
