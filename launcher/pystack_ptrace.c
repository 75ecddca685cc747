// Runs pystack with the capability CAP_SYS_PTRACE, which a script cannot be given:
//
//     setcap cap_sys_ptrace=ep /opt/pystack/bin/pystack-ptrace
//
// Whoever may execute this file can then read every process with pystack, and nothing more. So nothing that the
// caller controls may run with the capability:
//
// - The interpreter and the package are those beside this file, and only root can have changed them. A hard link to
//   this file in a folder of the caller's is refused.
// - The environment is new. Of the caller's variables it has those of a fixed list (no LD_PRELOAD, no PYTHONPATH).
// - Python is isolated (-I). Before pystack begins, pystack/launched.py makes the capability one of this process only:
//   commands that it starts (record -- COMMAND) do not have it.

#define _GNU_SOURCE
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { kFailed = 1, kRefused = 4, kMaxVariables = 64 };

// How output looks, and where debug files are. None of them names code or a file that glibc or Python would load.
static const char *const kKeptVariables[] = {"COLORTERM", "COLUMNS", "DEBUGINFOD_TIMEOUT", "DEBUGINFOD_URLS",
                                             "FORCE_COLOR", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES",
                                             "LINES", "NO_COLOR", "TERM", "XDG_CACHE_HOME"};

static void fail(int status, const char *what, const char *why) {
    fprintf(stderr, "pystack-ptrace: %s: %s\n", what, why);
    exit(status);
}

// Refuses a path (without symbolic links) of which anybody but root could change a part.
static void require_of_root(const char *path) {
    char part[PATH_MAX];
    const size_t length = strlen(path);
    if (path[0] != '/' || length >= sizeof part) fail(kRefused, path, "not an absolute path");
    for (size_t end = 1; end <= length; ++end) {
        if (path[end] != '/' && path[end] != '\0' && end != 1) continue;
        memcpy(part, path, end);
        part[end] = '\0';
        struct stat status;
        if (lstat(part, &status) != 0) fail(kRefused, part, strerror(errno));
        if (S_ISLNK(status.st_mode)) fail(kRefused, part, "is a symbolic link");
        if (status.st_uid != 0 || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
            fail(kRefused, part, "can be changed by others than root; install pystack as root, for example in /opt");
        }
    }
}

// The same of the package in the environment whose programs are in `folder`.
static void require_package_of_root(const char *folder) {
    char pattern[PATH_MAX];
    const int length =
        snprintf(pattern, sizeof pattern, "%s/../lib/python3*/site-packages/pystack/launched.py", folder);
    if (length < 0 || (size_t)length >= sizeof pattern) fail(kRefused, folder, "too long");
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0) fail(kRefused, pattern, "not found; install pystack in a venv of its own");
    for (size_t i = 0; i < found.gl_pathc; ++i) {
        char path[PATH_MAX];
        if (realpath(found.gl_pathv[i], path) == NULL) fail(kRefused, found.gl_pathv[i], strerror(errno));
        require_of_root(path);
    }
}

// Puts the capability into the ambient set, which survives the execution of a program without file capabilities.
static void raise_capability(const char *self) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) != 0) fail(kFailed, "capget", strerror(errno));
    const __u32 bit = 1U << CAP_SYS_PTRACE;
    if ((data[0].permitted & bit) == 0) {
        fprintf(stderr,
                "pystack-ptrace: does not have the capability CAP_SYS_PTRACE. Grant it as root:\n"
                "    setcap cap_sys_ptrace=ep %s\n",
                self);
        exit(kRefused);
    }
    // No other capability is passed on.
    memset(data, 0, sizeof data);
    data[0].permitted = data[0].effective = data[0].inheritable = bit;
    if (syscall(SYS_capset, &header, data) != 0) fail(kFailed, "capset", strerror(errno));
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_PTRACE, 0UL, 0UL) != 0) {
        fail(kFailed, "prctl", strerror(errno));
    }
}

static bool names_a_locale(const char *name) {
    return strncmp(name, "LC_", 3) == 0 || strcmp(name, "LANG") == 0;
}

// The caller's variables of the list, as NAME=VALUE.
static char **new_environment(void) {
    static char *environment[kMaxVariables];
    size_t count = 0;
    environment[count++] = "PATH=/usr/local/bin:/usr/bin:/bin";
    for (size_t i = 0; i < sizeof kKeptVariables / sizeof *kKeptVariables; ++i) {
        const char *name = kKeptVariables[i];
        const char *value = getenv(name);
        // A locale with a slash is a file that glibc loads.
        if (value == NULL || (names_a_locale(name) && strchr(value, '/') != NULL)) continue;
        if (asprintf(&environment[count], "%s=%s", name, value) < 0) fail(kFailed, name, "out of memory");
        ++count;
    }
    return environment;
}

int main(int argc, char **argv) {
    if (getuid() != geteuid() || getgid() != getegid()) {
        fail(kRefused, "set-user-ID or set-group-ID", "remove that bit and use setcap");
    }
    char self[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0 || (size_t)length >= sizeof self - 1) fail(kFailed, "/proc/self/exe", "cannot be read");
    self[length] = '\0';
    require_of_root(self);

    char beside[PATH_MAX];
    const size_t folder = (size_t)(strrchr(self, '/') - self);
    if (folder + sizeof "/python" > sizeof beside) fail(kRefused, self, "too long");
    memcpy(beside, self, folder);
    beside[folder] = '\0';
    require_package_of_root(beside);
    strcpy(beside + folder, "/python");
    char interpreter[PATH_MAX];
    if (realpath(beside, interpreter) == NULL) fail(kFailed, beside, strerror(errno));
    require_of_root(interpreter);

    raise_capability(self);
    char **words = calloc((size_t)argc + 4, sizeof *words);
    if (words == NULL) fail(kFailed, "arguments", "out of memory");
    // Python finds its environment by this name; what is executed is the file that was checked.
    words[0] = beside;
    words[1] = "-I";
    words[2] = "-m";
    words[3] = "pystack.launched";
    for (int i = 1; i < argc; ++i) words[i + 3] = argv[i];
    execve(interpreter, words, new_environment());
    fail(kFailed, interpreter, strerror(errno));
}
