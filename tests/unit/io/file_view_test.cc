#include "io/file_view.h"

#include "support/temp_folder.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <utime.h>

using namespace mqttd;

TEST_CASE("a file is viewed as it is", "[io]") {
    const TempFolder folder;
    const std::string text(3 * (size_t{1} << 20) + 17, 'x');  // several pieces
    folder.write("file", text + "end");
    const utimbuf when{1000, 2000};
    REQUIRE(utime(folder.file("file").c_str(), &when) == 0);
    FileView view;
    REQUIRE(view.open(folder.file("file")) == Error::kNone);
    CHECK(as_text(view.bytes()) == text + "end");
    CHECK(view.size() == text.size() + 3);
    CHECK(view.written_s() == 2000);
}

TEST_CASE("a file without a byte is one", "[io]") {
    const TempFolder folder;
    folder.write("file", "");
    FileView view;
    REQUIRE(view.open(folder.file("file")) == Error::kNone);
    CHECK(view.bytes().empty());
    CHECK(view.size() == 0);
}

TEST_CASE("what is no file is said, and not waited for", "[io]") {
    const TempFolder folder;
    folder.write("file", "text");
    REQUIRE(mkfifo(folder.file("pipe").c_str(), 0600) == 0);
    CHECK(FileView().open(folder.file("none")) == Error::kNotFound);
    CHECK(FileView().open(folder.file("file/below")) == Error::kNotFound);
    CHECK(FileView().open(folder.path()) == Error::kInvalid);
    CHECK(FileView().open(folder.file("pipe")) == Error::kInvalid);
}
