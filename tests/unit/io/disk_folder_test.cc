#include "io/disk_folder.h"

#include "catch2/catch.hpp"
#include "support/fake_disk.h"
#include "support/temp_folder.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <unistd.h>
#include <vector>

using namespace mqttd;

namespace {

std::map<std::string, uint64_t> files_of(Disk& disk) {
    std::map<std::string, uint64_t> files;
    const auto visit = [](void* context, std::string_view name, uint64_t bytes) {
        (*static_cast<std::map<std::string, uint64_t>*>(context))[std::string(name)] = bytes;
    };
    REQUIRE(disk.list(visit, &files) == Error::kNone);
    files.erase("lock");
    return files;
}

// What Disk promises, whichever it is.
void keeps_its_word(Disk& disk) {
    CHECK(files_of(disk).empty());
    CHECK(disk.open("a", false).error() == Error::kNotFound);
    const Result<int> made = disk.open("a", true);
    REQUIRE(made.ok());
    CHECK(disk.open("a", true).error() == Error::kExists);
    CHECK(disk.write(*made, 3, as_bytes("world")) == Error::kNone);
    CHECK(disk.sync(*made) == Error::kNone);
    uint8_t bytes[16] = {};
    const Result<size_t> got = disk.read(*made, 0, bytes);
    REQUIRE(got.ok());
    CHECK(*got == 8);  // the end of the file
    CHECK(as_text(Bytes(bytes, 8)) == std::string_view("\0\0\0world", 8));
    CHECK(*disk.read(*made, 8, bytes) == 0);
    CHECK(*disk.read(*made, 100, bytes) == 0);
    CHECK(disk.write(*made, 0, as_bytes("hello")) == Error::kNone);
    CHECK(*disk.read(*made, 2, std::span<uint8_t>(bytes, 4)) == 4);
    CHECK(as_text(Bytes(bytes, 4)) == "llor");
    disk.close(*made);
    CHECK(disk.rename("a", "b") == Error::kNone);
    CHECK(disk.rename("a", "c") == Error::kNotFound);
    CHECK(disk.sync_names() == Error::kNone);
    CHECK(files_of(disk) == std::map<std::string, uint64_t>{
                                {"b", 8}
    });
    const Result<int> again = disk.open("b", false);
    REQUIRE(again.ok());
    CHECK(disk.write(*again, 0, as_bytes("HELLO")) == Error::kNone);
    disk.close(*again);
    CHECK(disk.remove("b") == Error::kNone);
    CHECK(disk.remove("b") == Error::kNotFound);
    CHECK(files_of(disk).empty());
}

}  // namespace

TEST_CASE("a folder keeps what Disk promises, and so does the one in memory", "[io][store]") {
    const TempFolder folder;
    FolderDisk real;
    REQUIRE(real.open_folder(folder.path()) == Error::kNone);
    keeps_its_word(real);
    FakeDisk fake;
    keeps_its_word(fake);
}

TEST_CASE("only one writer has the folder", "[io][store]") {
    // The lock belongs to the open file: it goes with its holder, and closing another one of the
    // same process does not end it.
    const TempFolder folder;
    FolderDisk second;
    {
        FolderDisk first;
        REQUIRE(first.open_folder(folder.path()) == Error::kNone);
        REQUIRE(second.open_folder(folder.path()) == Error::kNone);
        CHECK(first.lock_owner() == 0);
        CHECK(first.lock() == Error::kNone);
        CHECK(second.lock() == Error::kWouldBlock);
        CHECK(second.lock_owner() > 0);
        {
            FolderDisk third;
            REQUIRE(third.open_folder(folder.path()) == Error::kNone);
        }
        CHECK(second.lock() == Error::kWouldBlock);
    }
    CHECK(second.lock_owner() == 0);
    CHECK(second.lock() == Error::kNone);
}

TEST_CASE("a folder that is only looked at stays as it is", "[io][store]") {
    // Not even the lock is made, and who has it is seen.
    const TempFolder folder;
    folder.write("a", "hello");
    const auto names = [&] {
        std::vector<std::string> found;
        for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
            found.push_back(entry.path().filename());
        return found;
    };
    {
        FolderDisk disk;
        REQUIRE(disk.open_to_read(folder.path()) == Error::kNone);
        CHECK(names() == std::vector<std::string>{"a"});
        CHECK(disk.lock_owner() == 0);
        CHECK(disk.lock() == Error::kPermission);
        const Result<int> file = disk.open("a", false);
        REQUIRE(file.ok());
        uint8_t bytes[8];
        CHECK(*disk.read(*file, 0, bytes) == 5);
        CHECK(disk.write(*file, 0, as_bytes("x")) == Error::kPermission);
        disk.close(*file);
        CHECK(disk.open("b", true).error() == Error::kPermission);
        CHECK(disk.open("b", false).error() == Error::kNotFound);
        CHECK(disk.rename("a", "b") == Error::kPermission);
        CHECK(disk.remove("a") == Error::kPermission);
    }
    CHECK(names() == std::vector<std::string>{"a"});
    CHECK(folder.read("a") == "hello");
    FolderDisk writer;
    REQUIRE(writer.open_folder(folder.path()) == Error::kNone);
    REQUIRE(writer.lock() == Error::kNone);
    FolderDisk reader;
    REQUIRE(reader.open_to_read(folder.path()) == Error::kNone);
    CHECK(reader.lock_owner() == static_cast<int>(getpid()));
    FolderDisk none;
    CHECK(none.open_to_read(folder.path() + "/none") == Error::kNotFound);
    FolderDisk file;
    CHECK(file.open_to_read(folder.file("a")) == Error::kInvalid);
}

TEST_CASE("a folder that cannot be used is refused", "[io][store]") {
    const TempFolder folder;
    FolderDisk disk;
    CHECK(disk.open_folder(folder.path() + "/none") == Error::kNotFound);
    std::ofstream(folder.path() + "/file") << "x";
    FolderDisk file;
    CHECK(file.open_folder(folder.path() + "/file") == Error::kInvalid);
}

TEST_CASE("links and folders inside it are not followed", "[io][store]") {
    const TempFolder folder;
    std::filesystem::create_directory(folder.path() + "/sub");
    std::filesystem::create_symlink("/etc/hostname", folder.path() + "/link");
    FolderDisk disk;
    REQUIRE(disk.open_folder(folder.path()) == Error::kNone);
    CHECK(files_of(disk).empty());
    CHECK_FALSE(disk.open("link", false).ok());
}
