#pragma once

// PeerText: where a connection comes from, as log lines show it: `192.0.2.1:51000`,
// `[2001:db8::1]:51000`, or `unix`.  For use as a %s argument within one expression.

#include "mqttd/stream.h"

namespace mqttd {

class PeerText {
  public:
    explicit PeerText(const Peer& peer);

    const char* c_str() const { return text_; }

  private:
    char text_[56];
};

}  // namespace mqttd
