#include "modules/debug_files.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "files/file_root.h"
#include "support/scratch_folder.h"

namespace pystack::unwind {
namespace {

/// Whether the alternate file of that name is taken, which is there.
bool is_found(const std::string& name, const std::string& build_id,
              std::shared_ptr<const files::FileOpener> root) {
    const modules::DebugFileOptions options{.roots = {std::move(root)}, .fetch = {}};
    return modules::find_alternate_file("/usr/lib/debug/.build-id/ab/cd.debug", name, build_id,
                                        options)
        .has_value();
}

TEST_CASE("On this machine no name leads out of the folder for debug files") {
    const auto folder = modules::own_debug_folder();
    for (const char* path :
         {"/etc/passwd", "/usr/lib/debug/../../../etc/passwd", "/usr/lib/debugging/x", "etc/passwd",
          "/usr/lib/debug/..", "", "/proc/self/exe"}) {
        CAPTURE(path);
        const auto file = folder->open(path);
        REQUIRE(!file);
        CHECK(file.error().detail == "Permission denied");
    }
}

TEST_CASE("Debug files that others name are opened with their rights") {
    const ScratchFolder scratch;
    const std::string secret = scratch.path("secret.debug");
    std::filesystem::copy_file("/proc/self/exe", secret);
    ::chmod(secret.c_str(), 0600);
    const auto image = elf::ElfImage::open(secret);
    REQUIRE(image);
    const std::string id = (*image)->build_id();
    REQUIRE(!id.empty());
    const auto callers = files::files_below("/", files::FileRights::of_caller());
    const auto everyones = files::files_below("/", files::FileRights::of_everyone());
    for (const std::string& name : {secret, "../../../../.." + secret}) {
        CAPTURE(name);
        CHECK(is_found(name, id, callers));
        CHECK(!is_found(name, id, everyones));
        CHECK(!is_found(name, id, modules::own_debug_folder()));
    }
    // Another root has another file of that name, or none.
    CHECK(!is_found(secret, id,
                    files::files_below(scratch.path(""), files::FileRights::of_caller())));
    ::chmod(secret.c_str(), 0644);
    CHECK(is_found(secret, id, everyones));
}

}  // namespace
}  // namespace pystack::unwind
