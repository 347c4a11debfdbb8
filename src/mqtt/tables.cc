#include "mqtt/tables.h"

#include <array>

namespace mqttd {
namespace {

using enum PacketType;
using enum Property;
using enum PropertyType;

template <class... Types>
constexpr PacketMask in(Types... types) {
    return static_cast<PacketMask>((0u | ... | packet_bit(types)));
}

// --- packets -----------------------------------------------------------------------------------

constexpr uint8_t kDup = 0x08;
constexpr Bounds kNever = {1, 0};

constexpr Bounds exactly(uint32_t size) {
    return {size, size};
}

constexpr Bounds from(uint32_t size) {
    return {size, kVarintMax};
}

// MQTT 5.0 §2.1.2, §2.1.3.  In 3.1 SUBSCRIBE, UNSUBSCRIBE and PUBREL are messages of QoS 1, which a
// sender may repeat with DUP.
constexpr PacketRow kPackets[] = {
    {kReserved,    "reserved",    0, 0,    false, false, kNever,     kNever    },
    {kConnect,     "CONNECT",     0, 0,    true,  false, from(10),   from(11)  },
    {kConnack,     "CONNACK",     0, 0,    false, true,  exactly(2), from(3)   },
    {kPublish,     "PUBLISH",     0, 0,    true,  true,  from(2),    from(3)   },
    {kPuback,      "PUBACK",      0, 0,    true,  true,  exactly(2), from(2)   },
    {kPubrec,      "PUBREC",      0, 0,    true,  true,  exactly(2), from(2)   },
    {kPubrel,      "PUBREL",      2, kDup, true,  true,  exactly(2), from(2)   },
    {kPubcomp,     "PUBCOMP",     0, 0,    true,  true,  exactly(2), from(2)   },
    {kSubscribe,   "SUBSCRIBE",   2, kDup, true,  false, from(2),    from(3)   },
    {kSuback,      "SUBACK",      0, 0,    false, true,  from(2),    from(3)   },
    {kUnsubscribe, "UNSUBSCRIBE", 2, kDup, true,  false, from(2),    from(3)   },
    {kUnsuback,    "UNSUBACK",    0, 0,    false, true,  exactly(2), from(3)   },
    {kPingreq,     "PINGREQ",     0, 0,    true,  false, exactly(0), exactly(0)},
    {kPingresp,    "PINGRESP",    0, 0,    false, true,  exactly(0), exactly(0)},
    {kDisconnect,  "DISCONNECT",  0, 0,    true,  true,  exactly(0), from(0)   },
    {kAuth,        "AUTH",        0, 0,    true,  true,  kNever,     from(0)   },
};

constexpr bool packets_in_order() {
    for (size_t i = 0; i < std::size(kPackets); ++i) {
        if (static_cast<size_t>(kPackets[i].type) != i) return false;
    }
    return true;
}

static_assert(std::size(kPackets) == 16 && packets_in_order(), "found by index");

static_assert(publish_flags_valid(0b0001) && publish_flags_valid(0b1100));
static_assert(!publish_flags_valid(0b1000) && !publish_flags_valid(0b0110));

// --- properties --------------------------------------------------------------------------------

constexpr Bounds kBool = {0, 1};
constexpr Bounds kTwo = {0, 0xffff};
constexpr Bounds kTwoNotZero = {1, 0xffff};
constexpr Bounds kFour = {0, 0xffff'ffff};
constexpr Bounds kFourNotZero = {1, 0xffff'ffff};

constexpr PacketMask kEverywhere = in(kWillProperties,
                                      kConnect,
                                      kConnack,
                                      kPublish,
                                      kPuback,
                                      kPubrec,
                                      kPubrel,
                                      kPubcomp,
                                      kSubscribe,
                                      kSuback,
                                      kUnsubscribe,
                                      kUnsuback,
                                      kDisconnect,
                                      kAuth);
constexpr PacketMask kMessage = in(kPublish, kWillProperties);
constexpr PacketMask kAnswers =
    in(kConnack, kPuback, kPubrec, kPubrel, kPubcomp, kSuback, kUnsuback, kDisconnect, kAuth);
constexpr PacketMask kIdentified = in(kPublish, kSubscribe);
constexpr PacketMask kWillOnly = in(kWillProperties);
constexpr PacketMask kAsking = in(kConnect);
constexpr PacketMask kOffer = in(kConnack);
constexpr PacketMask kRedirect = in(kConnack, kDisconnect);
constexpr PacketMask kDelivery = in(kPublish);
constexpr PacketMask kOpening = in(kConnect, kConnack);
constexpr PacketMask kExpiry = in(kConnect, kConnack, kDisconnect);
constexpr PacketMask kLogin = in(kConnect, kConnack, kAuth);
constexpr PacketMask kOnce = 0;

// MQTT 5.0 §2.2.2.2.  A Topic Alias of 0 has its own reason code and is left to who knows the
// maximum.
constexpr PropertyRow kProperties[] = {
    {kPayloadFormatIndicator,          kByte,     kMessage,    kOnce,       kBool       },
    {kMessageExpiryInterval,           kFourByte, kMessage,    kOnce,       kFour       },
    {kContentType,                     kText,     kMessage,    kOnce,       kTwo        },
    {kResponseTopic,                   kText,     kMessage,    kOnce,       kTwoNotZero },
    {kCorrelationData,                 kBinary,   kMessage,    kOnce,       kTwo        },
    {kSubscriptionIdentifier,          kVarint,   kIdentified, kDelivery,   from(1)     },
    {kSessionExpiryInterval,           kFourByte, kExpiry,     kOnce,       kFour       },
    {kAssignedClientIdentifier,        kText,     kOffer,      kOnce,       kTwo        },
    {kServerKeepAlive,                 kTwoByte,  kOffer,      kOnce,       kTwo        },
    {kAuthenticationMethod,            kText,     kLogin,      kOnce,       kTwo        },
    {kAuthenticationData,              kBinary,   kLogin,      kOnce,       kTwo        },
    {kRequestProblemInformation,       kByte,     kAsking,     kOnce,       kBool       },
    {kWillDelayInterval,               kFourByte, kWillOnly,   kOnce,       kFour       },
    {kRequestResponseInformation,      kByte,     kAsking,     kOnce,       kBool       },
    {kResponseInformation,             kText,     kOffer,      kOnce,       kTwo        },
    {kServerReference,                 kText,     kRedirect,   kOnce,       kTwo        },
    {kReasonString,                    kText,     kAnswers,    kOnce,       kTwo        },
    {kReceiveMaximum,                  kTwoByte,  kOpening,    kOnce,       kTwoNotZero },
    {kTopicAliasMaximum,               kTwoByte,  kOpening,    kOnce,       kTwo        },
    {kTopicAlias,                      kTwoByte,  kDelivery,   kOnce,       kTwo        },
    {kMaximumQos,                      kByte,     kOffer,      kOnce,       kBool       },
    {kRetainAvailable,                 kByte,     kOffer,      kOnce,       kBool       },
    {kUserProperty,                    kPair,     kEverywhere, kEverywhere, kTwo        },
    {kMaximumPacketSize,               kFourByte, kOpening,    kOnce,       kFourNotZero},
    {kWildcardSubscriptionAvailable,   kByte,     kOffer,      kOnce,       kBool       },
    {kSubscriptionIdentifierAvailable, kByte,     kOffer,      kOnce,       kBool       },
    {kSharedSubscriptionAvailable,     kByte,     kOffer,      kOnce,       kBool       },
};

constexpr uint32_t kPropertyIdMax = 0x2a;

constexpr bool properties_in_order() {
    for (size_t i = 1; i < std::size(kProperties); ++i) {
        if (kProperties[i - 1].id >= kProperties[i].id) return false;
    }
    return static_cast<uint32_t>(kProperties[std::size(kProperties) - 1].id) == kPropertyIdMax;
}

static_assert(std::size(kProperties) == 27, "MQTT 5.0 knows 27 properties");
static_assert(properties_in_order());
static_assert(kPropertyIdMax < 64, "PropertySet has a bit for each, and identifiers are one byte");

// Identifier → index in kProperties + 1; 0: no such property.
constexpr auto kPropertyIndex = [] {
    std::array<uint8_t, kPropertyIdMax + 1> index{};
    for (size_t i = 0; i < std::size(kProperties); ++i) {
        index[static_cast<size_t>(kProperties[i].id)] = static_cast<uint8_t>(i + 1);
    }
    return index;
}();

// --- reason codes ------------------------------------------------------------------------------

constexpr PacketMask kPubacks = in(kPuback, kPubrec);
constexpr PacketMask kSubacks = in(kSuback, kUnsuback);
constexpr PacketMask kReleases = in(kPubrel, kPubcomp);
constexpr PacketMask kRefusal = in(kConnack);
constexpr PacketMask kFarewell = in(kDisconnect);
constexpr PacketMask kClosing = kRefusal | kFarewell;
constexpr PacketMask kAnyFailure = kClosing | kPubacks | kSubacks;
constexpr PacketMask kNameFailure = kClosing | kPubacks;
constexpr PacketMask kFilterFailure = kFarewell | kSubacks;
constexpr PacketMask kIdInUse = kPubacks | kSubacks;
constexpr PacketMask kQuota = kClosing | kPubacks | in(kSuback);
constexpr PacketMask kUnsupported = in(kSuback, kDisconnect);

// MQTT 5.0 §2.4.
constexpr ReasonRow kReasons[] = {
    {kReasonSuccess,                     "success",                                kAnswers      },
    {kReasonGrantedQos1,                 "granted QoS 1",                          in(kSuback)   },
    {kReasonGrantedQos2,                 "granted QoS 2",                          in(kSuback)   },
    {kReasonDisconnectWithWill,          "disconnect with will",                   kFarewell     },
    {kReasonNoMatchingSubscribers,       "no matching subscribers",                kPubacks      },
    {kReasonNoSubscriptionExisted,       "no subscription existed",                in(kUnsuback) },
    {kReasonContinueAuthentication,      "continue authentication",                in(kAuth)     },
    {kReasonReauthenticate,              "re-authenticate",                        in(kAuth)     },
    {kReasonUnspecifiedError,            "unspecified error",                      kAnyFailure   },
    {kReasonMalformedPacket,             "malformed packet",                       kClosing      },
    {kReasonProtocolError,               "protocol error",                         kClosing      },
    {kReasonImplementationSpecific,      "implementation specific",                kAnyFailure   },
    {kReasonUnsupportedVersion,          "unsupported protocol version",           kRefusal      },
    {kReasonClientIdInvalid,             "client identifier not valid",            kRefusal      },
    {kReasonBadCredentials,              "bad user name or password",              kRefusal      },
    {kReasonNotAuthorized,               "not authorized",                         kAnyFailure   },
    {kReasonServerUnavailable,           "server unavailable",                     kRefusal      },
    {kReasonServerBusy,                  "server busy",                            kClosing      },
    {kReasonBanned,                      "banned",                                 kRefusal      },
    {kReasonServerShuttingDown,          "server shutting down",                   kFarewell     },
    {kReasonBadAuthenticationMethod,     "bad authentication method",              kClosing      },
    {kReasonKeepAliveTimeout,            "keep alive timeout",                     kFarewell     },
    {kReasonSessionTakenOver,            "session taken over",                     kFarewell     },
    {kReasonTopicFilterInvalid,          "topic filter invalid",                   kFilterFailure},
    {kReasonTopicNameInvalid,            "topic name invalid",                     kNameFailure  },
    {kReasonPacketIdInUse,               "packet identifier in use",               kIdInUse      },
    {kReasonPacketIdNotFound,            "packet identifier not found",            kReleases     },
    {kReasonReceiveMaximumExceeded,      "receive maximum exceeded",               kFarewell     },
    {kReasonTopicAliasInvalid,           "topic alias invalid",                    kFarewell     },
    {kReasonPacketTooLarge,              "packet too large",                       kClosing      },
    {kReasonMessageRateTooHigh,          "message rate too high",                  kFarewell     },
    {kReasonQuotaExceeded,               "quota exceeded",                         kQuota        },
    {kReasonAdministrativeAction,        "administrative action",                  kFarewell     },
    {kReasonPayloadFormatInvalid,        "payload format invalid",                 kNameFailure  },
    {kReasonRetainNotSupported,          "retain not supported",                   kClosing      },
    {kReasonQosNotSupported,             "QoS not supported",                      kClosing      },
    {kReasonUseAnotherServer,            "use another server",                     kClosing      },
    {kReasonServerMoved,                 "server moved",                           kClosing      },
    {kReasonSharedNotSupported,          "shared subscriptions not supported",     kUnsupported  },
    {kReasonConnectionRateExceeded,      "connection rate exceeded",               kClosing      },
    {kReasonMaximumConnectTime,          "maximum connect time",                   kFarewell     },
    {kReasonSubscriptionIdsNotSupported, "subscription identifiers not supported", kUnsupported  },
    {kReasonWildcardsNotSupported,       "wildcard subscriptions not supported",   kUnsupported  },
};

constexpr bool reasons_in_order() {
    for (size_t i = 1; i < std::size(kReasons); ++i) {
        if (kReasons[i - 1].code >= kReasons[i].code) return false;
    }
    return true;
}

static_assert(std::size(kReasons) == 43, "MQTT 5.0 knows 43 reason codes");
static_assert(reasons_in_order());

// Code → packets that may carry it.
constexpr auto kReasonPackets = [] {
    std::array<PacketMask, 256> packets{};
    for (const ReasonRow& row : kReasons) {
        packets[row.code] = row.packets;
    }
    return packets;
}();

constexpr bool carries(PacketType type, uint8_t code) {
    return (kReasonPackets[code] & packet_bit(type)) != 0;
}

// --- errors ------------------------------------------------------------------------------------

constexpr uint8_t kMute = 0xff;  // no way to say it: just close

struct ErrorRow {
    Error error;
    uint8_t connack_v3;  // 1 version, 2 identifier, 3 unavailable, 4 credentials, 5 not authorized
    uint8_t connack_v5;
    uint8_t disconnect;
};

using E = Error;

// What the machine refuses is "unavailable" or "busy" to a peer; what closed the connection is
// told to nobody.
constexpr ErrorRow kErrors[] = {
    {E::kNone,                        0,     kReasonSuccess,                 kReasonSuccess                    },
    {E::kMalformedPacket,             kMute, kReasonMalformedPacket,         kReasonMalformedPacket            },
    {E::kProtocolError,               kMute, kReasonProtocolError,           kReasonProtocolError              },
    {E::kPacketTooLarge,              kMute, kReasonPacketTooLarge,          kReasonPacketTooLarge             },
    {E::kUnsupportedVersion,          1,     kReasonUnsupportedVersion,      kMute                             },
    {E::kClientIdInvalid,             2,     kReasonClientIdInvalid,         kMute                             },
    {E::kTopicNameInvalid,            kMute, kReasonTopicNameInvalid,        kReasonTopicNameInvalid           },
    {E::kTopicFilterInvalid,          kMute, kMute,                          kReasonTopicFilterInvalid         },
    {E::kPacketIdInvalid,             kMute, kMute,                          kReasonProtocolError              },
    {E::kBadCredentials,              4,     kReasonBadCredentials,          kReasonNotAuthorized              },
    {E::kNotAuthorized,               5,     kReasonNotAuthorized,           kReasonNotAuthorized              },
    {E::kQuotaExceeded,               3,     kReasonQuotaExceeded,           kReasonQuotaExceeded              },
    {E::kReceiveMaximumExceeded,      kMute, kMute,                          kReasonReceiveMaximumExceeded     },
    {E::kRetainNotSupported,          kMute, kReasonRetainNotSupported,      kReasonRetainNotSupported         },
    {E::kQosNotSupported,             kMute, kReasonQosNotSupported,         kReasonQosNotSupported            },
    {E::kTopicAliasInvalid,           kMute, kMute,                          kReasonTopicAliasInvalid          },
    {E::kBadAuthenticationMethod,     kMute, kReasonBadAuthenticationMethod, kMute                             },
    {E::kSharedNotSupported,          kMute, kMute,                          kReasonSharedNotSupported         },
    {E::kWildcardsNotSupported,       kMute, kMute,                          kReasonWildcardsNotSupported      },
    {E::kSubscriptionIdsNotSupported, kMute, kMute,                          kReasonSubscriptionIdsNotSupported},
    {E::kKeepAliveTimeout,            kMute, kMute,                          kReasonKeepAliveTimeout           },
    {E::kConnectTimeout,              kMute, kMute,                          kMute                             },
    {E::kSessionTakenOver,            kMute, kMute,                          kReasonSessionTakenOver           },
    {E::kServerBusy,                  3,     kReasonServerBusy,              kReasonServerBusy                 },
    {E::kShuttingDown,                3,     kReasonServerUnavailable,       kReasonServerShuttingDown         },
    {E::kAdministrative,              3,     kReasonServerUnavailable,       kReasonAdministrativeAction       },
    {E::kNoMemory,                    3,     kReasonServerBusy,              kReasonServerBusy                 },
    {E::kWouldBlock,                  kMute, kMute,                          kMute                             },
    {E::kEndOfFile,                   kMute, kMute,                          kMute                             },
    {E::kReset,                       kMute, kMute,                          kMute                             },
    {E::kTimedOut,                    kMute, kMute,                          kMute                             },
    {E::kProcessFiles,                3,     kReasonServerBusy,              kReasonServerBusy                 },
    {E::kSystemFiles,                 3,     kReasonServerBusy,              kReasonServerBusy                 },
    {E::kAddressInUse,                3,     kReasonServerUnavailable,       kReasonUnspecifiedError           },
    {E::kNotFound,                    3,     kReasonServerUnavailable,       kReasonUnspecifiedError           },
    {E::kExists,                      3,     kReasonServerUnavailable,       kReasonUnspecifiedError           },
    {E::kNoSpace,                     3,     kReasonServerUnavailable,       kReasonUnspecifiedError           },
    {E::kPermission,                  3,     kReasonServerUnavailable,       kReasonUnspecifiedError           },
    {E::kInvalid,                     3,     kReasonServerUnavailable,       kReasonUnspecifiedError           },
    {E::kIo,                          3,     kReasonServerUnavailable,       kReasonUnspecifiedError           },
};

constexpr bool errors_in_order() {
    for (size_t i = 0; i < std::size(kErrors); ++i) {
        if (static_cast<size_t>(kErrors[i].error) != i) return false;
    }
    return true;
}

constexpr bool error_codes_legal() {
    for (const ErrorRow& row : kErrors) {
        if (row.connack_v3 > 5 && row.connack_v3 != kMute) return false;
        if (row.connack_v5 != kMute && !carries(kConnack, row.connack_v5)) return false;
        if (row.disconnect != kMute && !carries(kDisconnect, row.disconnect)) return false;
    }
    return true;
}

static_assert(std::size(kErrors) == static_cast<size_t>(Error::kCount), "every Error has a row");
static_assert(errors_in_order(), "found by index");
static_assert(error_codes_legal(), "[MQTT5-3.2.2-8], [MQTT5-3.14.2-1]");

}  // namespace

const PacketRow& packet_row(PacketType type) {
    return kPackets[static_cast<size_t>(type) & 0x0f];
}

bool packet_shape_valid(PacketType type, uint8_t flags, size_t body_size, Version version) {
    const PacketRow& row = packet_row(type);
    const Bounds body = is_v5(version) ? row.body_v5 : row.body_v3;
    if (body_size < body.min || body_size > body.max) return false;
    if (type == kPublish) return publish_flags_valid(flags);
    const uint8_t loose = version == Version::k31 ? row.flags_loose_v31 : 0;
    return (flags & ~loose) == row.flags;
}

std::span<const PropertyRow> property_rows() {
    return kProperties;
}

const PropertyRow* property_row(uint32_t id) {
    if (id > kPropertyIdMax || kPropertyIndex[id] == 0) return nullptr;
    return &kProperties[kPropertyIndex[id] - 1];
}

std::span<const ReasonRow> reason_rows() {
    return kReasons;
}

bool reason_valid(PacketType type, uint8_t code) {
    return carries(type, code);
}

const char* reason_name(uint8_t code) {
    for (const ReasonRow& row : kReasons) {
        if (row.code == code) return row.name;
    }
    return "unknown reason";
}

uint8_t connack_code(Error error, Version version) {
    const auto index = static_cast<size_t>(error);
    if (index >= std::size(kErrors)) return kMute;
    return is_v5(version) ? kErrors[index].connack_v5 : kErrors[index].connack_v3;
}

uint8_t disconnect_code(Error error) {
    const auto index = static_cast<size_t>(error);
    return index < std::size(kErrors) ? kErrors[index].disconnect : kMute;
}

}  // namespace mqttd
