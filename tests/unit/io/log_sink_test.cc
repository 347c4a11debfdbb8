#include "io/log_sink.h"

#include "support/alloc_guard.h"
#include "support/temp_folder.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <signal.h>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

using namespace mqttd;

namespace {

constexpr int64_t kNow = 1'700'000'000;

// Standard error becomes a pipe for as long as this lives.
class ErrPipe {
  public:
    ErrPipe() {
        saved_ = dup(2);
        int ends[2];
        if (pipe(ends) != 0) abort();
        dup2(ends[1], 2);
        close(ends[1]);
        read_ = ends[0];
        fcntl(read_, F_SETFL, O_NONBLOCK);
    }

    ~ErrPipe() {
        dup2(saved_, 2);
        close(saved_);
        if (read_ >= 0) close(read_);
    }

    std::string read_all() const {
        std::string all;
        char some[4096];
        for (ssize_t got; (got = read(read_, some, sizeof some)) > 0;) {
            all.append(some, static_cast<size_t>(got));
        }
        return all;
    }

    void stop_reading() {
        close(read_);
        read_ = -1;
    }

  private:
    int saved_;
    int read_;
};

LogSink::Options to_file(const std::string& path) {
    LogSink::Options options;
    options.file = path;
    return options;
}

LogSink::Options to_stderr() {
    LogSink::Options options;
    options.to_stderr = true;
    return options;
}

void take(LogSink& sink, std::string_view line) {
    LogSink::take(&sink, LogKind::kNotice, line);
}

// A socket like that of syslogd.
int syslog_server(const std::string& path) {
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) abort();
    return fd;
}

std::string receive(int fd) {
    char text[2000];
    const ssize_t got = recv(fd, text, sizeof text, 0);
    return got > 0 ? std::string(text, static_cast<size_t>(got)) : std::string();
}

