#include "files/file_rights.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <utility>

namespace pystack::files {

namespace {

/// What lets a thread read files whatever their modes say. The kernel drops these by itself when
/// the file system user changes from root's to another, but not with SECBIT_NO_SETUID_FIXUP.
constexpr std::uint32_t kOverriding = 1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH;

// The raw calls are for the calling thread. Those that set a file system id return the one before,
// whether they did it or not: -1 is no id, so it only asks.

uid_t set_user(uid_t uid) {
    return static_cast<uid_t>(::syscall(SYS_setfsuid, uid));
}

gid_t set_group(gid_t gid) {
    return static_cast<gid_t>(::syscall(SYS_setfsgid, gid));
}

bool set_groups(const std::vector<gid_t>& groups) {
    return ::syscall(SYS_setgroups, groups.size(), groups.data()) == 0;
}

uid_t current_user() {
    return set_user(static_cast<uid_t>(-1));
}

gid_t current_group() {
    return set_group(static_cast<gid_t>(-1));
}

std::vector<gid_t> current_groups() {
    std::vector<gid_t> groups(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
    const int count = ::getgroups(static_cast<int>(groups.size()), groups.data());
    groups.resize(static_cast<std::size_t>(std::max(count, 0)));
    return groups;
}

struct Capabilities {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct data[2] = {};

    bool get() { return ::syscall(SYS_capget, &header, data) == 0; }
    bool set() { return ::syscall(SYS_capset, &header, data) == 0; }
};

bool caller_overrides_modes() {
    Capabilities own;
    return !own.get() || (own.data[0].effective & kOverriding) != 0;
}

/// The kernel makes a process that changes a file system id undumpable, for good: it could no
/// longer write a core, nor be debugged by its own user. This puts that right when the last thread
/// is itself again.
class Dumpable {
  public:
    void enter() {
        const std::lock_guard lock(mutex_);
        if (threads_++ == 0) dumpable_ = ::prctl(PR_GET_DUMPABLE) == 1;
    }
    void leave() {
        const std::lock_guard lock(mutex_);
        if (--threads_ == 0 && dumpable_) ::prctl(PR_SET_DUMPABLE, 1);
    }

  private:
    std::mutex mutex_;
    int threads_ = 0;
    bool dumpable_ = false;
};

Dumpable dumpable;

}  // namespace

FileRights FileRights::of_user(UserRights user) {
    if (user.uid == current_user() && (user.overrides_modes || !caller_overrides_modes()))
        return of_caller();
    return {Kind::kUser, std::move(user)};
}

ActingAs::ActingAs(const UserRights& user)
    : uid_(current_user()), gid_(current_group()), groups_(current_groups()) {
    dumpable.enter();
    Capabilities own;
    if (!own.get()) return;
    capabilities_ = {own.data[0].effective, own.data[1].effective};
    ::prctl(PR_GET_PDEATHSIG, &death_signal_);
    complete_ = assume(user);
}

bool ActingAs::assume(const UserRights& user) {
    if (groups_ != user.groups && !set_groups(user.groups)) return false;
    set_group(user.gid);
    set_user(user.uid);
    if (current_group() != user.gid || current_user() != user.uid) return false;
    Capabilities own;
    if (!own.get()) return false;
    if ((own.data[0].effective & kOverriding) == 0) return true;
    own.data[0].effective &= ~kOverriding;
    return own.set();
}

ActingAs::~ActingAs() {
    // The way back to ids and capabilities that the thread still has as its real and permitted ones
    // is always open.
    set_user(uid_);
    set_group(gid_);
    if (current_groups() != groups_) set_groups(groups_);
    Capabilities own;
    if (capabilities_ && own.get()) {
        own.data[0].effective = (*capabilities_)[0];
        own.data[1].effective = (*capabilities_)[1];
        own.set();
    }
    if (death_signal_ != 0) ::prctl(PR_SET_PDEATHSIG, death_signal_);
    dumpable.leave();
}

}  // namespace pystack::files
