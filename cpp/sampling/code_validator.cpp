#include "sampling/code_validator.h"

namespace pystack::sampling {

using cpython::Code;
using memory::ReadBatch;

namespace {

/// More are verified by a call of their own, when they are needed.
constexpr std::size_t kMostInBatch = 512;

}  // namespace

std::uint64_t& CodeValidator::stamp(std::vector<std::uint64_t>& stamps, const Code& code) {
    if (stamps.size() <= code.index) stamps.resize(codes_.count(), 0);
    return stamps[code.index];
}

void CodeValidator::begin_use() {
    in_use_.clear();
    ++list_;
}

void CodeValidator::use(const InternedStack& stack) {
    const Code* last = nullptr;
    for (const InternedStack::Entry& entry : stack.entries) {
        if (entry.code == nullptr || entry.code == last || in_use_.size() >= kMostInBatch) continue;
        last = entry.code;
        std::uint64_t& listed = stamp(listed_, *entry.code);
        if (listed == list_) continue;
        listed = list_;
        in_use_.push_back(entry.code);
    }
}

void CodeValidator::add_to(ReadBatch& batch, bool has_generations) {
    first_piece_ = batch.size();
    piece_count_ = has_generations ? 0 : in_use_.size();
    for (std::size_t i = 0; i < piece_count_; ++i)
        batch.add(codes_.identity_range(in_use_[i]->address));
}

void CodeValidator::accept(const ReadBatch& batch,
                           const cpython::CachedInterpreters& interpreters) {
    bool same = interpreters.generations_held();
    generations_.resize(interpreters.interpreters().size());
    for (std::size_t i = 0; i < generations_.size(); ++i) {
        const auto generation = interpreters.now(i).code_generation;
        same = same && generation && generation == generations_[i];
        generations_[i] = generation;
    }
    if (!same) ++epoch_;
    for (std::size_t i = 0; i < piece_count_; ++i) check(*in_use_[i], batch, first_piece_ + i);
}

bool CodeValidator::check(const Code& code, const ReadBatch& batch, std::size_t piece) {
    if (batch.complete(piece) && codes_.is_same(code, batch.bytes(piece))) {
        stamp(verified_, code) = epoch_;
        return true;
    }
    codes_.forget(code);
    interner_.start_anew();
    return false;
}

bool CodeValidator::holds(const InternedStack& stack, bool proved_in_batch, std::size_t interpreter,
                          const cpython::CachedInterpreters& interpreters) {
    if (proved_in_batch) return verify(stack, false);
    // Proved after the batch: what the batch says of the code objects is too old.
    if (interpreter >= generations_.size() || !generations_[interpreter])
        return verify(stack, true);
    const auto generation = interpreters.read_generation(interpreter);
    if (generation != generations_[interpreter]) {
        generations_[interpreter] = generation;
        ++epoch_;
    }
    return verify(stack, false);
}

bool CodeValidator::verify(const InternedStack& stack, bool all) {
    to_verify_.clear();
    ++list_;
    const Code* last = nullptr;
    for (const InternedStack::Entry& entry : stack.entries) {
        if (entry.code == nullptr || entry.code == last) continue;
        last = entry.code;
        if (!all && stamp(verified_, *entry.code) == epoch_) continue;
        std::uint64_t& listed = stamp(listed_, *entry.code);
        if (listed == list_) continue;
        listed = list_;
        to_verify_.push_back(entry.code);
    }
    if (to_verify_.empty()) return true;
    batch_.clear();
    for (const Code* code : to_verify_) batch_.add(codes_.identity_range(code->address));
    batch_.read(memory_);
    bool same = true;
    for (std::size_t i = 0; i < to_verify_.size(); ++i)
        same = check(*to_verify_[i], batch_, i) && same;
    return same;
}

}  // namespace pystack::sampling
