// Opening clients, many at a time: connect, CONNECT and SUBSCRIBE in one write, CONNACK, SUBACKs.
//
// A place in the table is one connection under way. On loopback a non-blocking connect is complete
// when it returns, so the hello is written at once and the poller only ever waits for answers.
// Source addresses change every 18 000 clients (127.0.0.1, 127.0.0.2, …), because one pair of
// addresses has no more ports than that. In a storm of short connections they change each time:
// closed connections keep their ports for a minute, and looking for a free one among thousands
// would cost more than the connection.

#include "tools/bench_client.h"

#include <arpa/inet.h>
#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>

namespace mqttd::bench {

namespace {

constexpr uint64_t kPerSource = 18'000;
constexpr uint64_t kSources = 250;

struct Server {
    sockaddr_storage address{};
    socklen_t bytes = 0;
    bool loopback4 = false;
};

Server server_of(const Options& options) {
    Server server;
    const std::string host = options.host == "localhost" ? "127.0.0.1" : options.host;
    auto* v4 = reinterpret_cast<sockaddr_in*>(&server.address);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&server.address);
    const auto port = htons(static_cast<uint16_t>(options.port));
    if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = port;
        server.bytes = sizeof *v4;
        server.loopback4 = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    } else if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = port;
        server.bytes = sizeof *v6;
    } else {
        die("'" + options.host + "' is no numeric address: give an IPv4 or IPv6 address");
    }
    return server;
}

std::string place_of(const Options& options) {
    return options.host + " port " + std::to_string(options.port);
}

int connect_socket(const Options& options, const Server& server, uint64_t index, uint64_t source) {
    const int fd = socket(server.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die_errno("no more sockets (" + std::to_string(index) + " were opened)");
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (server.loopback4 && source > 0) {
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        sockaddr_in from{};
        from.sin_family = AF_INET;
        from.sin_addr.s_addr = htonl(0x7f000001u + static_cast<uint32_t>(source));
        if (bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) {
            die_errno("cannot use a second source address");
        }
    }
    if (connect(fd, reinterpret_cast<const sockaddr*>(&server.address), server.bytes) != 0 &&
        errno != EINPROGRESS) {
        die_errno("cannot connect to " + place_of(options));
    }
    return fd;
}

// One connection under way.
struct Opening {
    Client client;
    uint64_t index = 0;
    uint32_t acks = 0;  // CONNACK and SUBACKs still to come
    bool session_present = false;
};

// What a load generator meets; 3.x below 0x80, 5.0 above.
struct Refusal {
    uint8_t code;
    std::string_view meaning;
};

constexpr Refusal kRefusals[] = {
    {1,    "protocol version not accepted"                },
    {2,    "client id rejected"                           },
    {3,    "server unavailable"                           },
    {4,    "bad user name or password: --user, --password"},
    {5,    "not authorised: --user, --password"           },
    {0x84, "protocol version not accepted"                },
    {0x85, "client id rejected"                           },
    {0x86, "bad user name or password: --user, --password"},
    {0x87, "not authorised: --user, --password"           },
    {0x88, "server unavailable"                           },
    {0x89, "server busy"                                  },
    {0x97, "quota exceeded"                               },
    {0x9f, "connections come too fast"                    },
};

void check_connack(const Frame& frame) {
    if (frame.body_bytes < 2) die("the broker sent a CONNACK without a code");
    const uint8_t code = frame.body[1];
    if (code == 0) return;
    std::string why = "CONNACK code " + std::to_string(code);
    for (const Refusal& row : kRefusals) {
        if (row.code == code) why += ", " + std::string(row.meaning);
    }
    die("the broker refused a client: " + why);
}

void check_suback(const Frame& frame) {
    if (frame.body_bytes < 3 || frame.body[frame.body_bytes - 1] > 2) {
        die("the broker refused a subscription");
    }
}

// Takes the answers out of what has arrived; the rest stays. Returns whether all are there.
bool take_answers(Opening& opening) {
    Client& client = opening.client;
    size_t used = 0;
    while (opening.acks > 0) {
        const uint8_t* at = client.rest.data() + used;
        const Frame frame = next_frame(at, client.rest.size() - used);
        if (frame.malformed) die("what answers is not an MQTT broker");
        if (frame.whole == 0) break;
        if (*at == kConnack) {
            check_connack(frame);
            opening.session_present = (frame.body[0] & 1) != 0;
            client.receive_maximum = connack_receive_maximum(frame);
            --opening.acks;
        } else if (*at == kSuback) {
            check_suback(frame);
            --opening.acks;
        } else if ((*at & 0xf0) != kPublish) {
            die("the broker answered CONNECT with a packet of type " + std::to_string(*at >> 4));
        }
        used += frame.whole;
    }
    client.rest.erase(client.rest.begin(), client.rest.begin() + static_cast<long>(used));
    return opening.acks == 0;
}

void read_into_rest(const Options& options, Client& client) {
    constexpr size_t kChunk = 4096;
    const size_t before = client.rest.size();
    client.rest.resize(before + kChunk);
    const ssize_t n = read(client.fd, client.rest.data() + before, kChunk);
    client.rest.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) return;
    if (n < 0) die_errno("cannot connect to " + place_of(options));
    die("the broker closed a connection instead of answering it");
}

