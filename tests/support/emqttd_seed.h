#pragma once

// conf/emqttd-seed.conf as the server reads it: through the parser and the rules over the whole
// file, into the options of the rooms. Tests run in the root of the checkout.

#include "server/active.h"
#include "server/load_config.h"

#include <catch2/catch.hpp>

namespace mqttd {

inline const Active& emqttd_seed() {
    static const Active active([] {
        Options options;
        options.config_file = "conf/emqttd-seed.conf";
        LoadedConfig loaded = load_config(options);
        REQUIRE(loaded.ok);
        REQUIRE(loaded.warnings.empty());
        REQUIRE(loaded.config.listeners.size() == 1);
        return loaded.config;
    }());
    return active;
}

// For a World: all but the hash key comes from the file.
inline BrokerOptions emqttd_seed_options() {
    BrokerOptions options = emqttd_seed().broker();
    options.hash_key[0] = 1;
    return options;
}

}  // namespace mqttd
