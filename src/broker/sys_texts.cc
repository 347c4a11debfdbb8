// The rows of `$SYS` that are texts: uptime as mosquitto writes it, lists as JSON.

#include "mqttd/version.h"

#include "broker/core.h"
#include "broker/sys_slow.h"
#include "broker/sys_topics.h"

#include <algorithm>

namespace mqttd {

const SysTopics::TextRow SysTopics::kTexts[] = {
    {"uptime",                 &SysTopics::write_uptime     },
    {"version",                &SysTopics::write_version    },
    {"loop/turn_us/histogram", &SysTopics::write_histogram  },
    {"slow/top",               &SysTopics::write_slow       },
    {"persist/state",          &SysTopics::write_persist    },
    {"persist/last_save",      &SysTopics::write_last_save  },
    {"config/last_reload",     &SysTopics::write_last_reload},
    {"config/last_error",      &SysTopics::write_last_error },
};

const uint32_t SysTopics::kTextRows = std::size(kTexts);

void SysTopics::write_uptime(SysText& out) const {
    out.number((core_.now_ - core_.started_) / kSecond).add(" seconds");
}

void SysTopics::write_version(SysText& out) const {
    out.add("mqttd version ").add(kVersion);
}

// Since the start, as Prometheus counts: n[i] turns took le[i] µs or less.  The last n, of all
// turns, has no le.
void SysTopics::write_histogram(SysText& out) const {
    out.add("{\"le\":[");
    bool first = true;
    for (const uint64_t end : host_.turn_us_ends) {
        if (!first) out.add(",");
        out.number(end);
        first = false;
    }
    out.add("],\"n\":[");
    uint64_t all = 0;
    first = true;
    for (const uint64_t count : host_.turn_us_counts) {
        if (!first) out.add(",");
        all += count;
        out.number(all);
        first = false;
    }
    out.add("],\"sum\":").number(host_.turn_us_sum).add("}");
}

void SysTopics::write_slow(SysText& out) const {
    SysSlow(core_.slow_, core_.options_, core_.now_ms()).write(out);
}

void SysTopics::write_persist(SysText& out) const {
    out.add(host_.persist_state);
}

void SysTopics::write_last_save(SysText& out) const {
    if (host_.persist_saved_s == 0) {
        out.add("never");
    } else {
        out.time(static_cast<int64_t>(host_.persist_saved_s));
    }
}

void SysTopics::write_last_reload(SysText& out) const {
    out.time(static_cast<int64_t>(host_.config_loaded_s));
}

void SysTopics::write_last_error(SysText& out) const {
    out.add(host_.config_error.empty() ? "none" : host_.config_error);
}

}  // namespace mqttd
