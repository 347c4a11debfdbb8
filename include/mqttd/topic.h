#pragma once

// Topic names and topic filters: what is legal, what matches, how to walk levels.
//
// Pure byte functions; a level is what stands between two slashes and may be empty.  `#` matches
// the parent level and everything below, `+` exactly one level, and a wildcard in the first level
// matches no topic that begins with `$`.   MQTT 5.0 §4.7, MQTT 3.1.1 §4.7.

#include "mqttd/bytes.h"
#include "mqttd/result.h"

#include <cstdint>

namespace mqttd {

constexpr uint8_t kLevelSeparator = '/';

// Valid UTF-8 as the standard wants it: well formed, no surrogates, no U+0000.   [MQTT5-1.5.4-1…-2]
// O(n), eight bytes at a time while ASCII.
bool utf8_valid(Bytes text);

// Non-empty, no `+`, `#` or U+0000.  UTF-8 is not checked here.   [MQTT-3.3.2-2]
bool topic_name_valid(Bytes name);

// Non-empty; `#` only as the whole last level, `+` only as a whole level.   [MQTT5-4.7.1-1…-2]
bool topic_filter_valid(Bytes filter);

// UTF-8 and the rules of a name, or of a filter, in one pass: what decoding uses.
// kMalformedPacket (not UTF-8, U+0000) comes before kTopicNameInvalid or kTopicFilterInvalid.
Error topic_name_check(Bytes name);
Error topic_filter_check(Bytes filter);

bool has_wildcard(Bytes filter);

// Which member of a shared group gets a message.   MQTT 5.0 §4.8.2
enum class SharedStrategy : uint8_t { kRoundRobin, kSticky, kHash, kLeastQueued };

// Slashes + 1.
uint32_t level_count(Bytes topic);

// Takes the first level off the front of `rest`; `more` says whether another one follows (it may
// be empty).  Start with the whole topic; stop when `more` came back false.
Bytes next_level(Bytes& rest, bool& more);

// Whether a valid `filter` matches a valid topic `name`.  O(length).  The reference that the index
// is tested against.
bool topic_matches(Bytes filter, Bytes name);

}  // namespace mqttd
