#pragma once

// JsonLine: one JSON object in one line, put together field by field.
//
// Texts of clients are bytes: what is valid UTF-8 becomes a JSON string, anything else base64 under
// the same name with `_base64` behind it, so that nothing is lost and every line can be parsed.

#include "mqttd/bytes.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace mqttd::check {

class JsonLine {
  public:
    void number(std::string_view name, uint64_t value);
    void truth(std::string_view name, bool value);
    void null(std::string_view name);
    // One that is text for sure: names of types and the like.
    void word(std::string_view name, std::string_view value);
    // Of a client.
    void text(std::string_view name, Bytes value);

    void open(std::string_view name) { open(name, '{'); }

    void open_list(std::string_view name) { open(name, '['); }

    void open_item() { open({}, '{'); }  // of a list

    void item(uint64_t value);

    void close() { close('}'); }

    void close_list() { close(']'); }

    // The line with its newline; the next one begins empty.
    std::string take();

  private:
    void key(std::string_view name);
    void quote(std::string_view value);
    void open(std::string_view name, char bracket);
    void close(char bracket);

    std::string out_ = "{";
};

std::string base64(Bytes bytes);

// The first bytes of a payload, at most `most`; where it is text no character is cut in two.
Bytes shortened(Bytes payload, uint64_t most);

}  // namespace mqttd::check