size_t count_lines(const std::string& text) {
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("a line is written at the flush, with Unix seconds in front") {
    // mosquitto's shape: `TIME: TEXT`.
    const TempFolder folder;
    LogSink sink;
    REQUIRE(sink.open(to_file(folder.file("log"))) == Error::kNone);
    sink.set_time(kNow);
    take(sink, "first");
    REQUIRE(folder.read("log").empty());
    REQUIRE(sink.waiting());
    sink.set_time(kNow + 1);
    take(sink, "second");
    sink.flush();
    REQUIRE_FALSE(sink.waiting());
    REQUIRE(folder.read("log") == "1700000000: first\n1700000001: second\n");
}

TEST_CASE("the time can be left away or written as one likes") {
    // log_timestamp and log_timestamp_format; a format that gives nothing falls back to seconds.
    const TempFolder folder;
    const auto line_with = [&](bool timestamp, const std::string& format) {
        std::filesystem::remove(folder.file("log"));
        LogSink sink;
        LogSink::Options options = to_file(folder.file("log"));
        options.timestamp = timestamp;
        options.timestamp_format = format;
        REQUIRE(sink.open(options) == Error::kNone);
        sink.set_time(kNow);
        take(sink, "text");
        sink.flush();
        return folder.read("log");
    };
    REQUIRE(line_with(false, "") == "text\n");
    REQUIRE(line_with(false, "%Y") == "text\n");
    REQUIRE(line_with(true, "%Y") == "2023: text\n");
    REQUIRE(line_with(true, std::string(500, '%')) == "1700000000: text\n");
    REQUIRE(line_with(true, "%c%c%c%c%c%c%c") == "1700000000: text\n");
}

TEST_CASE("a file is appended to, and opened again under its name") {
    // logrotate moves it away and sends a signal.
    const TempFolder folder;
    folder.write("log", "old\n");
    LogSink sink;
    LogSink::Options options = to_file(folder.file("log"));
    options.timestamp = false;
    REQUIRE(sink.open(options) == Error::kNone);
    take(sink, "before");
    std::filesystem::rename(folder.file("log"), folder.file("log.1"));
    REQUIRE(sink.reopen() == Error::kNone);
    take(sink, "after");
    sink.flush();
    REQUIRE(folder.read("log.1") == "old\nbefore\n");
    REQUIRE(folder.read("log") == "after\n");
}

TEST_CASE("a file that cannot be opened again leaves the old one in use") {
    // Losing the log would be worse than writing to the old name.
    const TempFolder folder;
    std::filesystem::create_directory(folder.file("logs"));
    LogSink sink;
    LogSink::Options options = to_file(folder.file("logs/log"));
    options.timestamp = false;
    REQUIRE(sink.open(options) == Error::kNone);
    std::filesystem::rename(folder.file("logs"), folder.file("moved"));
    REQUIRE(sink.reopen() == Error::kNotFound);
    take(sink, "still here");
    sink.flush();
    REQUIRE(folder.read("moved/log") == "still here\n");
}

TEST_CASE("a file that cannot be opened is an error at the start") {
    // Exit code 1, with the name.
    const TempFolder folder;
    LogSink sink;
    REQUIRE(sink.open(to_file(folder.file("no/log"))) == Error::kNotFound);
}

TEST_CASE("several destinations get the same lines") {
    // log_dest may be given more than once.
    const TempFolder folder;
    const ErrPipe pipe;
    LogSink sink;
    LogSink::Options options = to_file(folder.file("log"));
    options.to_stderr = true;
    REQUIRE(sink.open(options) == Error::kNone);
    sink.set_time(kNow);
    for (int i = 0; i < 100; ++i)
        take(sink, "line " + std::to_string(i));
    sink.flush();
    REQUIRE(count_lines(folder.read("log")) == 100);
    REQUIRE(pipe.read_all() == folder.read("log"));
}

TEST_CASE("the ring may wrap around anywhere") {
    // Lines of every length, through the ring several times over.
    const TempFolder folder;
    LogSink sink;
    REQUIRE(sink.open(to_file(folder.file("log"))) == Error::kNone);
    sink.set_time(kNow);
    std::string model;
    for (size_t i = 0; i < 5000; ++i) {
        const std::string line(i % 997, static_cast<char>('a' + i % 26));
        take(sink, line);
        model += "1700000000: " + line + "\n";
        if (i % 37 == 0) sink.flush();
    }
    sink.flush();
    REQUIRE(model.size() > 4 * LogSink::kBytes);
    REQUIRE((folder.read("log") == model));
    REQUIRE(sink.lines_dropped() == 0);
}

TEST_CASE("a pipe that nobody empties never stops us, and gets a line about what it missed") {
    // The terminal was stopped, or the reader hangs; the broker goes on.
    const ErrPipe pipe;
    LogSink sink;
    REQUIRE(sink.open(to_stderr()) == Error::kNone);
    sink.set_time(kNow);
    const std::string line(200, 'x');
    constexpr uint32_t kLines = 20'000;
    for (uint32_t i = 0; i < kLines; ++i) {
        take(sink, line);
        if (i % 100 == 0) sink.flush();
    }
    REQUIRE(sink.waiting());
    REQUIRE(sink.lines_dropped() > 0);
    // Now somebody reads again.
    std::string all;
    for (int i = 0; i < 100 && sink.waiting(); ++i) {
        all += pipe.read_all();
        sink.flush();
    }
    all += pipe.read_all();
    REQUIRE_FALSE(sink.waiting());
    uint64_t reported = 0;
    uint64_t whole = 0;
    for (size_t at = 0; at < all.size();) {
        const size_t end = all.find('\n', at);
        const std::string one = all.substr(at, end - at);
        at = end + 1;
        unsigned long long lost = 0;
        if (std::sscanf(one.c_str(), "1700000000: %llu log lines were dropped", &lost) == 1) {
            reported += lost;
        } else if (one == "1700000000: " + line) {
            ++whole;
        }
    }
    REQUIRE(reported == sink.lines_dropped());
    REQUIRE(whole + reported == kLines);
}

TEST_CASE("one slow destination costs the others nothing") {
    // The file gets every line although the terminal hangs.
    const TempFolder folder;
    const ErrPipe pipe;
    LogSink sink;
    LogSink::Options options = to_file(folder.file("log"));
    options.to_stderr = true;
    REQUIRE(sink.open(options) == Error::kNone);
    sink.set_time(kNow);
    for (int i = 0; i < 10'000; ++i) {
        take(sink, std::string(100, 'y'));
        sink.flush();
    }
    REQUIRE(count_lines(folder.read("log")) == 10'000);
    REQUIRE(sink.lines_dropped() > 0);
}

TEST_CASE("more lines in one turn than the ring holds lose the oldest, and are counted") {
    // A storm of events in one turn.
    const TempFolder folder;
    LogSink sink;
    REQUIRE(sink.open(to_file(folder.file("log"))) == Error::kNone);
    sink.set_time(kNow);
    for (uint32_t i = 0; i < LogSink::kLines + 10; ++i)
        take(sink, "z");
    sink.flush();
    const std::string log = folder.read("log");
    REQUIRE(log.starts_with("1700000000: 4096 log lines were dropped"));
    REQUIRE(count_lines(log) == 11);
    REQUIRE(sink.lines_dropped() == LogSink::kLines);
}

TEST_CASE("a reader that leaves is forgotten") {
    // `mqttd 2>&1 | head`: no spinning on a broken pipe.
    ErrPipe pipe;
    signal(SIGPIPE, SIG_IGN);
    LogSink sink;
    REQUIRE(sink.open(to_stderr()) == Error::kNone);
    sink.set_time(kNow);
    take(sink, "one");
    sink.flush();
    pipe.stop_reading();
    take(sink, "two");
    sink.flush();
    REQUIRE_FALSE(sink.waiting());
    take(sink, "three");
    REQUIRE_FALSE(sink.waiting());
}

TEST_CASE("standard error of our caller stays blocking") {
    // O_NONBLOCK belongs to the open file, which the shell shares with us.
    const ErrPipe pipe;
    LogSink sink;
    REQUIRE(sink.open(to_stderr()) == Error::kNone);
    REQUIRE((fcntl(2, F_GETFL) & O_NONBLOCK) == 0);
}

TEST_CASE("syslog gets one datagram per line, with facility, severity, name and number") {
    // The raw protocol of /dev/log; no time prefix of ours, for syslog has its own.
    const TempFolder folder;
    const int server = syslog_server(folder.file("log"));
    LogSink sink;
    LogSink::Options options;
    options.to_syslog = true;
    options.syslog_path = folder.file("log");
    options.facility = 5;
    REQUIRE(sink.open(options) == Error::kNone);
    sink.set_time(kNow);
    LogSink::take(&sink, LogKind::kError, "bad");
    LogSink::take(&sink, LogKind::kDebug, "detail");
    sink.flush();
    const std::string pid = std::to_string(getpid());
    const std::string first = receive(server);
    REQUIRE(first.starts_with("<" + std::to_string((16 + 5) * 8 + 3) + ">Nov 1"));
    REQUIRE(first.ends_with(" mqttd[" + pid + "]: bad"));
    const std::string second = receive(server);
    REQUIRE(second.starts_with("<" + std::to_string((16 + 5) * 8 + 7) + ">Nov 1"));
    REQUIRE(second.ends_with("]: detail"));
    REQUIRE(receive(server).empty());
    REQUIRE_FALSE(sink.waiting());
    close(server);
}

TEST_CASE("a syslog that comes late gets what waited, and one that went is found again") {
    // The daemon is restarted; nobody spins meanwhile.
    const TempFolder folder;
    LogSink sink;
    LogSink::Options options;
    options.to_syslog = true;
    options.syslog_path = folder.file("log");
    REQUIRE(sink.open(options) == Error::kNone);
    sink.set_time(kNow);
    take(sink, "early");
    sink.flush();
    REQUIRE_FALSE(sink.waiting());  // there is nobody it could be written to
    int server = syslog_server(folder.file("log"));
    sink.set_time(kNow + 1);
    sink.flush();
    REQUIRE(receive(server).ends_with("early"));
    close(server);
    std::filesystem::remove(folder.file("log"));
    take(sink, "between");
    sink.flush();
    server = syslog_server(folder.file("log"));
    sink.set_time(kNow + 3);
    sink.flush();
    REQUIRE(receive(server).ends_with("between"));
    close(server);
}

TEST_CASE("taking and writing lines takes no memory") {
    // The log works when nothing else does.
    const TempFolder folder;
    LogSink sink;
    LogSink::Options options = to_file(folder.file("log"));
    options.timestamp_format = "%Y-%m-%d %H:%M:%S";
    REQUIRE(sink.open(options) == Error::kNone);
    sink.set_time(kNow);  // the first look at the time zone may allocate
    AllocGuard guard;
    for (int i = 0; i < 100; ++i) {
        sink.set_time(kNow + i);
        take(sink, "some line");
        sink.flush();
    }
    REQUIRE(guard.allocations() == 0);
}

TEST_CASE("destinations and form can change between two lines") {
    // What was written before goes where it was meant to go, what comes after to the new place.
    const TempFolder folder;
    LogSink sink;
    REQUIRE(sink.open(to_file(folder.file("one"))) == Error::kNone);
    sink.set_time(kNow);
    take(sink, "before");
    LogSink::Options other = to_file(folder.file("two"));
    other.timestamp = false;
    REQUIRE(sink.reconfigure(other) == Error::kNone);
    take(sink, "after");
    sink.flush();
    REQUIRE(folder.read("one") == "1700000000: before\n");
    REQUIRE(folder.read("two") == "after\n");

    other.file.clear();
    REQUIRE(sink.reconfigure(other) == Error::kNone);
    take(sink, "nowhere");
    sink.flush();
    REQUIRE_FALSE(sink.waiting());
    REQUIRE(folder.read("two") == "after\n");

    REQUIRE(sink.reconfigure(to_file(folder.file("two"))) == Error::kNone);
    take(sink, "again");
    sink.flush();
    REQUIRE(folder.read("two") == "after\n1700000000: again\n");
}

TEST_CASE("a file that cannot be opened changes no destination") {
    // A reload is whole or not at all.
    const TempFolder folder;
    LogSink sink;
    REQUIRE(sink.open(to_file(folder.file("log"))) == Error::kNone);
    sink.set_time(kNow);
    LogSink::Options wrong = to_file("/no/such/folder/log");
    wrong.timestamp = false;
    REQUIRE(sink.reconfigure(wrong) == Error::kNotFound);
    REQUIRE(sink.reconfigure(to_file("/")) == Error::kInvalid);
    take(sink, "still here");
    sink.flush();
    REQUIRE(folder.read("log") == "1700000000: still here\n");
}

TEST_CASE("the same file is opened anew at a change, and nothing waiting is lost") {
    // SIGHUP from logrotate.
    const TempFolder folder;
    LogSink sink;
    REQUIRE(sink.open(to_file(folder.file("log"))) == Error::kNone);
    sink.set_time(kNow);
    take(sink, "old");
    sink.flush();
    REQUIRE(std::rename(folder.file("log").c_str(), folder.file("log.1").c_str()) == 0);
    REQUIRE(sink.reconfigure(to_file(folder.file("log"))) == Error::kNone);
    take(sink, "new");
    sink.flush();
    REQUIRE(folder.read("log.1") == "1700000000: old\n");
    REQUIRE(folder.read("log") == "1700000000: new\n");
}
