#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "memory/memory_reader.h"

namespace pystack::memory {

/// Pieces of a target, read by one call in the order in which they were added, into one buffer.
/// Clearing keeps the storage, so a batch in steady use allocates nothing.
class ReadBatch {
  public:
    void clear() {
        requests_.clear();
        total_ = 0;
    }

    /// The index of the piece.
    std::size_t add(RemoteRange range) {
        // The place in the buffer is known when all pieces are: see read().
        requests_.push_back(
            {range.begin, std::span<std::byte>(static_cast<std::byte*>(nullptr), range.size())});
        total_ += range.size();
        return requests_.size() - 1;
    }

    void read(const MemoryReader& memory) {
        if (buffer_.size() < total_) {
            // What was there is not needed any more, and of much there is not more than needed.
            const std::size_t size = total_ < kMuch ? std::max(total_, buffer_.size() * 2) : total_;
            buffer_ = {};
            buffer_.resize(size);
        }
        std::byte* place = buffer_.data();
        for (ReadRequest& request : requests_) {
            request.destination = {place, request.destination.size()};
            request.done = 0;
            place += request.destination.size();
        }
        memory.read_many(requests_);
    }

    std::size_t size() const { return requests_.size(); }
    std::size_t total_bytes() const { return total_; }

    // After read(), until the next clear():
    const std::byte* data(std::size_t piece) const { return requests_[piece].destination.data(); }
    std::size_t done(std::size_t piece) const { return requests_[piece].done; }
    bool complete(std::size_t piece) const { return requests_[piece].complete(); }
    /// What came of the piece.
    std::span<const std::byte> bytes(std::size_t piece) const {
        return requests_[piece].destination.first(requests_[piece].done);
    }

  private:
    static constexpr std::size_t kMuch = 1 << 20;

    std::vector<ReadRequest> requests_;
    std::vector<std::byte> buffer_;
    std::size_t total_ = 0;
};

}  // namespace pystack::memory
