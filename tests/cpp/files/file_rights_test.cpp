#include "files/file_rights.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <string>
#include <thread>

#include "files/file_root.h"
#include "support/opened_text.h"
#include "support/scratch_folder.h"

using namespace pystack::files;

namespace {

constexpr uid_t kOther = 2001;
constexpr gid_t kGroup = 2002;

UserRights other_user() {
    return {.uid = kOther, .gid = kOther, .groups = {}};
}

bool can_open(const std::string& path) {
    return static_cast<bool>(FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC)));
}

bool is_root() {
    if (::geteuid() != 0) MESSAGE("not root: skipped");
    return ::geteuid() == 0;
}

/// Runs it in a process of its own; true if it returns true.
template <class Function>
bool in_child(Function function) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(function() ? 0 : 1);
    int status = -1;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("A thread that acts as another user opens what that user may, others do not change") {
    if (!is_root()) return;
    const ScratchFolder scratch;
    const std::string secret = scratch.write("secret", "s", 0600);
    const std::string shared = scratch.write("shared", "s", 0640);
    const std::string theirs = scratch.write("theirs", "t", 0600);
    REQUIRE(::chown(shared.c_str(), 0, kGroup) == 0);
    REQUIRE(::chown(theirs.c_str(), kOther, kOther) == 0);
    const int dumpable = ::prctl(PR_GET_DUMPABLE);
    // Threads begin with the identity of the thread that makes them.
    std::promise<void> acting;
    std::thread other([&, now = acting.get_future()]() mutable {
        now.wait();
        CHECK(can_open(secret));
    });
    {
        const ActingAs user(other_user());
        REQUIRE(user.complete());
        CHECK(!can_open(secret));
        CHECK(!can_open(shared));
        CHECK(can_open(theirs));
        acting.set_value();
        other.join();
    }
    {
        const ActingAs member({.uid = kOther, .gid = kOther, .groups = {kGroup}});
        REQUIRE(member.complete());
        CHECK(can_open(shared));
    }
    CHECK(can_open(secret));
    CHECK(::prctl(PR_GET_DUMPABLE) == dumpable);
}

TEST_CASE("Root without capabilities does not read the files of others") {
    if (!is_root()) return;
    const ScratchFolder scratch;
    const std::string theirs = scratch.write("theirs", "t", 0600);
    REQUIRE(::chown(theirs.c_str(), kOther, kOther) == 0);
    const FileRights rights =
        FileRights::of_user({.uid = 0, .gid = 0, .groups = {}, .overrides_modes = false});
    REQUIRE(rights.kind() == FileRights::Kind::kUser);
    {
        const ActingAs user(rights.user());
        CHECK(!can_open(theirs));
    }
    CHECK(can_open(theirs));
    CHECK(FileRights::of_user({.uid = 0, .gid = 0, .groups = {}, .overrides_modes = true}) ==
          FileRights::of_caller());
}

TEST_CASE("Capabilities that the kernel keeps over a change of user are dropped, too") {
    if (!is_root()) return;
    const ScratchFolder scratch;
    const std::string secret = scratch.write("secret", "s", 0600);
    CHECK(in_child([&] {
        if (::prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) != 0) return false;
        bool hidden = false;
        {
            const ActingAs user(other_user());
            hidden = user.complete() && !can_open(secret);
        }
        return hidden && can_open(secret);
    }));
}

TEST_CASE("Where a user cannot be taken, only what everyone may read is opened") {
    const ScratchFolder scratch;
    scratch.write("secret", "s", 0600);
    scratch.write("open", "o", 0644);
    scratch.folder("closed", 0700);
    scratch.write("closed/open", "o", 0644);
    const auto check = [&] {
        const auto root = FileRoot::at(scratch.path(""), FileRights::of_user(other_user()));
        return root && root->rights().kind() == FileRights::Kind::kUser &&
               !ActingAs(other_user()).complete() && text_of(root->open("/open")) == "o" &&
               text_of(root->open("/secret")) == "(Permission denied)" &&
               text_of(root->open("/closed/open")) == "(Permission denied)";
    };
    // A user namespace knows no user but the one who made it.
    const bool has_namespaces = in_child([] { return ::unshare(CLONE_NEWUSER) == 0; });
    if (has_namespaces) CHECK(in_child([&] { return ::unshare(CLONE_NEWUSER) == 0 && check(); }));
    if (is_root()) {
        for (const std::string& file : {scratch.path("secret"), scratch.path("closed")})
            REQUIRE(::chown(file.c_str(), 2005, 2005) == 0);
        CHECK(in_child([&] { return ::setuid(2005) == 0 && check(); }));
    }
}
