#pragma once

// TempFolder: a folder of its own for a test, gone with everything in it when the test ends.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace mqttd {

class TempFolder {
  public:
    TempFolder() {
        char path[] = "/tmp/mqttd-test-XXXXXX";
        if (mkdtemp(path) == nullptr) std::abort();
        path_ = path;
    }

    ~TempFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;

    const std::string& path() const { return path_; }

    std::string file(const std::string& name) const { return path_ + "/" + name; }

    // Creates the file, and the folders above it.
    void write(const std::string& name, const std::string& content) const {
        std::filesystem::create_directories(std::filesystem::path(file(name)).parent_path());
        std::ofstream(file(name), std::ios::binary) << content;
    }

    std::string read(const std::string& name) const {
        std::ostringstream content;
        content << std::ifstream(file(name), std::ios::binary).rdbuf();
        return content.str();
    }

  private:
    std::string path_;
};

}  // namespace mqttd
