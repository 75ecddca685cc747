#include "cpython/frames/proof_copies.h"

#include <doctest/doctest.h>

#include <vector>

#include "support/proof_parts.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::FakeInterpreter;
using pystack::testing::for_each_version;
using pystack::testing::layout_of;
using pystack::testing::ProofParts;

namespace {

/// Records what is read, in order.
class Order final : public memory::MemoryReader {
  public:
    std::size_t read_up_to(RemoteAddr, std::span<std::byte>) const override { return 0; }
    void read_many(std::span<memory::ReadRequest> requests) const override {
        for (const memory::ReadRequest& request : requests)
            ranges.push_back({request.address, request.address + request.destination.size()});
    }

    mutable std::vector<RemoteRange> ranges;
};

std::vector<RemoteRange> order_of(const StackRanges& ranges, bool continues) {
    memory::ReadBatch batch;
    ProofCopies::add_to(batch, ranges, continues);
    const Order order;
    batch.read(order);
    return order.ranges;
}

constexpr std::size_t kDeep = 400;

}  // namespace

TEST_CASE("copies are read from the outermost frames in, and then back") {
    for_each_version([](FakeInterpreter& fake) {
        const ProofParts parts(fake, kDeep);
        const std::size_t count = parts.ranges.size();
        REQUIRE(count > 2);
        const auto order = order_of(parts.ranges, false);
        REQUIRE(order.size() == 2 * count - 1);
        for (std::size_t i = 0; i < count; ++i) {
            CHECK(order[count - 1 - i] == parts.ranges[i]);
            CHECK(order[count - 1 + i] == parts.ranges[i]);
        }
    });
}

TEST_CASE("a proof that continues the last one reads far ranges once") {
    for_each_version([](FakeInterpreter& fake) {
        const ProofParts parts(fake, kDeep);
        const std::size_t count = parts.ranges.size();
        const auto order = order_of(parts.ranges, true);
        REQUIRE(order.size() == 2 * count - 1);
        for (std::size_t i = 0; i < count; ++i) {
            CHECK((order[count - 1 - i].size() == 0) == parts.ranges.is_far(i));
            CHECK(order[count - 1 + i] == parts.ranges[i]);
        }
    });
}

TEST_CASE("copies tell which bytes agree") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 5);
        const RemoteAddr changed = parts.instruction_at(4);
        std::size_t hint = 0;
        const auto place = parts.ranges.find({changed, changed + 4}, hint);
        REQUIRE(place);
        parts.memory.between = [&] { fake.memory().put(changed, std::int32_t{1000}); };
        parts.read();
        const std::uint32_t at = place->offset;
        CHECK(parts.copies.size(place->range) == parts.ranges[place->range].size());
        CHECK(parts.copies.agree(place->range, 0, at));
        CHECK_FALSE(parts.copies.agree(place->range, at, at + 4));
        CHECK_FALSE(parts.copies.agree(place->range, 0, at + 4));
        CHECK(parts.copies.agree(place->range, at + 4, parts.copies.size(place->range)));
        CHECK_FALSE(parts.copies.agree(place->range, at + 4, parts.copies.size(place->range) + 1));
    });
}

TEST_CASE("copies tell which bytes are as they were proved") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 5);
        parts.read();
        CHECK(parts.copies.unchanged(parts.ranges.thread_range()) == 0);
        REQUIRE(parts.prove());
        const RemoteAddr changed = parts.instruction_at(4);
        fake.memory().put(changed, std::int32_t{1000});
        parts.read();
        std::size_t hint = 0;
        const auto place = parts.ranges.find({changed, changed + 4}, hint);
        REQUIRE(place);
        const std::uint32_t at = place->offset;
        CHECK(parts.copies.unchanged(place->range) >= at);
        CHECK(parts.copies.unchanged(place->range) < at + 4);
        CHECK_FALSE(parts.copies.is_unchanged(place->range, at, at + 4));
        CHECK(parts.copies.is_unchanged(place->range, at + 4, parts.copies.size(place->range)));
        CHECK(parts.copies.agree(place->range, at, at + 4));
    });
}

TEST_CASE("only what both copies have counts") {
    FakeInterpreter fake(layout_of(13));
    ProofParts parts(fake, 5);
    parts.memory.between = [&] { fake.unmap(parts.base); };
    parts.read();
    std::size_t hint = 0;
    const auto place = parts.ranges.find(parts.format.header_at(parts.base), hint);
    REQUIRE(place);
    CHECK(parts.copies.size(place->range) == 0);
    CHECK_FALSE(parts.copies.agree(place->range, 0, 8));
}

TEST_CASE("bytes of the last proof are the first copy of a proof that continues it") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, kDeep);
        REQUIRE(parts.prove());
        CHECK(parts.copies.can_continue(parts.ranges));
        const RemoteAddr changed = parts.instruction_at(3);
        fake.memory().put(changed, std::int32_t{1000});
        parts.batch.clear();
        parts.batch.add(parts.ranges[0]);  // Of somebody else.
        const std::size_t first = ProofCopies::add_to(parts.batch, parts.ranges, true);
        REQUIRE(first == 1);
        parts.batch.read(parts.memory);
        parts.copies.use(parts.ranges, parts.last.bytes(), true, parts.batch, first);
        std::size_t hint = 0;
        const auto place = parts.ranges.find({changed, changed + 4}, hint);
        REQUIRE(place);
        REQUIRE(parts.ranges.is_far(place->range));
        CHECK(parts.copies.size(place->range) == parts.ranges[place->range].size());
        CHECK(parts.copies.unchanged(place->range) == parts.copies.size(place->range));
        CHECK_FALSE(parts.copies.agree(place->range, place->offset, place->offset + 4));
        CHECK_FALSE(parts.copies.can_continue(parts.ranges));
    });
}

TEST_CASE("a stack that is read fast is not worth continuing") {
    for_each_version([](FakeInterpreter& fake) {
        ProofParts parts(fake, 20);
        REQUIRE(parts.prove());
        CHECK_FALSE(parts.copies.can_continue(parts.ranges));
    });
}
