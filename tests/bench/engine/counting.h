#pragma once

// Counting: which instructions callgrind collects.
//
// What is to be counted is the broker, core and net. So collection is on only inside its turns
// (Counted) and off again inside every call of the fake sockets (Aside); the clients, who are
// between the turns, never count. Each switch is a client request of valgrind: about ten
// instructions that do nothing outside of it.
//
//     Counting::begin();  … turns …  Counting::end("qos0_run_v3");
//
// `end` has callgrind write what was collected, under that name.

#include <cstdint>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#define MQTTD_CALLGRIND(request) request
#else
#define MQTTD_CALLGRIND(request) ((void)0)
#endif

namespace mqttd::bench {

class Counting {
  public:
    static bool available() {
#if __has_include(<valgrind/callgrind.h>)
        return RUNNING_ON_VALGRIND != 0;
#else
        return false;
#endif
    }

    // From here to `end` the turns are counted.  Before it, code runs faster: it is not looked at.
    static void begin() {
        MQTTD_CALLGRIND(CALLGRIND_START_INSTRUMENTATION);
        wanted_ = true;
    }

    static void end(const char* name) {
        wanted_ = false;
        (void)name;
        MQTTD_CALLGRIND(CALLGRIND_DUMP_STATS_AT(name));
        MQTTD_CALLGRIND(CALLGRIND_STOP_INSTRUMENTATION);
    }

  private:
    friend class Counted;
    friend class Uncounted;
    friend class Aside;

    static void toggle() {
        MQTTD_CALLGRIND(CALLGRIND_TOGGLE_COLLECT);
    }

    static inline bool wanted_ = false;
    static inline bool on_ = false;
};

// Until the end of this scope the broker runs.
class Counted {
  public:
    Counted() {
        if (!Counting::wanted_) return;
        Counting::on_ = true;
        Counting::toggle();
    }

    ~Counted() {
        if (!Counting::on_) return;
        Counting::toggle();
        Counting::on_ = false;
    }

    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
};

// Until the end of this scope no turn is counted: what only prepares the next one.
class Uncounted {
  public:
    Uncounted() : before_(Counting::wanted_) { Counting::wanted_ = false; }

    ~Uncounted() { Counting::wanted_ = before_; }

    Uncounted(const Uncounted&) = delete;
    Uncounted& operator=(const Uncounted&) = delete;

  private:
    const bool before_;
};

// Until the end of this scope the kernel works, not the broker.
class Aside {
  public:
    Aside() {
        if (Counting::on_) Counting::toggle();
    }

    ~Aside() {
        if (Counting::on_) Counting::toggle();
    }

    Aside(const Aside&) = delete;
    Aside& operator=(const Aside&) = delete;
};

}  // namespace mqttd::bench
