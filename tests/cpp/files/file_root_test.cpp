#include "files/file_root.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "files/path_walk.h"
#include "files/regular_file.h"
#include "support/opened_text.h"
#include "support/scratch_folder.h"

using namespace pystack::files;

namespace {

FileDescriptor folder_at(const std::string& path) {
    return FileDescriptor(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/// By the component-wise walk, as on kernels without openat2.
std::string walked(const ScratchFolder& scratch, const std::string& path) {
    const FileDescriptor root = folder_at(scratch.path("root"));
    PathWalk walk(root, PathWalk::Check::kKernel);
    const auto place = walk.find(path);
    return place ? text_of(open_place(*place)) : "(" + place.error().detail + ")";
}

std::string opened(const ScratchFolder& scratch, const std::string& path,
                   const std::string& working_folder = {}) {
    auto root = FileRoot::at(scratch.path("root"), FileRights::of_caller());
    REQUIRE(root);
    if (!working_folder.empty()) root->set_working_folder(folder_at(scratch.path(working_folder)));
    return text_of(root->open(path));
}

}  // namespace

TEST_CASE("FileRoot: no path leads out of the root") {
    const ScratchFolder scratch;
    scratch.write("secret", "outside");
    scratch.write("root/secret", "inside");
    scratch.write("root/srv/app/a.py", "a");
    scratch.link("/srv/app", "root/absolute");
    scratch.link("../../../../secret", "root/srv/up");
    scratch.link(scratch.path("secret"), "root/srv/out");
    scratch.link("/loop", "root/loop");
    scratch.link("app/../app", "root/srv/twice");
    const std::pair<const char*, const char*> cases[] = {
        {"/srv/app/a.py", "a"},
        {"//srv/./app//a.py", "a"},
        {"/absolute/a.py", "a"},
        {"/srv/twice/a.py", "a"},
        {"/absolute/../../secret", "inside"},
        {"/../../../secret", "inside"},
        {"/srv/up", "inside"},
        {"/srv/out", "(No such file or directory)"},
        {"/loop", "(Too many levels of symbolic links)"},
        {"/none/../secret", "(No such file or directory)"},
    };
    for (const auto& [path, expected] : cases) {
        CAPTURE(path);
        CHECK(opened(scratch, path) == expected);
        CHECK(walked(scratch, path) == expected);
    }
}

TEST_CASE("FileRoot: relative paths begin in the working folder, and stay in the root") {
    const ScratchFolder scratch;
    scratch.write("secret", "outside");
    scratch.write("elsewhere/deep/b.py", "b");
    scratch.write("root/secret", "inside");
    scratch.write("root/srv/app/a.py", "a");
    scratch.link("/srv", "root/srv/app/link");
    CHECK(opened(scratch, "a.py", "root/srv/app") == "a");
    CHECK(opened(scratch, "../app/a.py", "root/srv/app") == "a");
    CHECK(opened(scratch, "link/app/a.py", "root/srv/app") == "a");
    CHECK(opened(scratch, "../../../../secret", "root/srv/app") == "inside");
    CHECK(opened(scratch, "../secret", "root") == "inside");
    CHECK(opened(scratch, "a.py") == "(No such file or directory)");
    // As after a chroot() without a chdir().
    CHECK(opened(scratch, "b.py", "elsewhere/deep") == "b");
    CHECK(opened(scratch, "../../secret", "elsewhere/deep") == "(No such file or directory)");
    CHECK(opened(scratch, "../../root/secret", "elsewhere/deep") == "(No such file or directory)");
}

TEST_CASE("FileRoot: only regular files that the kernel does not make up") {
    const ScratchFolder scratch;
    scratch.folder("root");
    REQUIRE(::mkfifo(scratch.path("root/pipe").c_str(), 0644) == 0);
    CHECK(opened(scratch, "/pipe") == "(not a regular file)");
    CHECK(opened(scratch, std::string("/pi\0pe", 6)) == "(No such file or directory)");
    CHECK(opened(scratch, "/") != "");
    const auto root = FileRoot::at("/", FileRights::of_caller());
    REQUIRE(root);
    for (const char* path : {"/proc/kmsg", "/proc/self/environ", "/proc/version", "/proc/kcore",
                             "/sys/kernel/notes", "/dev/zero", "/tmp"}) {
        CAPTURE(path);
        CHECK(!root->open(path));
        CHECK(!root->open_as_everyone(path));
    }
    CHECK(!root->open("/proc/self/exe"));
    CHECK(!root->open_as_everyone("/proc/self/exe"));
    CHECK(open_mapped("/proc/self/exe"));
}

TEST_CASE("FileRoot: what everyone may read") {
    const ScratchFolder scratch;
    scratch.write("root/open/file", "o");
    scratch.write("root/open/secret", "s", 0640);
    scratch.write("root/closed/file", "c");
    scratch.folder("root/closed", 0750);
    scratch.link("closed/file", "root/link");
    auto root = FileRoot::at(scratch.path("root"), FileRights::of_everyone());
    REQUIRE(root);
    CHECK(text_of(root->open("/open/file")) == "o");
    CHECK(text_of(root->open("/open/../open/file")) == "o");
    CHECK(text_of(root->open("/open/secret")) == "(Permission denied)");
    CHECK(text_of(root->open("/closed/file")) == "(Permission denied)");
    CHECK(text_of(root->open("/link")) == "(Permission denied)");
    root->set_working_folder(folder_at(scratch.path("root/open")));
    CHECK(text_of(root->open("file")) == "o");
    root->set_working_folder(folder_at(scratch.path("root/closed")));
    CHECK(text_of(root->open("file")) == "(Permission denied)");
}

TEST_CASE("FileRoot: folders that are moved and swapped for links do not lead out") {
    const ScratchFolder scratch;
    scratch.write("secret", "outside");
    scratch.write("out/secret", "outside");
    scratch.write("out/y/secret", "outside");
    scratch.write("root/secret", "inside");
    scratch.write("root/x/y/z/secret", "inside");
    scratch.folder("root/x/swapped/z");
    scratch.link("../../../../..", "root/x/link");
    scratch.write("root/x/swapped/secret", "inside");
    std::atomic<bool> stop = false;
    const std::string inner = scratch.path("root/x/y");
    const std::string outer = scratch.path("out/moved");
    const std::string folder = scratch.path("root/x/swapped");
    const std::string link = scratch.path("root/x/link");
    std::thread attacker([&] {
        while (!stop) {
            ::rename(inner.c_str(), outer.c_str());
            ::renameat2(AT_FDCWD, folder.c_str(), AT_FDCWD, link.c_str(), RENAME_EXCHANGE);
            ::rename(outer.c_str(), inner.c_str());
        }
    });
    auto root = FileRoot::at(scratch.path("root"), FileRights::of_caller());
    REQUIRE(root);
    root->set_working_folder(folder_at(scratch.path("root/x")));
    const std::vector<std::string> paths = {
        "/x/y/z/../../../secret",       "/x/y/z/../../secret", "/x/swapped/secret",
        "/x/swapped/z/../../../secret", "y/z/../../../secret", "swapped/../../../secret",
    };
    int found = 0;
    int escapes = 0;
    for (int i = 0; i < 10'000; ++i) {
        const std::string& path = paths[static_cast<std::size_t>(i) % paths.size()];
        for (const std::string& text : {text_of(root->open(path)), walked(scratch, path)}) {
            found += text == "inside" ? 1 : 0;
            escapes += text == "outside" ? 1 : 0;
        }
    }
    stop = true;
    attacker.join();
    CHECK(escapes == 0);
    CHECK(found > 0);
}
