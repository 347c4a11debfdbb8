#pragma once

// LogSink: takes log lines during a turn and writes them away at its end, without ever waiting.
//
// Lines go, with their time in front, into one ring of bytes and one ring of line records; each
// destination has its own place in them (a line, and how many bytes of it are written):
//
//     bytes   |.. 1700000000: New client ..\n|1700000000: Client x ..\n|..      |
//     lines   |   begin size kind            |begin size kind          |
//                 ▲ syslog                    ▲ stderr                  ▲ next_
//
// `flush` gives each destination what it has not had, in one write of whole stretches; a pipe, a
// terminal or the syslog socket that is full just keeps its place. When a new line needs room that
// a slow destination has not read, that destination loses everything it had waiting, and the next
// thing it gets is one line that says how many lines were lost.
//
// Terminals and pipes are opened anew through /proc/self/fd, so that O_NONBLOCK is ours alone and
// not also the shell's. Where that fails the descriptor is asked first (poll) and given no more
// than what a pipe takes at once.
//
// Debt: a regular file is written by the loop itself, one write a turn. A slow disk then stalls the
// loop. The ring goes to the keeper process when that exists.
//
// Nothing is allocated after `open`.

#include "mqttd/result.h"

#include "base/log.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace mqttd {

class LogSink {
  public:
    static constexpr uint32_t kBytes = 256 * 1024;
    static constexpr uint32_t kLines = 4096;

    struct Options {
        bool to_stdout = false;
        bool to_stderr = false;
        bool to_syslog = false;
        std::string file;              // empty = no file
        bool timestamp = true;         // "TIME: " in front; never for syslog, which has its own
        std::string timestamp_format;  // strftime, local time; empty = Unix seconds
        int facility = -1;             // local0 to local7; -1 = daemon
        std::string syslog_path = "/dev/log";
    };

    LogSink();
    ~LogSink();
    LogSink(const LogSink&) = delete;
    LogSink& operator=(const LogSink&) = delete;

    // Opens the destinations.  kNotFound, kPermission, kInvalid (a directory), …: the file could
    // not be opened; the others are served all the same.  A syslog socket that is not there is
    // tried again later. That, and a file that cannot be written, is said in one line on standard
    // error.
    Error open(const Options& options);

    // Opens the file again under its name, after it was moved away.  On error the old one stays.
    Error reopen();

    // Other destinations and another form, from the next line on; what was written so far goes
    // where it was meant to go, if it can go at once.  Opens the file anew in any case.  On error
    // everything stays.
    Error reconfigure(const Options& options);

    // Hands the file to the user that root gives way to.
    void give_file_to(uint32_t uid, uint32_t gid);

    // Standard output and error were redirected (Daemon::running): opens them anew.
    void restart_streams();

    // Once per turn.
    void set_time(int64_t wall_s);

    // Log::Sink; `sink` is a LogSink.
    static void take(void* sink, LogKind kind, std::string_view line);

    // Once per turn, after everything else.
    void flush();

    bool waiting() const;  // something that a destination has not had yet, and could have

    // Line records lost so far, over all destinations.
    uint64_t lines_dropped() const { return dropped_; }

  private:
    struct Line {
        uint64_t begin = 0;  // position in the endless row of bytes
        uint32_t size = 0;   // newline included
        uint8_t kind = 0;    // LogKind
        uint8_t prefix = 0;  // bytes of time in front
        int64_t wall_s = 0;
    };

    enum class Kind : uint8_t { kNone, kOpened, kBorrowed, kFile, kSyslog };

    struct Target {
        Kind kind = Kind::kNone;
        int fd = -1;
        uint64_t line = 0;        // next one to write
        uint32_t written = 0;     // bytes of it that have left
        uint64_t lost = 0;        // lines not yet reported
        bool torn = false;        // lost the rest of a line it had begun
        bool complained = false;  // standard error has been told that nothing gets through
    };

    enum Place : uint32_t { kStdout, kStderr, kFile, kSyslog, kTargets };

    void open_stream(Place place, int fd);
    void set_wanted(Place place, bool wanted);
    void set_form();
    void open_syslog();
    void add(LogKind kind, std::string_view line);
    void make_room(uint32_t bytes);
    uint64_t oldest_begin() const;
    void put(uint64_t at, std::string_view text);
    void flush_bytes(Target& target);
    void flush_datagrams(Target& target);
    bool report_lost(Target& target);
    void complain(Target& target, int number);
    void give_up_if_gone(Target& target, int number);
    void advance(Target& target, uint64_t bytes);

    Options options_;
    Target targets_[kTargets];
    char* bytes_;
    Line* lines_;
    uint64_t next_line_ = 0;
    uint64_t next_byte_ = 0;
    uint64_t dropped_ = 0;
    int64_t wall_s_ = 0;
    int64_t syslog_again_s_ = 0;  // when a socket that was not there is looked for again
    char stamp_[96] = {};
    uint32_t stamp_size_ = 0;
};

}  // namespace mqttd
