// Makers of rows for table.cc: each gives one sort of key its name and asks only for what differs.
//
// The field a value goes to is a template argument, a pointer to member of Config or
// ListenerConfig; `Access` makes the row's store and load from it, whatever the field's type. A
// listener's field may also be set above all listeners, so its scope is kEither unless the row says
// otherwise.
#pragma once

#include "config/rates.h"
#include "config/table.h"

#include <bit>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

namespace mqttd::config_rows {

using enum Section;

inline constexpr int64_t kIntMax =
    std::numeric_limits<int32_t>::max();                // what mosquitto's int holds
inline constexpr int64_t kPayloadMax = 268435455;       // MQTT's Remaining Length
inline constexpr int64_t kPacketMax = kPayloadMax + 5;  // and the fixed header
inline constexpr int64_t kTextMax = 65535;
inline constexpr int64_t kCenturyS = 3153600000;  // 100 years; still fits a 32-bit session expiry

inline constexpr std::string_view kLogTypeWords =
    "none all error warning notice information debug subscribe unsubscribe websockets internal";

// ---- Carrying a value between a row and its field ----

inline Config& owner(Config& config, ListenerConfig&, const Config*) {
    return config;
}

inline ListenerConfig& owner(Config&, ListenerConfig& listener, const ListenerConfig*) {
    return listener;
}

inline const Config& owner(const Config& config, const ListenerConfig&, const Config*) {
    return config;
}

inline const ListenerConfig& owner(const Config&,
                                   const ListenerConfig& listener,
                                   const ListenerConfig*) {
    return listener;
}

template <auto kField>
struct Access;

template <class Owner, class Field, Field Owner::*kField>
struct Access<kField> {
    static void store(Config& config, ListenerConfig& listener, const ConfigValue& value) {
        Field& field = owner(config, listener, static_cast<const Owner*>(nullptr)).*kField;
        if constexpr (std::is_same_v<Field, std::string>) {
            field = std::string(value.text);
        } else if constexpr (std::is_enum_v<Field>) {  // a word's number is 1 << its place
            field = static_cast<Field>(std::countr_zero(static_cast<uint64_t>(value.number)));
        } else {
            field = static_cast<Field>(value.number);
        }
    }

    static ConfigValue load(const Config& config, const ListenerConfig& listener) {
        const Field& field = owner(config, listener, static_cast<const Owner*>(nullptr)).*kField;
        if constexpr (std::is_same_v<Field, std::string>) {
            return {0, field};
        } else if constexpr (std::is_enum_v<Field>) {
            return {int64_t{1} << static_cast<int>(field), {}};
        } else {
            return {static_cast<int64_t>(field), {}};
        }
    }

