// Writes the commented configuration file from the table: conf/mqttd.conf and --print-config.
//
// Every key is there, by section and in table order, commented out at its default, with its
// meaning, unit and bounds. Keys whose feature is not built stand at the end of their section,
// marked, at the value that is accepted anyway. So the file is also the reference manual, and it
// cannot go stale: a test compares conf/mqttd.conf with this text.
#pragma once

#include <string>

namespace mqttd {

std::string write_default_config();

}  // namespace mqttd
