// A small load generator for scripts/measure: one thread, batches, no allocation per message.
//
//   load pair  HOST PORT TOPIC PAYLOAD WINDOW [SPEECH]   one publisher and one subscriber of TOPIC,
//              QoS 0; SPEECH is 3.1.1, 5.0 (empty properties) or 5.0+user (one user property)
//   load hold  HOST PORT COUNT PREFIX           COUNT idle clients, client i subscribed to PREFIX/i
//   load sink  HOST PORT COUNT TOPIC PAYLOAD [RCVBUF]    COUNT subscribers of TOPIC that only count
//   load flood HOST PORT TOPIC PAYLOAD          one publisher as fast as the socket takes it
//   load ping  HOST PORT PERIOD_US              PINGREQ to PINGRESP, one every PERIOD_US
//   load hoard HOST PORT COUNT                  one client with COUNT subscriptions
//
// Each mode connects, prints `ready`, and then obeys lines on standard input, one answer per line;
// at the end of input it ends. So a script decides when a figure is taken:
//
//   pair   N        publish N messages      -> sent received wrong_bytes microseconds
//   sink   report   since the last report   -> clients bytes min_bytes max_bytes wrong_bytes
//   flood  N        publish for N ms        -> sent
//   ping   report   since the last report   -> count p50 p99 p999 max (microseconds)
//   hoard  leave    DISCONNECT, no reading  -> gone
//
// In `pair` the publisher stays at most WINDOW messages ahead of the subscriber, so that no
// limit of a broker is hit and nothing may be lost. All messages of a run are equal, so what a
// subscriber must read is periodic: it is compared with memcmp and counted in bytes, unparsed.

#include "client.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <poll.h>
#include <sched.h>
#include <string>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

namespace load {

namespace {

// ---- A subscriber that counts and compares ----

struct Counter {
    int fd = -1;
    uint64_t bytes = 0;
    uint64_t wrong = 0;
    uint64_t reported = 0;

