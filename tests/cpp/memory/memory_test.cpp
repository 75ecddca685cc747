#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "memory/memory_copy.h"
#include "memory/process_memory.h"
#include "memory/remote_struct.h"
#include "support/fake_memory.h"

using namespace pystack;
using namespace pystack::memory;
using pystack::testing::FakeMemory;

namespace {

std::vector<std::byte> counting(std::size_t size, unsigned first = 0) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(first + i);
    return bytes;
}

std::vector<std::byte> text_bytes(const std::string& text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

/// Our own memory, with pages in it that cannot be read: the odd ones. They are pages behind the
/// end of a file, so that they stay so; an unmapped page is soon somebody else's.
class PagesWithGaps {
  public:
    static constexpr std::size_t kPage = 4096;

    explicit PagesWithGaps(std::size_t count)
        : size_(count * kPage), file_(::memfd_create("gaps", 0)) {
        void* const pages =
            ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        REQUIRE(pages != MAP_FAILED);
        base_ = static_cast<std::byte*>(pages);
        for (std::size_t i = 0; i < count; ++i) {
            std::byte* const page = base_ + i * kPage;
            std::memset(page, static_cast<int>(i + 1), kPage);
            if (i % 2 == 0) continue;
            REQUIRE(::mmap(page, kPage, PROT_READ, MAP_SHARED | MAP_FIXED, file_, 0) == page);
        }
    }
    ~PagesWithGaps() {
        ::munmap(base_, size_);
        ::close(file_);
    }
    PagesWithGaps(const PagesWithGaps&) = delete;
    PagesWithGaps& operator=(const PagesWithGaps&) = delete;

    RemoteAddr page(std::size_t index) const {
        return {reinterpret_cast<std::uint64_t>(base_) + index * kPage};
    }

  private:
    std::size_t size_;
    int file_;
    std::byte* base_;
};

/// Runs `test(ProcessMemory of ourselves)` with each way to read it.
template <class Test>
void for_each_way(Test test) {
    for (const bool mem_file : {false, true}) {
        CAPTURE(mem_file);
        if (mem_file) ::setenv("PYSTACK_NO_PROCESS_VM_READV", "1", 1);
        const ProcessMemory memory(::getpid());
        ::unsetenv("PYSTACK_NO_PROCESS_VM_READV");
        test(memory);
    }
}

}  // namespace

TEST_CASE("a read that is cut says where") {
    FakeMemory memory;
    memory.add({0x1000}, counting(16));
    std::vector<std::byte> bytes(24);
    const auto read = memory.read({0x1004}, bytes);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == ErrorCode::kReadFault);
    CHECK(read.error().address == RemoteAddr{0x1010});
    CHECK(read.error().size == 12);
    CHECK(memory.read({0x1004}, std::span(bytes).first(12)));
    CHECK(bytes[11] == std::byte{15});
    CHECK(memory.read_value<std::uint32_t>({0x1004}).value() == 0x07060504);
    CHECK_FALSE(memory.read_value<std::uint32_t>({0x100d}));
    CHECK(memory.read_bytes({0x1000}, 0).value().empty());
}

TEST_CASE("C strings end at their NUL, and only there") {
    FakeMemory memory;
    const std::string long_text(700, 'x');
    memory.add({0x1000}, text_bytes(long_text + std::string(1, '\0') + "rest"));
    memory.add({0x3000}, text_bytes("cut"));
    CHECK(memory.read_c_string({0x1000}, 701).value() == long_text);
    CHECK(memory.read_c_string({0x1000 + 700}, 1).value().empty());
    const auto too_long = memory.read_c_string({0x1000}, 700);
    REQUIRE_FALSE(too_long);
    CHECK(too_long.error().code == ErrorCode::kCorruptData);
    const auto cut = memory.read_c_string({0x3000}, 100);
    REQUIRE_FALSE(cut);
    CHECK(cut.error().code == ErrorCode::kReadFault);
    CHECK(cut.error().address == RemoteAddr{0x3003});
    CHECK_FALSE(memory.read_c_string({~std::uint64_t{0}}, 100));
}

TEST_CASE("fields outside of a structure's bytes are absent") {
    const auto bytes = counting(16);
    const RemoteStruct object({0x1000}, bytes);
    CHECK(object.get<std::uint8_t>(15) == 15);
    CHECK_FALSE(object.get<std::uint8_t>(16));
    CHECK(object.get<std::uint64_t>(8));
    CHECK_FALSE(object.get<std::uint64_t>(9));
    CHECK_FALSE(object.get<std::uint64_t>(~std::size_t{0}));
    CHECK_FALSE(object.get<std::uint64_t>(~std::size_t{0} - 7));
    CHECK(object.pointer(0) == RemoteAddr{0x0706050403020100});
}

