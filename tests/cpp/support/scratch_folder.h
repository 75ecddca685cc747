#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

/// A folder of its own for one test, which everyone may look into.
class ScratchFolder {
  public:
    ScratchFolder() {
        char name[] = "/tmp/pystack-test-XXXXXX";
        if (::mkdtemp(name) != nullptr) path_ = name;
        ::chmod(name, 0755);
    }
    ~ScratchFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;

    std::string path(const std::string& name) const { return path_ + "/" + name; }

    /// With the folders on the way to it.
    std::string write(const std::string& name, const std::string& text, mode_t mode = 0644) const {
        const std::string file = path(name);
        std::filesystem::create_directories(std::filesystem::path(file).parent_path());
        std::ofstream(file) << text;
        ::chmod(file.c_str(), mode);
        return file;
    }

    std::string folder(const std::string& name, mode_t mode = 0755) const {
        const std::string made = path(name);
        std::filesystem::create_directories(made);
        ::chmod(made.c_str(), mode);
        return made;
    }

    void link(const std::string& target, const std::string& name) const {
        std::filesystem::create_symlink(target, path(name));
    }

  private:
    std::string path_;
};
