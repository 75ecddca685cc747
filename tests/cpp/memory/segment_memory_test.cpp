#include "memory/segment_memory.h"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "support/fake_memory.h"

namespace {

using namespace pystack;
using memory::Region;
using memory::SegmentMemory;

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

Region text_at(std::uint64_t begin, std::string_view text) {
    return Region::of_bytes({begin}, bytes_of(text), nullptr);
}

/// What can be read at `address`; zero bytes as points.
std::string read(const SegmentMemory& memory, std::uint64_t address, std::size_t size) {
    std::string text(size, '?');
    const std::size_t done =
        memory.read_up_to({address}, std::as_writable_bytes(std::span(text.data(), size)));
    for (char& c : text) c = c == '\0' ? '.' : c;
    CHECK(text.substr(done).find_first_not_of('?') == std::string::npos);
    return text.substr(0, done);
}

}  // namespace

TEST_CASE("a read runs across neighbours and stops at the first gap") {
    const SegmentMemory memory({text_at(100, "abc"), text_at(103, "def"), text_at(110, "xyz")});
    CHECK(read(memory, 100, 6) == "abcdef");
    CHECK(read(memory, 102, 2) == "cd");
    CHECK(read(memory, 101, 50) == "bcdef");
    CHECK(read(memory, 106, 1) == "");
    CHECK(read(memory, 99, 5) == "");
    CHECK(read(memory, 112, 5) == "z");
    CHECK(read(memory, 113, 5) == "");
    CHECK(read(memory, 100, 0) == "");
    const auto failed = memory.read_bytes({104}, 10);
    REQUIRE(!failed);
    CHECK(failed.error().code == ErrorCode::kReadFault);
    CHECK(failed.error().address == RemoteAddr{106});
}

TEST_CASE("the later region wins where two overlap") {
    const SegmentMemory inside({text_at(100, "abcdefgh"), text_at(102, "XY")});
    CHECK(read(inside, 100, 20) == "abXYefgh");
    const SegmentMemory around({text_at(102, "XY"), text_at(100, "abcdefgh")});
    CHECK(read(around, 100, 20) == "abcdefgh");
    const SegmentMemory across({text_at(100, "abcd"), text_at(104, "efgh"), text_at(102, "1234")});
    CHECK(read(across, 100, 20) == "ab1234gh");
    const SegmentMemory same({text_at(100, "old"), text_at(100, "new")});
    CHECK(read(same, 100, 20) == "new");
}

TEST_CASE("holes hide what is below them, zeros fill") {
    const SegmentMemory memory({text_at(100, "abcdefgh"), Region::hole({{102}, {104}}),
                                Region::of_zeros({{108}, {111}}), text_at(103, "!")});
    CHECK(read(memory, 100, 20) == "ab");
    CHECK(read(memory, 103, 20) == "!efgh...");
}

TEST_CASE("a region can ask another reader, and ends where that ends") {
    const auto inner = std::make_shared<testing::FakeMemory>();
    inner->add({90}, {12, std::byte{'i'}});
    const SegmentMemory memory(
        {Region::of_reader({{95}, {105}}, inner), text_at(98, "##"), text_at(105, "end")});
    CHECK(read(memory, 95, 20) == "iii##ii");
    CHECK(read(memory, 104, 20) == "");
    CHECK(read(memory, 105, 20) == "end");
    CHECK(read(memory, 90, 20) == "");
}

TEST_CASE("the end of the address space is no way around") {
    constexpr std::uint64_t kLast = std::numeric_limits<std::uint64_t>::max();
    const SegmentMemory memory({text_at(kLast - 2, "abcdef"), text_at(0, "zero")});
    CHECK(read(memory, kLast - 2, 20) == "ab");
    CHECK(read(memory, kLast - 1, 1) == "b");
    CHECK(read(memory, kLast, 8) == "");
    CHECK(read(memory, 0, 8) == "zero");
}

TEST_CASE("no regions, and empty ones, read as nothing") {
    const SegmentMemory none(std::vector<Region>{});
    CHECK(read(none, 0, 4) == "");
    const SegmentMemory empty({text_at(5, ""), Region::of_zeros({{9}, {3}})});
    CHECK(read(empty, 5, 4) == "");
}

TEST_CASE("regions keep their bytes alive") {
    auto owner = std::make_shared<std::string>("kept");
    const std::weak_ptr<std::string> watch = owner;
    {
        const std::string_view text = *owner;
        const SegmentMemory memory({Region::of_bytes({1}, bytes_of(text), std::move(owner))});
        CHECK(!watch.expired());
        CHECK(read(memory, 1, 4) == "kept");
    }
    CHECK(watch.expired());
}

TEST_CASE("random regions read like a byte-wise model of them") {
    std::mt19937 random(7);
    const auto below = [&](unsigned bound) { return static_cast<std::uint64_t>(random() % bound); };
    std::string noise;
    for (int i = 0; i < 256; ++i) noise += static_cast<char>(random());
    for (int round = 0; round < 500; ++round) {
        std::vector<Region> regions;
        std::map<std::uint64_t, char> model;
        for (std::uint64_t i = below(12); i > 0; --i) {
            const std::uint64_t begin = below(64);
            const std::uint64_t size = below(24);
            const std::string_view text = std::string_view(noise).substr(below(200), size);
            switch (below(3)) {
                case 0:
                    regions.push_back(text_at(begin, text));
                    break;
                case 1:
                    regions.push_back(Region::of_zeros({{begin}, {begin + size}}));
                    break;
                default:
                    regions.push_back(Region::hole({{begin}, {begin + size}}));
                    break;
            }
            const bool hole = !regions.back().zeros && regions.back().bytes == nullptr;
            for (std::uint64_t k = 0; k < size; ++k) {
                if (hole) {
                    model.erase(begin + k);
                } else {
                    model[begin + k] = regions.back().zeros ? '\0' : text[k];
                }
            }
        }
        const SegmentMemory memory(regions);
        for (std::uint64_t address = 0; address < 90; ++address) {
            std::array<char, 40> got;
            const std::size_t done =
                memory.read_up_to({address}, std::as_writable_bytes(std::span(got)));
            std::size_t expected = 0;
            while (expected < got.size() && model.contains(address + expected) &&
                   (expected >= done || got[expected] == model[address + expected])) {
                ++expected;
            }
            REQUIRE(done == expected);
        }
    }
}
