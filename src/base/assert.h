#pragma once

// MQTTD_ASSERT: what only we can break.  It stays on in release builds; a failed one prints the
// fact and where, and ends the process, because going on with broken books loses messages quietly.
// MQTTD_DCHECK is for facts too dear to check on every message; builds with MQTTD_DCHECKS=1 check
// them (the tests do).  Nothing a peer, a file or an operator does may reach either.

namespace mqttd {

[[noreturn]] void assertion_failed(const char* fact, const char* file, int line);

}  // namespace mqttd

#define MQTTD_ASSERT(fact) \
    (__builtin_expect(!!(fact), 1) ? (void)0 : ::mqttd::assertion_failed(#fact, __FILE__, __LINE__))

#if defined(MQTTD_DCHECKS) && MQTTD_DCHECKS
#define MQTTD_DCHECK(fact) MQTTD_ASSERT(fact)
#else
#define MQTTD_DCHECK(fact) ((void)0)
#endif
