// CONNECT: who may come in, what becomes of an older connection and session of the same client.
// MQTT 3.1.1 §3.1, MQTT 3.1 §3.1.

#include "mqttd/topic.h"

#include "base/assert.h"
#include "base/mutant.h"
#include "base/peer_text.h"
#include "broker/append_run.h"
#include "broker/core.h"
#include "broker/recorder.h"
#include "mqtt/properties.h"

#include <algorithm>
#include <cstdio>

namespace mqttd {

namespace {

constexpr uint32_t kAssignedIdMax = 96;

// In which form a version we do not speak is told so: from level 6 on as 5.0 does, below as 3.1.1.
Version version_of_refusal(Bytes body) {
    constexpr std::string_view kName("\0\4MQTT", 6);
    const bool newer = body.size() > kName.size() && as_text(body).starts_with(kName) &&
                       body[kName.size()] > 5 && body[kName.size()] < 0x80;
    return newer ? Version::k50 : Version::k311;
}

// The longest packet that who sent this CONNECT takes.
uint32_t largest_of(const Result<ConnectView>& connect) {
    if (!connect) return limits::kLargestPacket;
    return property_number(
        connect->properties, Property::kMaximumPacketSize, limits::kLargestPacket);
}

}  // namespace

Core::Taken Core::handle_connect(Link& link, const Input& input) {
    if (restoring_ && link.state != LinkState::kRefused) {
        wait_in_list(link, parked_);
        return stop_before(link, StopReason::kParked);
    }
    spend(limits::kConnectUnits);
    const Result<ConnectView> decoded = decode_connect(input.body(), input.frame.flags());
    if (!decoded && decoded.error() != Error::kUnsupportedVersion) {
        // 5.0 can be told what was wrong with it.
        link.version = connect_version(input.body());
        if (is_v5(link.version)) {
            ++stats_.malformed;
            refuse_connect(link, decoded.error(), limits::kLargestPacket);
        } else {
            fail(link, decoded.error());
        }
        return Taken::kYes;
    }
    link.version = decoded ? decoded->version : version_of_refusal(input.body());
    Error error = Error::kNone;
    if (link.state == LinkState::kRefused) {
        error = Error::kServerBusy;
    } else if (!decoded) {
        error = Error::kUnsupportedVersion;
    } else {
        error = admit(*decoded, listener_of(link));
    }
    if (error == Error::kNone) {
        error = let_in(link, *decoded, input);
        if (error == Error::kServerBusy) ++stats_.refused_memory;
    }
    if (error != Error::kNone) refuse_connect(link, error, largest_of(decoded));
    return Taken::kYes;
}

// The CONNECT is welcome: an older connection of the same client ends, its session is taken up or
// thrown away.  Errors: kServerBusy if the arena refused, kPacketTooLarge if the client would not
// take its CONNACK.
Error Core::let_in(Link& link, const ConnectView& connect, const Input& input) {
    uint8_t room[kAssignedIdMax];
    const ListenerOptions& listener = listener_of(link);
    Bytes client_id = listener.use_username_as_clientid ? connect.user_name : connect.client_id;
    if (client_id.empty()) client_id = assign_client_id(room, listener.auto_id_prefix);
    const Bytes assigned = connect.client_id.empty() ? client_id : Bytes{};  // [MQTT5-3.2.2-16]
    const uint32_t longest = options_.max_keepalive_s;
    const bool cut = longest != 0 && (connect.keep_alive_s == 0 || connect.keep_alive_s > longest);
    link.keep_alive_s = cut ? static_cast<uint16_t>(longest) : connect.keep_alive_s;
    if (!take_extras(link, connect)) return Error::kServerBusy;
    if (!connack_fits(link, connect, assigned)) return Error::kPacketTooLarge;
    Message* will = nullptr;
    if (!take_will(link, connect, input, will)) return Error::kServerBusy;
    Session* session = claim_session(client_id, connect.clean_start);
    const bool present = session != nullptr;
    if (!present) session = make_session(client_id, session_expiry_of(connect));
    if (session == nullptr) {
        if (will != nullptr) messages_.drop(*will);
        return Error::kServerBusy;
    }
    if (!present) session->behind_job = is_publishing(*session);
    if (session->will) messages_.drop(*session->will);  // it came back in time  [MQTT5-3.1.3-9]
    session->will = will;
    session->will_delay_s = 0;
    if (will != nullptr) {
        session->will_delay_s =
            property_number(connect.will.properties, Property::kWillDelayInterval, 0);
    }
    set_expiry(*session, session_expiry_of(connect));
    link.bridge = connect.bridge;
    attach(link, *session);
    session->durable = session->durable || (recorder_ != nullptr && session->expiry_s != 0);
    if (session->durable) recorder_->session(*session);
    if (present) ++stats_.sessions_resumed;
    log_welcome(link, client_id, connect);
    const bool told = present && !MQTTD_MUTANT(20);  // Session Present is never said
    if (welcome(link, connect, assigned, told)) pump(*session);
    return Error::kNone;
}

// How long a session stays that wants to stay so long.
uint32_t Core::capped_expiry(uint32_t wanted) const {
    const uint64_t most = options_.persistent_client_expiration_s;
    return most != 0 && wanted != kNoExpiry && wanted > most ? static_cast<uint32_t>(most) : wanted;
}

uint32_t Core::session_expiry_of(const ConnectView& connect) const {
    if (!is_v5(connect.version)) return connect.clean_start ? 0 : kNoExpiry;
    return capped_expiry(property_number(connect.properties, Property::kSessionExpiryInterval, 0));
}

// What a 5.0 CONNECT asks for that most do not.  False if the arena refused.
bool Core::take_extras(Link& link, const ConnectView& connect) {
    const ListenerOptions& listener = listener_of(link);
    const bool mounted = !listener.mount_point.empty();
    if (connect.properties.empty() && !mounted) return true;
    const auto number = [&](Property id, uint32_t absent) {
        return property_number(connect.properties, id, absent);
    };
    const uint32_t packet_size = number(Property::kMaximumPacketSize, ~uint32_t{0});
    const uint32_t receive_maximum = number(Property::kReceiveMaximum, InflightWindow::kIds);
    const uint32_t aliases = std::min<uint32_t>(number(Property::kTopicAliasMaximum, 0),
                                                listener.max_topic_alias_broker);
    const bool bounded = packet_size < limits::kLargestPacket;
    if (!bounded && receive_maximum == InflightWindow::kIds && aliases == 0 && !mounted) {
        return true;
    }
    LinkExtras* extras = ensure_extras(link);
    if (extras == nullptr) return false;
    if (bounded) extras->max_packet_size = packet_size;
    extras->receive_maximum = static_cast<uint16_t>(receive_maximum);
    extras->mounted = mounted;
    if (aliases == 0) return true;
    OutboundAliases* outbound = OutboundAliases::make(arena_, static_cast<uint16_t>(aliases));
    extras->outbound = outbound;
    return outbound != nullptr;
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
    // Its timer may be due in this very turn.
    const bool late = !MQTTD_MUTANT(46);  // one whose time has come is taken up
    if (session != nullptr && late && !outlives(*session)) session = nullptr;
    if (session != nullptr && clean_start && !MQTTD_MUTANT(21)) {  // a clean start keeps it
        ++stats_.sessions_discarded;
        end_session(*session);
        session = nullptr;
    }
    return session;
}

void Core::log_welcome(const Link& link, Bytes client_id, const ConnectView& connect) const {
    if (!options_.connection_messages || !log_.wants(LogKind::kNotice)) return;
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
    const bool spoken = (listener.versions >> static_cast<unsigned>(connect.version) & 1) != 0;
    if (!spoken) return Error::kUnsupportedVersion;
    if (connect.property_set.has(Property::kAuthenticationMethod)) {
        return Error::kBadAuthenticationMethod;  // no method has been built yet
    }
    const Bytes client_id =
        listener.use_username_as_clientid ? connect.user_name : connect.client_id;
    if (listener.use_username_as_clientid && client_id.empty()) return Error::kBadCredentials;
    if (client_id.size() > options_.max_clientid_len) return Error::kClientIdInvalid;
    if (!client_id.empty() && !as_text(client_id).starts_with(options_.clientid_prefixes)) {
        return Error::kNotAuthorized;
    }
    if (client_id.empty()) {
        const bool clean = connect.clean_start || is_v5(connect.version);
        const bool assignable =
            connect.version != Version::k31 && clean && listener.allow_zero_length_clientid;
        if (!assignable) return Error::kClientIdInvalid;
    }
    if (arena_.pressure() >= Arena::Pressure::kConnections &&
        (connect.clean_start || find_session(client_id) == nullptr)) {
        return Error::kServerBusy;
    }
    if (options_.max_keepalive_s != 0 && !is_v5(connect.version) &&
        (connect.keep_alive_s == 0 || connect.keep_alive_s > options_.max_keepalive_s)) {
        return Error::kClientIdInvalid;  // as mosquitto answers it for 3.x
    }
    if (!listener.allow_anonymous) {
        return connect.has_user_name ? Error::kBadCredentials : Error::kNotAuthorized;
    }
    if (connect.has_will) {
        const Error error = admit_will(connect.will, listener);
        if (error != Error::kNone) return is_v5(connect.version) ? error : Error::kNotAuthorized;
    }
    if (options_.global_max_clients >= 0 &&
        stats_.sessions >= static_cast<uint64_t>(options_.global_max_clients) &&
        find_session(client_id) == nullptr) {
        return Error::kServerBusy;
    }
    return Error::kNone;
}

Error Core::admit_will(const WillView& will, const ListenerOptions& listener) const {
    if (check_topic(will.topic_name, listener.mount_point) != Error::kNone) {
        return Error::kTopicNameInvalid;
    }
    const uint32_t limit = options_.message_size_limit;
    if (limit != 0 && will.payload.size() > limit) return Error::kPacketTooLarge;
    if (will.retain && !options_.retain_available) return Error::kRetainNotSupported;
    return will.qos > listener.max_qos ? Error::kQosNotSupported : Error::kNone;
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

// `largest`: bytes of a packet that the client takes.   [MQTT5-3.2.2-19]
void Core::refuse_connect(Link& link, Error why, uint32_t largest) {
    ++stats_.connects_refused;
    log_refusal(link, why);
    const uint8_t code = connack_code(why, link.version);
    if (code == 0xff) {  // this version has no word for it
        end_link(link, why, false);
        return;
    }
    uint8_t property[64];
    const Bytes text = as_bytes(error_text(why));
    Bytes properties;
    if (is_v5(link.version) && property_size(Property::kReasonString, text) <= sizeof property) {
        properties = {property, encode_property(property, Property::kReasonString, text)};
    }
    if (connack_size(link.version, properties) > largest) properties = {};
    const bool told = connack_size(link.version, properties) <= largest;
    if (!told || send_connack(link, false, code, properties)) end_link(link, why, false);
}

// Keeps the will as a message.  False if the arena refused.
bool Core::take_will(const Link& link,
                     const ConnectView& connect,
                     const Input& input,
                     Message*& will) {
    if (!connect.has_will) return true;
    const WillView& view = connect.will;
    const Text topic = mounted(link, view.topic_name);
    const Text properties = passed_on(view.property_set, view.properties);
    MessageParts parts;
    parts.topic = topic.bytes;
    parts.properties = properties.bytes;
    parts.payload = range_in(input.range.segment, view.payload);
    if (view.property_set.has(Property::kMessageExpiryInterval)) {
        parts.expires_s = property_number(view.properties, Property::kMessageExpiryInterval, 0);
    }
    parts.qos = view.qos;
    parts.retain = view.retain;
    if (!topic.refused && !properties.refused) will = messages_.make(parts);
    let_go(topic);
    let_go(properties);
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