TEST_CASE("a copy is filled in one batch and read without the target") {
    FakeMemory memory;
    memory.add({0x1000}, counting(100));
    memory.add({0x5000}, counting(100, 100));
    MemoryCopy copy(memory);
    const RemoteRange ranges[] = {{{0x5000}, {0x5010}}, {{0x1000}, {0x1020}}, {{0x9000}, {0x9010}}};
    copy.fetch(ranges);
    CHECK(memory.calls() == 1);

    const auto view = copy.view({0x1004}, 4);
    REQUIRE(view);
    CHECK((*view)[0] == std::byte{4});
    CHECK(copy.read_value<std::uint8_t>({0x5001}).value() == 101);
    CHECK(memory.calls() == 1);
    CHECK_FALSE(copy.view({0x1000}, 0x21));
    CHECK_FALSE(copy.view({0xfff}, 2));
    CHECK_FALSE(copy.view({0x9000}, 1));

    // What is not there comes from the target.
    CHECK(copy.read_value<std::uint8_t>({0x1030}).value() == 0x30);
    CHECK(memory.calls() == 2);

    copy.clear();
    CHECK_FALSE(copy.view({0x1004}, 4));
}

TEST_CASE("a copy keeps the readable beginning of a range") {
    FakeMemory memory;
    memory.add({0x1000}, counting(10));
    MemoryCopy copy(memory);
    copy.fetch({{0x1000}, {0x2000}});
    REQUIRE(copy.view({0x1000}, 10));
    CHECK_FALSE(copy.view({0x1000}, 11));
    copy.fetch({{0x1000}, {0x1000}});
    copy.fetch({{0x2000}, {0x1000}});  // Ends before it begins: empty.
    CHECK(copy.view({0x1000}, 10));
}

TEST_CASE("overlapping ranges never give bytes of another place") {
    FakeMemory memory;
    memory.add({0}, counting(4096));
    std::mt19937 random(1);
    for (int round = 0; round < 200; ++round) {
        MemoryCopy copy(memory);
        for (int i = 0; i < 20; ++i) {
            const std::uint64_t begin = random() % 4000;
            copy.fetch({{begin}, {begin + random() % 200}});
        }
        for (int i = 0; i < 50; ++i) {
            const std::uint64_t address = random() % 4000;
            if (const auto view = copy.view({address}, 1 + random() % 50)) {
                CHECK((*view)[0] == static_cast<std::byte>(address));
            }
        }
    }
}

TEST_CASE("ranges of one batch and of another are found alike") {
    FakeMemory memory;
    memory.add({0}, counting(4096));
    MemoryCopy copy(memory);
    std::vector<RemoteRange> even;
    std::vector<RemoteRange> odd;
    for (std::uint64_t i = 100; i-- > 0;)
        (i % 2 == 0 ? even : odd).push_back({{i * 40}, {i * 40 + 20}});
    copy.fetch(even);
    copy.fetch(odd);
    copy.fetch({{10}, {15}});
    for (std::uint64_t i = 0; i < 100; ++i) {
        const auto view = copy.view({i * 40}, 20);
        REQUIRE(view);
        CHECK((*view)[0] == static_cast<std::byte>(i * 40));
        CHECK_FALSE(copy.view({i * 40 + 20}, 1));
    }
}

TEST_CASE("a process's memory is read up to the first gap") {
    const PagesWithGaps pages(4);
    for_each_way([&](const ProcessMemory& memory) {
        std::vector<std::byte> bytes(3 * PagesWithGaps::kPage);
        CHECK(memory.read_up_to(pages.page(0) + 96, bytes) == PagesWithGaps::kPage - 96);
        CHECK(bytes[0] == std::byte{1});
        CHECK(memory.read_up_to(pages.page(1), bytes) == 0);
        CHECK(memory.read_up_to({0x10}, bytes) == 0);
        CHECK(memory.read_up_to({~std::uint64_t{4095}}, bytes) == 0);
        CHECK(memory.read_up_to(pages.page(0), {}) == 0);
    });
}

TEST_CASE("a batch goes on behind each gap, however many pieces it has") {
    const PagesWithGaps pages(8);
    for_each_way([&](const ProcessMemory& memory) {
        constexpr std::size_t kPieces = 3000;  // More than one call takes.
        constexpr std::size_t kSize = 64;
        std::vector<std::byte> bytes(kPieces * kSize);
        std::vector<ReadRequest> requests;
        std::mt19937 random(5);
        for (std::size_t i = 0; i < kPieces; ++i) {
            // In a page, in a gap, or over the edge of one.
            const std::uint64_t offset = random() % 3 == 0 ? PagesWithGaps::kPage - 16 : 32;
            requests.push_back(
                {pages.page(random() % 8) + offset, std::span(bytes).subspan(i * kSize, kSize)});
        }
        memory.read_many(requests);
        for (const ReadRequest& request : requests) {
            const std::uint64_t offset = request.address - pages.page(0);
            const std::size_t page = offset / PagesWithGaps::kPage;
            const bool is_gap = page % 2 == 1;
            const bool at_edge = offset % PagesWithGaps::kPage != 32;
            REQUIRE(request.done == (is_gap ? 0 : at_edge ? 16 : kSize));
            if (!is_gap) REQUIRE(request.destination[0] == static_cast<std::byte>(page + 1));
        }
    });
}

TEST_CASE("access to a process that is not there") {
    const ProcessMemory memory(
        0x3fffff);  // The kernel's PID_MAX_LIMIT is one more, and never reached.
    const auto access = memory.check_access({0x1000});
    REQUIRE_FALSE(access);
    CHECK(access.error().code == ErrorCode::kNoSuchProcess);

    const PagesWithGaps pages(2);
    const ProcessMemory own(::getpid());
    CHECK(own.check_access(pages.page(0)));
    CHECK(own.check_access(pages.page(1)).error().code == ErrorCode::kReadFault);
}