    // Reads until the socket is empty.  `batch` is repeated(one message).
    void drain(const std::string& batch, size_t message_bytes, std::string& scratch) {
        for (;;) {
            const ssize_t n = read(fd, scratch.data(), scratch.size());
            if (n < 0 && errno == EAGAIN) {
                return;
            }
            if (n <= 0) {
                die("a subscriber was closed by the broker");
            }
            for (size_t done = 0; done < static_cast<size_t>(n);) {
                const size_t phase = bytes % message_bytes;
                const size_t piece = std::min(static_cast<size_t>(n) - done, batch.size() - phase);
                if (memcmp(scratch.data() + done, batch.data() + phase, piece) != 0) {
                    wrong += piece;
                }
                bytes += piece;
                done += piece;
            }
            if (static_cast<size_t>(n) < scratch.size()) {
                return;
            }
        }
    }
};

// ---- Modes ----

void run_pair(const Server& server,
              const std::string& topic,
              size_t payload,
              uint64_t window,
              Speech speech) {
    const std::string one = publish_packet(topic, payload, speech);
    const std::string batch = repeated(one);
    const size_t size = one.size();
    std::string scratch(kBatchBytes, '\0');
    Counter subscriber;
    subscriber.fd = open_client(server, unique_id("sub", 0), topic, 0, speech);
    const int publisher = open_client(server, unique_id("pub", 0), "", 0, speech);
    set_nonblocking(subscriber.fd);
    set_nonblocking(publisher);
    say("ready");
    uint64_t sent = 0;  // bytes, over all commands
    for (std::string line; next_command(line);) {
        const uint64_t count = strtoull(line.c_str(), nullptr, 10);
        const uint64_t begin = sent;
        const uint64_t end = sent + count * size;
        const uint64_t read_before = subscriber.bytes;
        const uint64_t started = now_ns();
        uint64_t moved = started;  // when something last arrived
        while (subscriber.bytes - read_before < end - begin) {
            const uint64_t ahead = (sent - begin) - (subscriber.bytes - read_before);
            const uint64_t room = ahead < window * size ? window * size - ahead : 0;
            if (const uint64_t want = std::min(room, end - sent); want > 0) {
                const size_t phase = sent % size;
                const size_t piece = std::min<uint64_t>(want, batch.size() - phase);
                const ssize_t n = write(publisher, batch.data() + phase, piece);
                if (n < 0 && errno != EAGAIN) {
                    die("the publisher was closed by the broker");
                }
                sent += n > 0 ? static_cast<uint64_t>(n) : 0;
            }
            const uint64_t seen = subscriber.bytes;
            subscriber.drain(batch, size, scratch);
            const uint64_t now = now_ns();
            if (subscriber.bytes != seen) {
                moved = now;
            } else if (now - moved > 3'000'000'000u) {
                break;  // lost messages: the numbers say so
            } else {
                const bool more = sent < end && room > 0;
                pollfd fds[2] = {
                    {subscriber.fd, POLLIN,  0},
                    {publisher,     POLLOUT, 0}
                };
                poll(fds, more ? 2 : 1, 100);
            }
        }
        const uint64_t took = (now_ns() - started) / 1000;
        const uint64_t got = subscriber.bytes - read_before;
        say(std::to_string((sent - begin) / size) + " " + std::to_string(got / size) + " " +
            std::to_string(subscriber.wrong + got % size) + " " + std::to_string(took));
    }
}

void run_hold(const Server& server, long count, const std::string& prefix) {
    for (long i = 0; i < count; ++i) {
        open_client(server, unique_id("idle", i), prefix + "/" + std::to_string(i));
    }
    say("ready");
    for (std::string line; next_command(line);) {
    }
}

void run_sink(
    const Server& server, long count, const std::string& topic, size_t payload, int rcvbuf) {
    const std::string one = publish_packet(topic, payload);
    const std::string batch = repeated(one);
    std::string scratch(kBatchBytes, '\0');
    std::vector<Counter> clients(static_cast<size_t>(count));
    const int poller = epoll_create1(EPOLL_CLOEXEC);
    for (long i = 0; i < count; ++i) {
        Counter& client = clients[static_cast<size_t>(i)];
        client.fd = open_client(server, unique_id("sink", i), topic, rcvbuf);
        set_nonblocking(client.fd);
        epoll_event event{EPOLLIN, {.ptr = &client}};
        epoll_ctl(poller, EPOLL_CTL_ADD, client.fd, &event);
    }
    epoll_event input{EPOLLIN, {.ptr = nullptr}};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &input);
    say("ready");
    std::vector<epoll_event> events(512);
    for (;;) {
        const int n = epoll_wait(poller, events.data(), static_cast<int>(events.size()), -1);
        for (int i = 0; i < n; ++i) {
            auto* client = static_cast<Counter*>(events[static_cast<size_t>(i)].data.ptr);
            if (client != nullptr) {
                client->drain(batch, one.size(), scratch);
                continue;
            }
            std::string line;
            if (!next_command(line)) {
                return;
            }
            uint64_t total = 0, least = UINT64_MAX, most = 0, wrong = 0;
            for (Counter& each : clients) {
                const uint64_t fresh = each.bytes - each.reported;
                each.reported = each.bytes;
                total += fresh;
                least = std::min(least, fresh);
                most = std::max(most, fresh);
                wrong += each.wrong;
            }
            say(std::to_string(count) + " " + std::to_string(total) + " " + std::to_string(least) +
                " " + std::to_string(most) + " " + std::to_string(wrong));
        }
    }
}

void run_flood(const Server& server, const std::string& topic, size_t payload) {
    const std::string one = publish_packet(topic, payload);
    const std::string batch = repeated(one);
    const int fd = open_client(server, unique_id("flood", 0), "");
    say("ready");
    for (std::string line; next_command(line);) {
        const uint64_t until = now_ns() + strtoull(line.c_str(), nullptr, 10) * 1'000'000u;
        uint64_t sent = 0;  // bytes; a blocking socket, so every batch goes out whole
        while (now_ns() < until) {
            write_all(fd, batch);
            sent += batch.size();
        }
        say(std::to_string(sent / one.size()));
    }
}

void run_ping(const Server& server, uint64_t period_us) {
    const int fd = open_client(server, unique_id("ping", 0), "");
    // Ahead of the rest of the load on this core: what is measured is the broker, not the
    // scheduler.
    const sched_param priority{.sched_priority = 10};
    const bool ahead =
        sched_setscheduler(0, SCHED_FIFO, &priority) == 0 || setpriority(PRIO_PROCESS, 0, -20) == 0;
    std::vector<uint32_t> samples;
    samples.reserve(4'000'000);
    say(ahead ? "ready" : "ready without priority");
    for (std::string line;;) {
        const uint64_t started = now_ns();
        char answer[2];
        write_all(fd, std::string("\xc0\x00", 2));
        read_exactly(fd, answer, sizeof answer);
        const uint64_t took_us = (now_ns() - started) / 1000;
        if (samples.size() < samples.capacity()) {
            samples.push_back(static_cast<uint32_t>(took_us));
        }
        if (command_waits()) {
            if (!next_command(line)) {
                return;
            }
            std::sort(samples.begin(), samples.end());
            const auto at = [&](double share) {
                const double rank = share * static_cast<double>(samples.size());
                return std::to_string(
                    samples[std::min(samples.size() - 1, static_cast<size_t>(rank))]);
            };
            say(std::to_string(samples.size()) + " " + at(0.5) + " " + at(0.99) + " " + at(0.999) +
                " " + at(1));
            samples.clear();
        }
        if (took_us < period_us) {
            usleep(static_cast<useconds_t>(period_us - took_us));
        }
    }
}

void run_hoard(const Server& server, long count) {
    constexpr long kPerPacket = 1000;
    const int fd = open_client(server, unique_id("hoard", 0), "");
    for (long first = 0; first < count; first += kPerPacket) {
        std::vector<std::string> filters;
        for (long i = first; i < std::min(count, first + kPerPacket); ++i) {
            filters.push_back("hoard/" + std::to_string(i % 997) + "/" + std::to_string(i));
        }
        write_all(fd, subscribe_packet(1 + static_cast<int>(first / kPerPacket % 65535), filters));
        std::string suback = packet(0x90, std::string(2 + filters.size(), '\0'));
        read_exactly(fd, suback.data(), suback.size());
    }
    say("ready");
    for (std::string line; next_command(line);) {
        write_all(fd, std::string("\xe0\x00", 2));
        say("gone");
    }
}

}  // namespace

}  // namespace load

