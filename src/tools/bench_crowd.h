#pragma once

// Crowd: any number of idle clients, held by other processes.
//
// One process may hold only so many descriptors, so a crowd is spread over children of at most
// 18 000 clients each; that also keeps them out of the way of what the parent measures. A child
// opens its clients, says how many it has every few hundred, and then sleeps until the parent
// closes the pipe between them.

#include "tools/bench_options.h"
#include "tools/bench_report.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mqttd::bench {

class Crowd {
  public:
    explicit Crowd(const Options& options) : options_(options) {}

    ~Crowd() { leave(); }

    Crowd(const Crowd&) = delete;
    Crowd& operator=(const Crowd&) = delete;

    // Client i has the filters `filters(i)`, at --qos. Returns when all are subscribed.
    void open(uint64_t count,
              const std::string& role,
              const std::function<std::vector<std::string>(uint64_t)>& filters);
    // Ends the children; their connections close.
    void leave();

    uint64_t size() const { return size_; }

    size_t processes() const { return children_.size(); }

  private:
    struct Child {
        int pid;
        int reports;  // read end: counts
        int hold;     // write end: its closing is the sign to leave
    };

    Child start(uint64_t first,
                uint64_t count,
                const std::string& role,
                const std::function<std::vector<std::string>(uint64_t)>& filters);

    const Options& options_;
    std::vector<Child> children_;
    uint64_t size_ = 0;
};

}  // namespace mqttd::bench
