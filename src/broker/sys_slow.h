#pragma once

// SysSlow: who does not keep up, for `slow/count` and `slow/top`.
//
// The core keeps a list of the links whose last write came short while messages waited or were
// dropped for them, in the order in which that began. Only its first kLooks are looked at, so the
// count stops there: whoever has that many slow clients knows enough. A client on the list is slow
// once it has been there for slow_consumer_ms, or if its queue is above the high watermark.
//
// Borrows the sessions: to be used in the turn in which it was made.

#include "mqttd/broker.h"

#include "base/intrusive_list.h"
#include "broker/link.h"
#include "broker/session.h"
#include "broker/sys_text.h"

#include <cstdint>

namespace mqttd {

class SysSlow {
  public:
    static constexpr uint32_t kLooks = 256;
    static constexpr uint32_t kTop = 10;
    static constexpr size_t kIdMax = 256;  // bytes of an identifier that are shown

    using Links = IntrusiveList<Link, &Link::slow_hook>;

    SysSlow(const Links& links, const BrokerOptions& options, uint32_t now_ms);

    uint32_t count() const { return count_; }

    uint64_t unsent_bytes() const { return unsent_bytes_; }  // in the outboxes looked at

    // [{"clientid","queued","bytes","inflight","oldest_ms","dropped"}, …], most bytes first.
    void write(SysText& out) const;

  private:
    struct Client {
        Session* session = nullptr;
        uint64_t bytes = 0;  // unsent and queued
        uint32_t age_ms = 0;
    };

    void take(const Client& client);

    uint32_t count_ = 0;
    uint32_t top_count_ = 0;
    uint64_t unsent_bytes_ = 0;
    Client top_[kTop];
};

}  // namespace mqttd
