#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace pystack::files {

/// One user as the kernel asks for it when a file is opened.
struct UserRights {
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> groups;
    /// Has capabilities that override the modes of files, as root has.
    bool overrides_modes = false;

    bool operator==(const UserRights&) const = default;
};

/// Whose rights decide whether a file is opened. Never are they more than the caller's.
class FileRights {
  public:
    enum class Kind : std::uint8_t {
        kCaller,    ///< Those of the calling process, for what its user named.
        kUser,      ///< Those of another user, whose process chose the name.
        kEveryone,  ///< Only what all users of the machine may read: nobody knows who chose it.
    };

    static FileRights of_caller() { return {Kind::kCaller, {}}; }
    static FileRights of_everyone() { return {Kind::kEveryone, {}}; }
    /// kCaller, if this is the caller's user and the caller has no more rights than it. (Processes
    /// of one user can take each other's groups, so these are not compared.)
    static FileRights of_user(UserRights user);

    Kind kind() const { return kind_; }
    /// Of kUser.
    const UserRights& user() const { return user_; }
    bool operator==(const FileRights&) const = default;

  private:
    FileRights(Kind kind, UserRights user) : kind_(kind), user_(std::move(user)) {}

    Kind kind_;
    UserRights user_;
};

/// While it lives, the files that the calling thread opens are opened as another user would. Other
/// threads are not affected, nor who may send signals to this one or trace it.
///
/// The kernel keeps these identities for each thread; the C library's functions would change all of
/// them, so they are not used.
class ActingAs {
  public:
    explicit ActingAs(const UserRights& user);
    ~ActingAs();
    ActingAs(const ActingAs&) = delete;
    ActingAs& operator=(const ActingAs&) = delete;

    /// False if the kernel refused a part of the identity (without CAP_SETUID and CAP_SETGID, or in
    /// a user namespace that lacks the user): nothing may be opened then.
    bool complete() const { return complete_; }

  private:
    bool assume(const UserRights& user);

    uid_t uid_;
    gid_t gid_;
    std::vector<gid_t> groups_;
    std::optional<std::array<std::uint32_t, 2>> capabilities_;  // Effective ones; absent: unknown.
    int death_signal_ = 0;
    bool complete_ = false;
};

}  // namespace pystack::files
