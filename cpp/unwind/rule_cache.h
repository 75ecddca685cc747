#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/address.h"
#include "modules/native_frame.h"
#include "unwind/unwind_rule.h"

namespace pystack::unwind {

/// A rule with the module that it is from.
struct CachedRule {
    UnwindRule rule;
    std::uint64_t bias = 0;
    std::uint32_t module = modules::kNoModule;
    bool is_code = false;   ///< The address lies in executable memory.
    bool is_guess = false;  ///< Not from the tables: what it leads to has to be checked.
    bool is_perf_trampoline = false;
};

/// The rules of the addresses met so far: programs come by the same few thousand return addresses
/// again and again, and working a rule out of the tables costs fifty times as much as finding it
/// here.
class RuleCache {
  public:
    RuleCache() { clear(); }

    /// Null when it is not there. Valid until the next insert or clear.
    const CachedRule* find(RemoteAddr address) const {
        for (std::size_t slot = slot_of(address);; slot = (slot + 1) & mask()) {
            if (entries_[slot].address == address) return &entries_[slot].rule;
            if (!entries_[slot].address) return nullptr;
        }
    }

    /// `address` is not zero and not there yet.
    const CachedRule& insert(RemoteAddr address, const CachedRule& rule) {
        if (count_ >= kMaxEntries) clear();
        if ((count_ + 1) * 2 > entries_.size()) grow();
        ++count_;
        return place(address, rule);
    }

    void clear() {
        entries_.assign(kFirstSize, {});
        count_ = 0;
    }

    std::size_t size() const { return count_; }

  private:
    /// Powers of two. The upper bound is 14 MB, and more distinct addresses than most programs
    /// have.
    static constexpr std::size_t kFirstSize = 1 << 10;
    static constexpr std::size_t kMaxEntries = 1 << 16;

    struct Entry {
        RemoteAddr address;  // 0: free.
        CachedRule rule;
    };

    std::size_t mask() const { return entries_.size() - 1; }
    std::size_t slot_of(RemoteAddr address) const {
        // Fibonacci hashing: neighbouring addresses go to distant slots.
        return static_cast<std::size_t>(address.value * 0x9e3779b97f4a7c15U >> 32) & mask();
    }

    const CachedRule& place(RemoteAddr address, const CachedRule& rule) {
        std::size_t slot = slot_of(address);
        while (entries_[slot].address) slot = (slot + 1) & mask();
        entries_[slot] = {address, rule};
        return entries_[slot].rule;
    }

    void grow() {
        std::vector<Entry> old(entries_.size() * 2);
        old.swap(entries_);
        for (const Entry& entry : old) {
            if (entry.address) place(entry.address, entry.rule);
        }
    }

    std::vector<Entry> entries_;
    std::size_t count_ = 0;
};

}  // namespace pystack::unwind
