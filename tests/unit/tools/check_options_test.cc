#include "tools/check_options.h"

#include "catch2/catch.hpp"
#include "tools/check_json.h"

using namespace mqttd;
using namespace mqttd::check;

namespace {

ParsedOptions parse(std::vector<const char*> words) {
    return parse_options(words);
}

}  // namespace

TEST_CASE("mqttcheck takes one directory and one task", "[tools][check]") {
    CHECK(parse({"d"}).options.mode == Mode::kVerify);
    CHECK(parse({"d"}).options.folder == "d");
    CHECK(parse({"--stats", "d"}).options.mode == Mode::kStats);
    CHECK(parse({"d", "--json"}).options.mode == Mode::kJson);
    CHECK(parse({"--state", "--payload", "7", "d"}).options.payload_most == 7);
    CHECK(parse({"--state", "--payload=0", "d"}).options.payload_most == 0);
    CHECK(parse({"--repair", "o", "d"}).options.out == "o");
    CHECK(parse({"--repair=o", "d"}).options.mode == Mode::kRepair);
    CHECK(parse({"--", "-d"}).options.folder == "-d");
    CHECK(parse({"-h"}).options.help);
    CHECK(parse({"--version"}).problems.empty());
    for (const auto& words : std::vector<std::vector<const char*>>{
             {           },
             {                ""           },
             {             "a",            "b"},
             {                  "--stats",         "--json", "d"},
             {                       "--stats=1",         "d"},
             {               "--repair"           },
             {     "--repair=",            "d"},
             {                "--payload",         "5", "d"},
             {                       "--json", "--payload", "x", "d"},
             {            "--json",            "--payload", "-1", "d"},
             {       "--json",        "--payload", "268435457", "d"},
             {                   "--nothing",     "d"},
             {"--help",         "--nothing"},
    }) {
        CAPTURE(words.size(), words.empty() ? "" : words.front());
        CHECK_FALSE(parse(words).problems.empty());
    }
    CHECK(parse({"--json", "--payload", "268435456", "d"}).problems.empty());
}

TEST_CASE("a line of JSON holds any bytes", "[tools][check]") {
    JsonLine line;
    line.number("n", 5);
    line.text("plain", as_bytes("a\"b\\c\n\x7f\xc3\xa4"));
    line.text("raw", as_bytes("\xff\x01"));
    line.open("in");
    line.truth("t", true);
    line.close();
    line.open_list("l");
    line.item(1);
    line.item(2);
    line.open_item();
    line.word("w", "x");
    line.close();
    line.close_list();
    CHECK(line.take() ==
          "{\"n\":5,\"plain\":\"a\\\"b\\\\c\\u000a\\u007f\xc3\xa4\",\"raw_base64\":\"/wE=\","
          "\"in\":{\"t\":true},\"l\":[1,2,{\"w\":\"x\"}]}\n");
    CHECK(line.take() == "{}\n");
    CHECK(base64(as_bytes("")) == "");
    CHECK(base64(as_bytes("f")) == "Zg==");
    CHECK(base64(as_bytes("fo")) == "Zm8=");
    CHECK(base64(as_bytes("foo")) == "Zm9v");
    CHECK(base64(as_bytes("foobar")) == "Zm9vYmFy");
}

TEST_CASE("a payload is cut between characters", "[tools][check]") {
    const Bytes text = as_bytes(
        "a\xe2\x82\xac"
        "b");
    CHECK(as_text(shortened(text, 9)) == as_text(text));
    CHECK(as_text(shortened(text, 5)) == as_text(text));
    CHECK(as_text(shortened(text, 4)) == "a\xe2\x82\xac");
    CHECK(as_text(shortened(text, 3)) == "a");
    CHECK(as_text(shortened(text, 2)) == "a");
    CHECK(as_text(shortened(text, 1)) == "a");
    CHECK(shortened(text, 0).empty());
    CHECK(shortened(as_bytes("\xff\xff\xff\xff\xff\xff"), 5).size() == 5);
}