int main(int argc, char** argv) {
    using namespace load;
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    const std::string mode = argc > 1 ? argv[1] : "";
    const auto number = [&](int index) { return strtol(argv[index], nullptr, 10); };
    if (argc < 4) {
        fprintf(stderr, "load: usage: see the head of load.cc\n");
        return 2;
    }
    const Server server = parse_server(argv[2], argv[3]);
    if (mode == "pair" && (argc == 7 || argc == 8)) {
        run_pair(server,
                 argv[4],
                 static_cast<size_t>(number(5)),
                 static_cast<uint64_t>(number(6)),
                 parse_speech(argc == 8 ? argv[7] : "3.1.1"));
    } else if (mode == "hold" && argc == 6) {
        run_hold(server, number(4), argv[5]);
    } else if (mode == "sink" && (argc == 7 || argc == 8)) {
        run_sink(server,
                 number(4),
                 argv[5],
                 static_cast<size_t>(number(6)),
                 argc == 8 ? static_cast<int>(number(7)) : 0);
    } else if (mode == "flood" && argc == 6) {
        run_flood(server, argv[4], static_cast<size_t>(number(5)));
    } else if (mode == "ping" && argc == 5) {
        run_ping(server, static_cast<uint64_t>(number(4)));
    } else if (mode == "hoard" && argc == 5) {
        run_hoard(server, number(4));
    } else {
        fprintf(stderr, "load: usage: see the head of load.cc\n");
        return 2;
    }
    return 0;
}
