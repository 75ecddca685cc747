#include "bindings/file_bindings.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <sys/types.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "bindings/gil.h"
#include "files/file_opener.h"
#include "files/file_root.h"
#include "files/regular_file.h"
#include "process/proc_files.h"
#include "target/core_files.h"
#include "target/process_files.h"

namespace nb = nanobind;

namespace pystack::bindings {

namespace {

[[noreturn]] void raise_os_error(const Error& error, const nb::object& file) {
    // The subclass (FileNotFoundError, ...) follows from the number.
    const int number = error.number == 0 ? EIO : error.number;
    const nb::object exception =
        nb::borrow(PyExc_OSError)(number, error.message(), nb::borrow(file));
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
    throw nb::python_error();
}

class Files {
  public:
    explicit Files(std::shared_ptr<const files::FileOpener> opener) : opener_(std::move(opener)) {}

    int open(const nb::bytes& path) const {
        const std::string name(path.c_str(), path.size());
        auto file = [&] {
            const WithoutGil without_gil;
            return opener_->open(name);
        }();
        if (!file) raise_os_error(file.error(), path);
        return file->release();
    }

  private:
    std::shared_ptr<const files::FileOpener> opener_;
};

Files process_files(long long pid) {
    if (pid <= 0 || pid > std::numeric_limits<pid_t>::max())
        raise_os_error(files::refusal(ESRCH), nb::int_(pid));
    const auto process = static_cast<pid_t>(pid);
    const auto opener = target::ProcessFiles::of(process::living_thread(process).value_or(process));
    if (!opener) raise_os_error(opener.error(), nb::int_(pid));
    return Files(*opener);
}

Files folder_files(const std::string& folder) {
    auto root = files::FileRoot::at(folder, files::FileRights::of_caller());
    if (!root) raise_os_error(root.error(), nb::str(folder.c_str()));
    return Files(std::make_shared<const files::FileRoot>(*std::move(root)));
}

Files core_files(std::optional<std::uint32_t> written_by, std::optional<std::uint32_t> uid) {
    return Files(files::files_below("/", target::rights_of_core(written_by, uid)));
}

}  // namespace

void define_files(nb::module_& module) {
    nb::class_<Files>(module, "Files").def("open", &Files::open, nb::arg("path"));
    module.def("process_files", &process_files, nb::arg("pid"));
    module.def("core_files", &core_files, nb::arg("written_by").none(), nb::arg("uid").none());
    module.def("folder_files", &folder_files, nb::arg("folder"));
}

}  // namespace pystack::bindings
