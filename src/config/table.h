// The table of configuration keys: one row per key does every job.
//
// A row says how a key is spelled, where it may stand, what values it takes, what happens to them,
// and what it is for. The parser, the bounds, the defaults, the error messages, the reload and the
// commented conf/mqttd.conf are all read off these rows; nothing else in mqttd lists the keys.
//
// Every key of mosquitto 2.1 and of the emqttd seed has a row, also the ones mqttd does not serve,
// so that none is "unknown". The verdict says what a key gets:
//
//   kBuilt    its value is stored in Config (or in the listener it stands in)
//   kAlias    another spelling of `target`
//   kInert    tunes a feature that is not built and that only `target` can switch on: its value is
//             checked and has no effect, and `target` alone decides whether mqttd starts
//   kComing   a feature that is not built: a value listed in `off` is what mqttd does anyway and is
//             accepted, any other value stops the start in one sentence
//   kIgnored  has no meaning here; accepted with one warning
//   kTls      as kComing, but the sentence names `make TLS=1`
//   kRefused  as kComing, but for good; the sentence gives the `reason`
//
// The rule behind the last three: a key whose absence weakens security is never ignored.
//
// `store` and `load` carry the value between the row and its field, whatever the field's type;
// they are instantiated from the pointer to member, so a row cannot name a field that is not there.
// Keys with a syntax of their own (has_own_syntax) are stored by the parser instead. `store_here`
// is the second store of the keys that per_listener_settings moves into the current listener.
//
// Order: sections as in conf/mqttd.conf. Names are unique (checked when compiled); a name that ends
// in '*' stands for every key that begins like it. Lookup is linear: 200 rows, at start only.
#pragma once

#include "config/config.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mqttd {

enum class Section : uint8_t {
    kListeners,
    kAccess,
    kSizes,
    kQueues,
    kSubscriptions,
    kRetained,
    kProcess,
    kLogging,
    kPersistence,
    kTls,
    kBridges,
    kPlugins,
    kEmqttd,
};
inline constexpr size_t kSectionCount = 13;

enum class Scope : uint8_t {
    kGlobal,           // the place in the file does not matter
    kListener,         // the last listener; without one, a default listener is created
    kEither,           // above the first listener: default of all; below one: that listener's
    kDefaultListener,  // the default listener, created if need be
    kBridge,           // the last `connection`
    kPlugin,           // the last plugin line
};

enum class Kind : uint8_t {
    kBool,
    kInt,
    kOctal,
    kDuration,     // number and unit, in seconds
    kHours,        // a number of hours; the bounds are hours, the field holds seconds
    kMinutes,      // a number of minutes, in the same way
    kShare,        // 0..1, in thousandths
    kRate,         // bytes a second, with K or M; 0 = off
    kRateLimit,    // BURST,RATE or off; packed as in rates.h
    kWord,         // one of `words`
    kWords,        // a set of `words`, divided by blanks or commas; `off` is the whole set
    kText,         // the rest of the line
    kTopicName,    // the same without wildcards
    kAnything,     // not looked at, may be empty
    kListener,     // port [host | path]
    kLogDest,      // none | stdout | stderr | syslog | file PATH | ...
    kLogTypes,     // one of `words`, gathered over lines
    kAddressRule,  // allow|deny NETWORK, gathered over lines
    kTopicRank,    // FILTER N, gathered over lines
    kIncludeDir,   // a directory, read on the spot
};

enum class Verdict : uint8_t { kBuilt, kAlias, kInert, kComing, kIgnored, kTls, kRefused };

enum KeyFlags : uint8_t {
    kRepeatable = 1 << 0,  // a second line adds to the first
    kLastWins =
        1 << 1,  // a second line replaces the first, with a warning; numbers and bools always do
    kReload = 1 << 2,  // SIGHUP takes over a changed value
};

// What a row's store and load exchange: a number for every kind but kText.
struct ConfigValue {
    int64_t number = 0;
    std::string_view text;
};

using StoreValue = void (*)(Config&, ListenerConfig&, const ConfigValue&);
using LoadValue = ConfigValue (*)(const Config&, const ListenerConfig&);

struct ConfigKey {
    std::string_view name;
    Section section = Section::kListeners;
    Scope scope = Scope::kGlobal;
    Kind kind = Kind::kAnything;
    Verdict verdict = Verdict::kBuilt;
    uint8_t flags = 0;
    int64_t min = 0;                 // of numbers
    int64_t max = 0;                 // of numbers; of text the bytes
    std::string_view fallback = {};  // the default as one writes it; empty = unset
    std::string_view shipped = {};   // what conf/mqttd.conf says instead; empty = the default
    std::string_view unit = {};
    std::string_view words = {};   // divided by blanks
    std::string_view off = {};     // divided by '|'; what the writer shows is the first
    std::string_view target = {};  // name of another row
    std::string_view doc = {};
    std::string_view reason = {};
    StoreValue store = nullptr;
    LoadValue load = nullptr;
    StoreValue store_here = nullptr;
};

constexpr bool has_own_syntax(Kind kind) {
    return kind == Kind::kListener || kind == Kind::kLogDest || kind == Kind::kLogTypes ||
           kind == Kind::kAddressRule || kind == Kind::kTopicRank || kind == Kind::kIncludeDir;
}

constexpr bool is_text(Kind kind) {
    return kind == Kind::kText || kind == Kind::kTopicName;
}

std::span<const ConfigKey> config_keys();

std::string_view section_title(Section section);

// The row of `name`, or nullptr. Aliases are not followed.
const ConfigKey* find_config_key(std::string_view name);

// The row an alias stands for; every other row itself.
const ConfigKey& resolve_alias(const ConfigKey& key);

// The known name that is nearest to `name` by edit distance, or empty if none is near enough for a
// slip of the fingers (one edit in three letters, at most three). O(rows · letters²).
std::string_view nearest_config_key(std::string_view name);

// What may stand behind the key, for messages and comments: "true or false", "a whole number from 1
// to 65535", "one of: mqtt websockets".
std::string describe_values(const ConfigKey& key);

}  // namespace mqttd
