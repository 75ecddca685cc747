#include "elf/mapped_file.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace pystack::elf {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kPages = 16;

/// A file of ones, which the test may cut.
struct File {
    int fd = ::memfd_create("mapped_file_test", MFD_CLOEXEC);
    File() {
        const std::vector<unsigned char> content(kPages * kPage - 100, 1);
        REQUIRE(::write(fd, content.data(), content.size()) ==
                static_cast<ssize_t>(content.size()));
    }
    ~File() { ::close(fd); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    MappedFile map() const { return *MappedFile::map(fd, kPages * kPage - 100); }
    void cut(std::size_t size) const { REQUIRE(::ftruncate(fd, static_cast<off_t>(size)) == 0); }
};

int sum(const MappedFile& mapped) {
    return std::accumulate(
        mapped.bytes().begin(), mapped.bytes().end(), 0,
        [](int sum, std::byte byte) { return sum + std::to_integer<int>(byte); });
}

TEST_CASE("a file that is cut short while it is mapped reads as zeros, and says so") {
    const File file;
    const MappedFile mapped = file.map();
    CHECK(sum(mapped) == kPages * kPage - 100);
    file.cut(10 * kPage + 50);
    CHECK_FALSE(mapped.is_torn());  // Nobody has read there yet.
    CHECK(sum(mapped) == 10 * kPage + 50);
    CHECK(mapped.is_torn());
    file.cut(3);
    CHECK(sum(mapped) == 3);
    file.cut(0);
    CHECK(sum(mapped) == 0);
}

TEST_CASE("memory that is given back is that of mapped files alone") {
    const File file;
    const MappedFile mapped = file.map();
    MappedFile::release(mapped.bytes());
    CHECK(sum(mapped) == kPages * kPage - 100);
    const std::vector<std::byte> own(kPages * kPage, std::byte{1});
    MappedFile::release(own);
    CHECK(std::ranges::count(own, std::byte{1}) == kPages * kPage);
}

TEST_CASE("each of many mappings is torn by itself") {
    const File cut;
    const File whole;
    std::vector<MappedFile> mappings;
    for (int i = 0; i < 1000; ++i) mappings.push_back((i % 2 == 0 ? cut : whole).map());
    for (int i = 0; i < 1000; i += 4) mappings[static_cast<std::size_t>(i)] = MappedFile();
    for (int i = 0; i < 1000; i += 4) mappings[static_cast<std::size_t>(i)] = cut.map();
    cut.cut(kPage);
    for (std::size_t i = 0; i < mappings.size(); i += 3) sum(mappings[i]);
    for (std::size_t i = 0; i < mappings.size(); ++i) {
        CHECK(mappings[i].is_torn() == (i % 2 == 0 && i % 3 == 0));
    }
}

/// Runs one of the skipped test cases below in a program of its own, since the handler of a process
/// is installed only once, and gives the program's status.
int status_of(const char* test_case) {
    const pid_t child = ::fork();
    if (child == 0) {
        const std::string filter = std::string("-tc=") + test_case;
        ::execl("/proc/self/exe", "test_elf", filter.c_str(), "-ns", static_cast<char*>(nullptr));
        ::_exit(99);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
}

void fault_after(const struct sigaction& earlier, bool is_sent) {
    ::sigaction(SIGBUS, &earlier, nullptr);
    const File file;
    const MappedFile mapped = file.map();
    void* const place = ::mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, file.fd, 0);
    file.cut(0);
    CHECK(sum(mapped) == 0);  // Ours is handled in any case.
    if (is_sent) {
        ::raise(SIGBUS);
    } else {
        static_cast<void>(*static_cast<volatile const unsigned char*>(place));
    }
    ::_exit(3);
}

struct sigaction plain(void (*handler)(int)) {
    struct sigaction action{};
    action.sa_handler = handler;
    return action;
}

TEST_CASE("child: default fault" * doctest::skip()) {
    fault_after(plain(SIG_DFL), false);
}
TEST_CASE("child: default sent" * doctest::skip()) {
    fault_after(plain(SIG_DFL), true);
}
TEST_CASE("child: ignored fault" * doctest::skip()) {
    fault_after(plain(SIG_IGN), false);
}
TEST_CASE("child: ignored sent" * doctest::skip()) {
    fault_after(plain(SIG_IGN), true);
}
TEST_CASE("child: handler fault" * doctest::skip()) {
    fault_after(plain([](int) { ::_exit(7); }), false);
}
TEST_CASE("child: informed handler fault" * doctest::skip()) {
    struct sigaction action{};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t* info, void*) {
        ::_exit(info->si_code == BUS_ADRERR && info->si_addr != nullptr ? 8 : 1);
    };
    fault_after(action, false);
}

TEST_CASE("other bus errors go where they went before") {
    const auto killed = [](int status) {
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS;
    };
    const auto exited = [](int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; };
    CHECK(killed(status_of("child: default fault")));
    CHECK(killed(status_of("child: default sent")));
    CHECK(killed(status_of("child: ignored fault")));  // As without us: it cannot be ignored.
    CHECK(exited(status_of("child: ignored sent")) == 3);
    CHECK(exited(status_of("child: handler fault")) == 7);
    CHECK(exited(status_of("child: informed handler fault")) == 8);
}

}  // namespace
}  // namespace pystack::elf
