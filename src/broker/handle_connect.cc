// CONNECT: who may come in, what becomes of an older connection and session of the same client.
// MQTT 3.1.1 §3.1, MQTT 3.1 §3.1.

#include "mqttd/topic.h"

#include "base/assert.h"
#include "base/peer_text.h"
#include "broker/core.h"

#include <cstdio>

namespace mqttd {

namespace {

constexpr uint32_t kAssignedIdMax = 96;

}  // namespace

Core::Taken Core::handle_connect(Link& link, const Input& input) {
    spend(limits::kConnectUnits);
    const Result<ConnectView> decoded = decode_connect(input.body(), input.frame.flags());
    if (!decoded && decoded.error() != Error::kUnsupportedVersion) {
        fail(link, decoded.error());
        return Taken::kYes;
    }
    link.version = decoded ? decoded->version : Version::k311;
    Error error = Error::kNone;
    if (link.state == LinkState::kRefused) {
        error = Error::kServerBusy;
    } else if (!decoded || is_v5(decoded->version)) {  // 5.0 is not spoken yet
        error = Error::kUnsupportedVersion;
    } else {
        error = admit(*decoded, listener_of(link));
    }
    if (error == Error::kNone) {
        error = let_in(link, *decoded, input);
        if (error != Error::kNone) ++stats_.refused_memory;
    }
    if (error != Error::kNone) refuse_connect(link, error);
    return Taken::kYes;
}

// The CONNECT is welcome: an older connection of the same client ends, its session is taken up or
// thrown away.  Error: kServerBusy if the arena refused.
Error Core::let_in(Link& link, const ConnectView& connect, const Input& input) {
    uint8_t assigned[kAssignedIdMax];
    Bytes client_id = connect.client_id;
    if (client_id.empty()) client_id = assign_client_id(assigned, listener_of(link).auto_id_prefix);
    Message* will = nullptr;
    if (!take_will(connect, input, will)) return Error::kServerBusy;
    Session* session = claim_session(client_id, connect.clean_start);
    const bool present = session != nullptr;
    if (!present) session = make_session(client_id, connect.clean_start);
    if (session == nullptr) {
        if (will != nullptr) messages_.drop(*will);
        return Error::kServerBusy;
    }
    MQTTD_ASSERT(!session->will);
    session->will = will;
    link.keep_alive_s = connect.keep_alive_s;
    link.bridge = connect.bridge;
    attach(link, *session);
    if (present) ++stats_.sessions_resumed;
    log_welcome(link, client_id, connect);
    uint8_t connack[8];
    const bool told = present && connect.version != Version::k31;  // 3.1: a reserved byte
    const uint32_t size = encode_connack(connack, connect.version, told, 0);
    if (answer_bytes(link, {connack, size}, PacketType::kConnack)) pump(*session);
    return Error::kNone;
}

// The client's session, freed from the link it may still have, or nullptr if there is none to go on
// with.   [MQTT-3.1.4-2], [MQTT-3.1.2-6]
Session* Core::claim_session(Bytes client_id, bool clean_start) {
    Session* session = find_session(client_id);
    if (session != nullptr && session->link) {
        ++stats_.sessions_taken_over;
        end_link(*session->link, Error::kSessionTakenOver, true);
        session = find_session(client_id);  // a clean one ended with its link
    }
    if (session != nullptr && clean_start) {
        ++stats_.sessions_discarded;
        end_session(*session);
        session = nullptr;
    }
    return session;
}

void Core::log_welcome(const Link& link, Bytes client_id, const ConnectView& connect) const {
    if (!options_.connection_messages) return;
    const bool named = connect.has_user_name;
    log_.write(LogKind::kNotice,
               "New client connected from %s as %s (p%u, c%u, k%u%s%s%s).",
               PeerText(transport_.peer(*link.outbox)).c_str(),
               Clean(client_id).c_str(),
               static_cast<unsigned>(connect.version),
               connect.clean_start ? 1u : 0u,
               unsigned{connect.keep_alive_s},
               named ? ", u'" : "",
               named ? Clean(connect.user_name).c_str() : "",
               named ? "'" : "");
}

// Whether this CONNECT may become a client.  The gate's place: until it is built, a client that
// gives no user name needs allow_anonymous, and one that does cannot be verified without it.
Error Core::admit(const ConnectView& connect, const ListenerOptions& listener) const {
    if (shutting_down_) return Error::kShuttingDown;
    if (arena_.pressure() >= Arena::Pressure::kConnections &&
        (connect.clean_start || find_session(connect.client_id) == nullptr)) {
        return Error::kServerBusy;
    }
    if (connect.client_id.size() > options_.max_clientid_len) return Error::kClientIdInvalid;
    if (connect.client_id.empty()) {
        const bool assignable = connect.version != Version::k31 && connect.clean_start &&
                                listener.allow_zero_length_clientid;
        if (!assignable) return Error::kClientIdInvalid;
    }
    if (options_.max_keepalive_s != 0 &&
        (connect.keep_alive_s == 0 || connect.keep_alive_s > options_.max_keepalive_s)) {
        return Error::kClientIdInvalid;  // as mosquitto answers it for 3.x
    }
    if (!listener.allow_anonymous) {
        return connect.has_user_name ? Error::kBadCredentials : Error::kNotAuthorized;
    }
    if (connect.has_will) {
        if (check_topic(connect.will.topic_name) != Error::kNone) return Error::kNotAuthorized;
        if (connect.will.retain && !options_.retain_available) return Error::kNotAuthorized;
    }
    if (options_.global_max_clients >= 0 &&
        stats_.sessions >= static_cast<uint64_t>(options_.global_max_clients) &&
        find_session(connect.client_id) == nullptr) {
        return Error::kServerBusy;
    }
    return Error::kNone;
}

// A storm of refusals must not become a storm of lines: some each second, then their number.
void Core::log_refusal(const Link& link, Error why) {
    constexpr uint32_t kLinesPerSecond = 10;
    if (!options_.connection_messages) return;
    if (now_ >= refusals_since_ + kSecond) {
        if (refusals_silent_ > 0) {
            log_.write(
                LogKind::kNotice, "%u more client connections were denied.", refusals_silent_);
        }
        refusals_since_ = now_;
        refusals_logged_ = refusals_silent_ = 0;
    }
    if (refusals_logged_ == kLinesPerSecond) {
        ++refusals_silent_;
        return;
    }
    ++refusals_logged_;
    log_.write(LogKind::kNotice,
               "Client connection from %s denied: %s.",
               PeerText(transport_.peer(*link.outbox)).c_str(),
               error_text(why));
}

void Core::refuse_connect(Link& link, Error why) {
    ++stats_.connects_refused;
    log_refusal(link, why);
    uint8_t connack[8];
    const uint8_t code = connack_code(why, link.version);
    const uint32_t size = encode_connack(connack, link.version, false, code);
    if (answer_bytes(link, {connack, size}, PacketType::kConnack)) end_link(link, why, false);
}

// Keeps the will as a message.  False if the arena refused.
bool Core::take_will(const ConnectView& connect, const Input& input, Message*& will) {
    if (!connect.has_will) return true;
    MessageParts parts;
    parts.topic = connect.will.topic_name;
    Segment* segment = input.range.segment;
    if (!connect.will.payload.empty()) {
        const auto begin = static_cast<uint32_t>(connect.will.payload.data() - segment->data());
        parts.tail = {segment, begin, begin + static_cast<uint32_t>(connect.will.payload.size())};
    }
    parts.qos = connect.will.qos;
    parts.retain = connect.will.retain;
    parts.version = connect.version;
    will = messages_.make(parts);
    return will != nullptr;
}

// The prefix and 32 digits that nobody can foresee: a keyed hash of a counter.
Bytes Core::assign_client_id(uint8_t* room, std::string_view prefix) {
    const uint64_t a = siphash(key_, ++assigned_ids_, 1);
    const uint64_t b = siphash(key_, assigned_ids_, 2);
    const int size = std::snprintf(reinterpret_cast<char*>(room),
                                   kAssignedIdMax,
                                   "%.*s%016llX%016llX",
                                   static_cast<int>(prefix.size()),
                                   prefix.data(),
                                   static_cast<unsigned long long>(a),
                                   static_cast<unsigned long long>(b));
    return {room, static_cast<size_t>(size)};
}

}  // namespace mqttd
