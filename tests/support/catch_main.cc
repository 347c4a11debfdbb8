// Catch2's main, and the record of what ran.
//
// The listener writes one line per event to the file named by MQTTD_TEST_REPORT and flushes it at
// once: "start <name>" before a test case, "pass <name>" or "fail <name>" after it.  A process that
// dies in the middle of a case leaves a start without an end, so scripts/run_tests can name the
// case that killed it, count it as failed, and go on with the rest.  Catch2's own reporter still
// talks to the person at the terminal.
//
// Compiled once per compiler and never sanitized: this file holds all of Catch2.

#define CATCH_CONFIG_MAIN
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>

namespace {

class ReportListener : public Catch::TestEventListenerBase {
  public:
    using TestEventListenerBase::TestEventListenerBase;

    void testRunStarting(const Catch::TestRunInfo&) override {
        const char* path = std::getenv("MQTTD_TEST_REPORT");
        if (path != nullptr) report_ = std::fopen(path, "ae");
    }

    void testCaseStarting(const Catch::TestCaseInfo& info) override { write("start", info.name); }

    void testCaseEnded(const Catch::TestCaseStats& stats) override {
        write(stats.totals.testCases.failed == 0 ? "pass" : "fail", stats.testInfo.name);
    }

  private:
    void write(const char* event, const std::string& name) {
        if (report_ == nullptr) return;
        std::fprintf(report_, "%s %s\n", event, name.c_str());
        std::fflush(report_);
    }

    std::FILE* report_ = nullptr;  // never closed: every line is flushed
};

}  // namespace

CATCH_REGISTER_LISTENER(ReportListener)
