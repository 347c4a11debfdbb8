// Values that are more than one number, word or text: whom a listener lets in, which topics go
// first. Pure functions of the rest of a line; the parser stores what they find.
#pragma once

#include "config/config.h"

#include <string>
#include <string_view>

namespace mqttd {

// "allow|deny NETWORK", NETWORK being `all`, an address or ADDRESS/BITS. Bits of the address behind
// the prefix are cleared. Returns what is wrong, to follow "KEY 'VALUE' "; empty if nothing is.
std::string read_address_rule(std::string_view rest, AddressRule& out);

// "FILTER N": a topic filter, which may hold blanks, and a priority from 0 to 255. Returns as
// above.
std::string read_topic_rank(std::string_view rest, TopicRank& out);

// A subscription filter by MQTT's rules: not empty, '#' alone in the last level, '+' alone in its.
bool is_topic_filter(std::string_view text);

}  // namespace mqttd