    static constexpr Scope kScope =
        std::is_same_v<Owner, ListenerConfig> ? Scope::kEither : Scope::kGlobal;
};

inline void store_allow_anonymous(Config& config, ListenerConfig&, const ConfigValue& value) {
    config.allow_anonymous = value.number != 0;
    config.allow_anonymous_is_set = true;
}

inline void store_hours(Config& config, ListenerConfig&, const ConfigValue& value) {
    config.persistent_client_expiration_s = static_cast<uint64_t>(value.number) * 3600;
}

inline void store_minutes(Config& config, ListenerConfig&, const ConfigValue& value) {
    config.retain_sweep_period_s = static_cast<uint32_t>(value.number) * 60;
}

inline ConfigValue load_minutes(const Config& config, const ListenerConfig&) {
    return {config.retain_sweep_period_s / 60, {}};
}

inline void store_rate_limit(Config&, ListenerConfig& listener, const ConfigValue& value) {
    const RateLimit limit = unpack_rate(value.number);
    listener.rate_burst_bytes = static_cast<uint32_t>(limit.burst_kib * 1024);
    listener.rate_bytes_s = static_cast<uint32_t>(limit.rate_kib_s * 1024);
}

inline ConfigValue load_rate_limit(const Config&, const ListenerConfig& listener) {
    return {pack_rate({listener.rate_burst_bytes / 1024, listener.rate_bytes_s / 1024}), {}};
}

// ---- Makers of rows, so that a row below reads as one line of facts ----

template <auto kField>
constexpr ConfigKey field_row(Section section,
                              Kind kind,
                              std::string_view name,
                              std::string_view fallback,
                              std::string_view doc) {
    using To = Access<kField>;
    ConfigKey key{name, section, To::kScope, kind};
    key.flags = kReload;
    key.fallback = fallback;
    key.doc = doc;
    key.store = &To::store;
    key.load = &To::load;
    return key;
}

template <auto kField>
constexpr ConfigKey flag(Section section,
                         std::string_view name,
                         std::string_view fallback,
                         std::string_view doc) {
    ConfigKey key = field_row<kField>(section, Kind::kBool, name, fallback, doc);
    key.max = 1;
    return key;
}

template <auto kField>
constexpr ConfigKey number(Section section,
                           std::string_view name,
                           int64_t min,
                           int64_t max,
                           std::string_view fallback,
                           std::string_view unit,
                           std::string_view doc,
                           Kind kind = Kind::kInt) {
    ConfigKey key = field_row<kField>(section, kind, name, fallback, doc);
    key.min = min;
    key.max = max;
    key.unit = unit;
    return key;
}

template <auto kField>
constexpr ConfigKey text(Section section,
                         std::string_view name,
                         std::string_view fallback,
                         std::string_view unit,
                         std::string_view doc,
                         int64_t max = kTextMax) {
    ConfigKey key = field_row<kField>(section, Kind::kText, name, fallback, doc);
    key.max = max;
    key.unit = unit;
    return key;
}

// One or, with kWords, several of `words`.
template <auto kField>
constexpr ConfigKey word(Section section,
                         std::string_view name,
                         std::string_view words,
                         std::string_view fallback,
                         std::string_view doc,
                         Kind kind = Kind::kWord) {
    ConfigKey key = field_row<kField>(section, kind, name, fallback, doc);
    key.words = words;
    return key;
}

template <auto kField>
constexpr ConfigKey topic_name(Section section,
                               std::string_view name,
                               std::string_view unit,
                               std::string_view doc) {
    ConfigKey key = text<kField>(section, name, {}, unit, doc);
    key.kind = Kind::kTopicName;
    return key;
}

constexpr ConfigKey in_scope(Scope scope, ConfigKey key) {
    key.scope = scope;
    return key;
}

constexpr ConfigKey stored_by(StoreValue store, ConfigKey key) {
    key.store = store;
    return key;
}

// Carried by functions of its own, not by one field.
constexpr ConfigKey carried_by(StoreValue store, LoadValue load, ConfigKey key) {
    key.store = store;
    key.load = load;
    return key;
}

// Below `per_listener_settings true` the key belongs to the current listener.
template <auto kField>
constexpr ConfigKey or_here(ConfigKey key) {
    key.store_here = &Access<kField>::store;
    return key;
}

constexpr ConfigKey needs_restart(ConfigKey key) {
    key.flags = static_cast<uint8_t>(key.flags & ~kReload);
    return key;
}

// Our own files do not leave it at its default.
constexpr ConfigKey shipped_as(std::string_view value, ConfigKey key) {
    key.shipped = value;
    return key;
}

constexpr ConfigKey with_flags(unsigned flags, ConfigKey key) {
    key.flags = static_cast<uint8_t>(flags);
    return key;
}

constexpr ConfigKey own_syntax(Section section,
                               Kind kind,
                               std::string_view name,
                               std::string_view words,
                               std::string_view fallback,
                               std::string_view unit,
                               std::string_view doc) {
    ConfigKey key{name, section, Scope::kGlobal, kind};
    key.flags = kRepeatable | kReload;
    key.words = words;
    key.fallback = fallback;
    key.unit = unit;
    key.doc = doc;
    return key;
}

constexpr ConfigKey alias(Section section, std::string_view name, std::string_view target) {
    ConfigKey key{name, section};
    key.verdict = Verdict::kAlias;
    key.target = target;
    return key;
}

// Rows without a field: what is not built, not wanted, or without meaning here.
constexpr ConfigKey verdict_row(Verdict verdict,
                                Section section,
                                Scope scope,
                                Kind kind,
                                std::string_view name,
                                std::string_view off,
                                std::string_view doc) {
    ConfigKey key{name, section, scope, kind, verdict};
    key.max = kTextMax;
    key.off = off;
    key.doc = doc;
    return key;
}

constexpr ConfigKey coming(Section section,
                           Scope scope,
                           Kind kind,
                           std::string_view name,
                           std::string_view off,
                           std::string_view doc) {
    return verdict_row(Verdict::kComing, section, scope, kind, name, off, doc);
}

constexpr ConfigKey coming_int(Section section,
                               Scope scope,
                               std::string_view name,
                               int64_t min,
                               int64_t max,
                               std::string_view off,
                               std::string_view unit,
                               std::string_view doc) {
    ConfigKey key = coming(section, scope, Kind::kInt, name, off, doc);
    key.min = min;
    key.max = max;
    key.unit = unit;
    return key;
}

constexpr ConfigKey coming_word(Section section,
                                Scope scope,
                                std::string_view name,
                                std::string_view words,
                                std::string_view off,
                                std::string_view doc,
                                Kind kind = Kind::kWord) {
    ConfigKey key = coming(section, scope, kind, name, off, doc);
    key.words = words;
    return key;
}

constexpr ConfigKey switched_by(std::string_view target, ConfigKey key) {
    key.verdict = Verdict::kInert;
    key.target = target;
    return key;
}

constexpr ConfigKey bridge(Kind kind,
                           std::string_view name,
                           std::string_view doc,
                           unsigned flags = 0) {
    return with_flags(
        flags, switched_by("connection", coming(kBridges, Scope::kBridge, kind, name, {}, doc)));
}

constexpr ConfigKey bridge_int(
    std::string_view name, int64_t min, int64_t max, std::string_view unit, std::string_view doc) {
    return switched_by("connection",
                       coming_int(kBridges, Scope::kBridge, name, min, max, {}, unit, doc));
}

constexpr ConfigKey bridge_word(std::string_view name,
                                std::string_view words,
                                std::string_view doc) {
    return switched_by("connection", coming_word(kBridges, Scope::kBridge, name, words, {}, doc));
}

// A TLS key of a listener or of a bridge.
constexpr ConfigKey tls(
    Scope scope, Kind kind, std::string_view name, std::string_view off, std::string_view doc) {
    const Section section = scope == Scope::kBridge ? kBridges : kTls;
    return with_flags(kLastWins, verdict_row(Verdict::kTls, section, scope, kind, name, off, doc));
}

constexpr ConfigKey ignored(Section section, std::string_view name, std::string_view doc) {
    return verdict_row(Verdict::kIgnored, section, Scope::kGlobal, Kind::kAnything, name, {}, doc);
}

constexpr ConfigKey refused(Section section,
                            std::string_view name,
                            std::string_view reason,
                            Scope scope = Scope::kGlobal) {
    ConfigKey key =
        verdict_row(Verdict::kRefused, section, scope, Kind::kText, name, {}, "Not served.");
    key.flags = kRepeatable;
    key.reason = reason;
    return key;
}

}  // namespace mqttd::config_rows