// Writing may find that the connection was refused; then the sentence is about that.
void write_hello(const Options& options, Client& client) {
    int error = 0;
    socklen_t bytes = sizeof error;
    getsockopt(client.fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
    if (error != 0) {
        errno = error;
        die_errno("cannot connect to " + place_of(options));
    }
    flush(client);
}

class Opener {
  public:
    Opener(const Options& options, const OpenPlan& plan)
        : options_(options),
          plan_(plan),
          server_(server_of(options)),
          places_(std::min(plan.parallel, plan.count)) {}

    void run() {
        for (size_t place = 0; place < places_.size() && begin(place); ++place) {
        }
        const auto patience = static_cast<int64_t>(options_.patience_s * 1'000'000'000);
        while (under_way_ > 0 && !interrupted()) {
            const std::span<epoll_event> events = poller_.wait(patience);
            if (events.empty() && !interrupted()) {
                die("no answer from " + place_of(options_) + " in " +
                    std::to_string(options_.patience_s) +
                    " s; clients opened so far: " + std::to_string(opened_));
            }
            for (const epoll_event& event : events)
                serve(event);
        }
    }

  private:
    bool begin(size_t place) {
        if (begun_ == plan_.count || (plan_.go_on && !plan_.go_on())) return false;
        Opening& opening = places_[place];
        opening = Opening();
        opening.index = begun_++;
        const uint64_t index = plan_.first_index + opening.index;
        const uint64_t source = (plan_.spread ? index : index / kPerSource) % kSources;
        opening.client.fd = connect_socket(options_, server_, index, source);
        const Hello hello = plan_.hello(opening.index);
        opening.acks = 1 + hello.subacks;
        opening.client.append(hello.bytes);
        write_hello(options_, opening.client);
        poller_.add(opening.client, place);
        ++under_way_;
        return true;
    }

    void serve(const epoll_event& event) {
        Opening& opening = places_[event.data.u64];
        if ((event.events & EPOLLOUT) != 0) write_hello(options_, opening.client);
        if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
            read_into_rest(options_, opening.client);
            if (take_answers(opening)) {
                poller_.remove(opening.client);
                --under_way_;
                ++opened_;
                plan_.opened(opening.index, std::move(opening.client), opening.session_present);
                begin(event.data.u64);
                return;
            }
        }
        poller_.update(opening.client, event.data.u64);
    }

    const Options& options_;
    const OpenPlan& plan_;
    Server server_;
    std::vector<Opening> places_;
    Poller poller_;
    uint64_t begun_ = 0;
    uint64_t under_way_ = 0;
    uint64_t opened_ = 0;
};

}  // namespace

void open_clients(const Options& options, const OpenPlan& plan) {
    if (plan.count > 0) Opener(options, plan).run();
}

Client open_client(const Options& options, const Hello& hello, bool* session_present) {
    Client client;
    OpenPlan plan;
    plan.hello = [&](uint64_t) { return hello; };
    plan.opened = [&](uint64_t, Client&& opened, bool present) {
        client = std::move(opened);
        if (session_present != nullptr) *session_present = present;
    };
    open_clients(options, plan);
    if (client.fd < 0) die("interrupted");
    return client;
}

Hello make_hello(const Options& options,
                 const std::string& client_id,
                 const std::vector<std::string>& filters,
                 bool durable) {
    constexpr size_t kFiltersPerPacket = 200;
    Hello hello;
    hello.bytes =
        connect_packet(options.speech(), {client_id, durable, options.user, options.password});
    for (size_t first = 0; first < filters.size(); first += kFiltersPerPacket) {
        const size_t last = std::min(filters.size(), first + kFiltersPerPacket);
        const std::vector<std::string> some(filters.begin() + static_cast<long>(first),
                                            filters.begin() + static_cast<long>(last));
        ++hello.subacks;
        hello.bytes += subscribe_packet(
            options.speech(), static_cast<uint16_t>(hello.subacks), some, options.level());
    }
    return hello;
}

std::string run_prefix(const Options& options) {
    return options.prefix.empty() ? "mb" + std::to_string(getpid()) : options.prefix;
}

}  // namespace mqttd::bench
