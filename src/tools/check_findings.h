#pragma once

// Findings: what one walk through a journal came to, and the texts about it.
//
// A journal is *sound* if everything that was acknowledged is there. A torn tail was not: the life
// ended in the middle of it. Lost are what did not verify, what verifies and cannot be read, and
// deliveries whose message is gone.

#include "tools/check_state.h"
#include "tools/check_walk.h"

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mqttd::check {

struct TypeCount {
    uint64_t count = 0;
    uint64_t bytes = 0;  // of bodies
};

class Findings {
  public:
    // A record, and whether its body can be read.
    void take(const LogRecord& record, bool readable);

    // The walk is through.
    void finish(const Walk& walk, const State& state);

    bool sound() const { return damages.empty() && unreadable == 0 && totals.lost == 0; }

    // The short text about all of it, of several lines.
    std::string summary(const std::string& path) const;

    // Types, bytes live and dead, and the sessions that wait for most.
    std::string statistics(const State& state) const;

    uint64_t files = 0;
    uint64_t file_bytes = 0;
    Position oldest = 0;
    Position end = 0;
    uint64_t records = 0;
    uint64_t body_bytes = 0;
    uint64_t lives = 0;
    uint64_t torn = 0;
    uint64_t unreadable = 0;
    uint64_t largest_unit = 0;  // bytes of the ring that it may take
    std::array<TypeCount, 256> types{};
    std::vector<Damage> damages;
    std::vector<std::string> places;  // in words, one for each damage
    std::string first_unreadable;     // in words
    StateTotals totals;

  private:
    uint64_t unit_ = 0;
    Position first_unreadable_at_ = 0;
};

struct Examination {
    bool running = false;  // a broker writes there
    uint64_t payload_most = 0;
    // Called in order, if there is one, for each record, and for each place where some are missing.
    std::function<void(const LogRecord&)> record;
    std::function<void(const Damage&, const std::string& place)> damage;
};

// Reads the journal once, or some more times if a running broker removed files meanwhile and nobody
// has been told of records yet.  Errors: as Walk::open.
Error examine(Disk& disk, const Examination& how, Findings& findings, State& state);

// "1 234 567".
std::string grouped(uint64_t number);

// "1 record", "2 000 records".
std::string counted(uint64_t number, const char* one, const char* many);

}  // namespace mqttd::check
