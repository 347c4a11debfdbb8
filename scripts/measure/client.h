#pragma once

// What every mode of the load generator needs: the packets of a QoS 0 client, blocking connections,
// and the dialogue with the script. Whatever goes wrong ends the program with one line.

#include <arpa/inet.h>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <vector>

namespace load {

constexpr size_t kBatchBytes = 256 * 1024;

[[noreturn]] inline void die(const std::string& what) {
    fprintf(stderr, "load: %s (%s)\n", what.c_str(), strerror(errno));
    exit(1);
}

inline uint64_t now_ns() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec);
}

// ---- Packets ----

inline void put_string(std::string& out, const std::string& text) {
    out += static_cast<char>(text.size() >> 8);
    out += static_cast<char>(text.size() & 0xff);
    out += text;
}

inline std::string packet(int first, const std::string& body) {
    std::string out(1, static_cast<char>(first));
    size_t left = body.size();
    do {
        out += static_cast<char>((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
        left >>= 7;
    } while (left > 0);
    return out + body;
}

// What a client speaks. At 5.0 every packet has properties; a PUBLISH may have one of them.
enum class Speech { k311, k50, k50User };

inline Speech parse_speech(const std::string& word) {
    if (word == "3.1.1") {
        return Speech::k311;
    }
    if (word != "5.0" && word != "5.0+user") {
        errno = 0;
        die("not 3.1.1, 5.0 or 5.0+user: " + word);
    }
    return word == "5.0" ? Speech::k50 : Speech::k50User;
}

inline std::string no_properties(Speech speech) {
    return speech == Speech::k311 ? std::string() : std::string(1, '\0');
}

inline std::string connect_packet(const std::string& client_id, Speech speech = Speech::k311) {
    std::string body;
    put_string(body, "MQTT");
    body += speech == Speech::k311 ? '\4' : '\5';
    body += std::string("\x02\x00\x00", 3);  // clean session, no keep-alive
    body += no_properties(speech);
    put_string(body, client_id);
    return packet(0x10, body);
}

inline std::string subscribe_packet(int id,
                                    const std::vector<std::string>& filters,
                                    Speech speech = Speech::k311) {
    std::string body{static_cast<char>(id >> 8), static_cast<char>(id & 0xff)};
    body += no_properties(speech);
    for (const std::string& filter : filters) {
        put_string(body, filter);
        body += '\0';
    }
    return packet(0x82, body);
}

inline std::string publish_packet(const std::string& topic,
                                  size_t payload_bytes,
                                  Speech speech = Speech::k311) {
    std::string body;
    put_string(body, topic);
    if (speech == Speech::k50User) {
        std::string property(1, '\x26');
        put_string(property, "origin");
        put_string(property, "sensor-17");
        body += static_cast<char>(property.size()) + property;
    } else {
        body += no_properties(speech);
    }
    for (size_t i = 0; i < payload_bytes; ++i) {
        body += static_cast<char>('a' + i % 26);
    }
    return packet(0x30, body);
}

// As many whole copies of `one` as a batch takes, and at least two.
inline std::string repeated(const std::string& one) {
    std::string out;
    do {
        out += one;
    } while (out.size() + one.size() <= kBatchBytes || out.size() < 2 * one.size());
    return out;
}

// ---- Connections ----

struct Server {
    sockaddr_storage address{};
    socklen_t size = 0;
};

inline Server parse_server(const char* host, const char* port) {
    Server server;
    auto* v4 = reinterpret_cast<sockaddr_in*>(&server.address);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(atoi(port)));
    server.size = sizeof *v4;
    if (inet_pton(AF_INET, host, &v4->sin_addr) != 1) {
        die(std::string("not an IPv4 address: ") + host);
    }
    return server;
}

inline void write_all(int fd, const std::string& data) {
    for (size_t done = 0; done < data.size();) {
        const ssize_t n = write(fd, data.data() + done, data.size() - done);
        if (n <= 0) {
            die("write");
        }
        done += static_cast<size_t>(n);
    }
}

inline void read_exactly(int fd, char* out, size_t size) {
    for (size_t done = 0; done < size;) {
        const ssize_t n = read(fd, out + done, size - done);
        if (n <= 0) {
            die("closed by the broker");
        }
        done += static_cast<size_t>(n);
    }
}

// The body of one packet, whose first byte must be this one.
inline std::string read_body(int fd, uint8_t first, const char* what) {
    char byte = 0;
    read_exactly(fd, &byte, 1);
    if (static_cast<uint8_t>(byte) != first) {
        errno = 0;
        die(std::string("something else instead of ") + what);
    }
    size_t size = 0;
    for (int shift = 0;; shift += 7) {
        read_exactly(fd, &byte, 1);
        size |= static_cast<size_t>(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            break;
        }
    }
    std::string body(size, '\0');
    read_exactly(fd, body.data(), size);
    return body;
}

// Reads the CONNACK and then a SUBACK. `fd` blocks.
inline void read_acks(int fd, bool subscribed) {
    const std::string connack = read_body(fd, 0x20, "CONNACK");
    if (connack.size() < 2 || connack[1] != 0) {
        errno = 0;
        die("CONNECT refused with code " + std::to_string(connack.size() < 2 ? -1 : connack[1]));
    }
    if (subscribed && read_body(fd, 0x90, "SUBACK").back() != 0) {
        errno = 0;
        die("SUBSCRIBE refused");
    }
}

inline int open_client(const Server& server,
                       const std::string& client_id,
                       const std::string& filter,
                       int rcvbuf = 0,
                       Speech speech = Speech::k311) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    if (fd < 0) {
        die("socket");
    }
    if (rcvbuf > 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&server.address), server.size) != 0) {
        die("connect");
    }
    std::string hello = connect_packet(client_id, speech);
    if (!filter.empty()) {
        hello += subscribe_packet(1, {filter}, speech);
    }
    write_all(fd, hello);
    read_acks(fd, !filter.empty());
    return fd;
}

inline void set_nonblocking(int fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

// The name keeps several generators apart that run against one broker.
inline std::string unique_id(const std::string& role, long index) {
    return role + "-" + std::to_string(getpid()) + "-" + std::to_string(index);
}

// ---- Commands from the script ----

inline bool next_command(std::string& line) {
    line.clear();
    for (char c; read(0, &c, 1) == 1;) {
        if (c == '\n') {
            return true;
        }
        line += c;
    }
    return false;
}

inline bool command_waits() {
    pollfd input{0, POLLIN, 0};
    return poll(&input, 1, 0) == 1;
}

inline void say(const std::string& text) {
    printf("%s\n", text.c_str());
    fflush(stdout);
}

}  // namespace load
