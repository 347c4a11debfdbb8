#pragma once

// Error and Result<T>: how a function says that something outside our control went wrong.
//
// What a peer, a file or an operator can cause is an Error; what only we can cause is an assertion
// (base/assert.h). An Error is one byte: it names what happened and maps by table to the reason
// code of the protocol version at hand (mqtt/tables.h). Result<T> holds a T or an Error; it never
// allocates and must be looked at ([[nodiscard]]).

#include <cstdint>
#include <utility>

namespace mqttd {

enum class Error : uint8_t {
    kNone,
    // What a peer may do wrong; each one closes only its sender.
    kMalformedPacket,          // reserved bits, lengths that disagree, bad UTF-8
    kProtocolError,            // well formed, but not allowed here
    kPacketTooLarge,           // Remaining Length above max_packet_size
    kUnsupportedVersion,       // protocol name or level that is not spoken here
    kClientIdInvalid,          // empty where not allowed, or longer than max_clientid_len
    kTopicNameInvalid,         // wildcards, too long, too many levels
    kTopicFilterInvalid,       // wildcard in the wrong place, too long, too many levels
    kPacketIdInvalid,          // packet identifier 0
    kBadCredentials,           // wrong user name or password
    kNotAuthorized,            // a rule says no
    kQuotaExceeded,            // a limit with a key says no
    kReceiveMaximumExceeded,   // more unacknowledged PUBLISH packets than agreed
    kRetainNotSupported,       // retain_available false
    kQosNotSupported,          // above max_qos
    kTopicAliasInvalid,        // 0, or above what we allow
    kBadAuthenticationMethod,  // no such method here
    kSharedNotSupported,       // shared_subscription_available false
    kWildcardsNotSupported,    // wildcard_subscription_available false
    kSubscriptionIdsNotSupported,
    kKeepAliveTimeout,  // silent for 1.5 times the keep-alive
    kConnectTimeout,    // no CONNECT within connect_timeout
    kSessionTakenOver,  // another connection came with the same client identifier
    kServerBusy,        // a cap on connections, sessions or memory
    kShuttingDown,      // the server stops
    kAdministrative,    // an operator closed the link
    // What the machine may answer.
    kNoMemory,      // the arena refused
    kWouldBlock,    // EAGAIN
    kEndOfFile,     // the peer closed its side
    kReset,         // the connection broke
    kTimedOut,      // the peer is not there any more
    kProcessFiles,  // EMFILE
    kSystemFiles,   // ENFILE, ENOBUFS, ENOMEM
    kAddressInUse,
    kNotFound,
    kExists,   // EEXIST
    kNoSpace,  // ENOSPC, EDQUOT
    kPermission,
    kInvalid,  // EINVAL and the like
    kIo,       // anything else
    kCount,
};

// The name of `error` for log lines, e.g. "malformed packet".  Static storage.
const char* error_text(Error error);

template <class T>
class [[nodiscard]] Result {
  public:
    Result(T value) : value_(std::move(value)) {}

    Result(Error error) : error_(error) {}

    bool ok() const { return error_ == Error::kNone; }

    explicit operator bool() const { return ok(); }

    Error error() const { return error_; }

    T& operator*() { return value_; }

    const T& operator*() const { return value_; }

    T* operator->() { return &value_; }

    const T* operator->() const { return &value_; }

  private:
    T value_{};
    Error error_ = Error::kNone;
};

}  // namespace mqttd
