#include "mqttd/result.h"

#include <cstddef>

namespace mqttd {
namespace {

struct Row {
    Error error;
    const char* text;
};

constexpr Row kRows[] = {
    {Error::kNone,                        "no error"                              },
    {Error::kMalformedPacket,             "malformed packet"                      },
    {Error::kProtocolError,               "protocol error"                        },
    {Error::kPacketTooLarge,              "packet too large"                      },
    {Error::kUnsupportedVersion,          "unsupported version"                   },
    {Error::kClientIdInvalid,             "client id invalid"                     },
    {Error::kTopicNameInvalid,            "topic name invalid"                    },
    {Error::kTopicFilterInvalid,          "topic filter invalid"                  },
    {Error::kPacketIdInvalid,             "packet id invalid"                     },
    {Error::kBadCredentials,              "bad credentials"                       },
    {Error::kNotAuthorized,               "not authorized"                        },
    {Error::kQuotaExceeded,               "quota exceeded"                        },
    {Error::kReceiveMaximumExceeded,      "receive maximum exceeded"              },
    {Error::kRetainNotSupported,          "retain not supported"                  },
    {Error::kQosNotSupported,             "QoS not supported"                     },
    {Error::kTopicAliasInvalid,           "topic alias invalid"                   },
    {Error::kBadAuthenticationMethod,     "bad authentication method"             },
    {Error::kSharedNotSupported,          "shared subscriptions not supported"    },
    {Error::kWildcardsNotSupported,       "wildcards not supported"               },
    {Error::kSubscriptionIdsNotSupported, "subscription identifiers not supported"},
    {Error::kKeepAliveTimeout,            "keep-alive timeout"                    },
    {Error::kConnectTimeout,              "connect timeout"                       },
    {Error::kSessionTakenOver,            "session taken over"                    },
    {Error::kServerBusy,                  "server busy"                           },
    {Error::kShuttingDown,                "shutting down"                         },
    {Error::kAdministrative,              "administrative action"                 },
    {Error::kNoMemory,                    "no memory"                             },
    {Error::kWouldBlock,                  "would block"                           },
    {Error::kEndOfFile,                   "closed by peer"                        },
    {Error::kReset,                       "connection reset"                      },
    {Error::kTimedOut,                    "connection timed out"                  },
    {Error::kProcessFiles,                "too many open files"                   },
    {Error::kSystemFiles,                 "system out of files"                   },
    {Error::kAddressInUse,                "address in use"                        },
    {Error::kNotFound,                    "not found"                             },
    {Error::kExists,                      "exists already"                        },
    {Error::kNoSpace,                     "no space left on the device"           },
    {Error::kPermission,                  "permission denied"                     },
    {Error::kInvalid,                     "invalid argument"                      },
    {Error::kIo,                          "input/output error"                    },
};

constexpr size_t kRowCount = sizeof(kRows) / sizeof(kRows[0]);

constexpr bool rows_in_order() {
    for (size_t i = 0; i < kRowCount; ++i) {
        if (static_cast<size_t>(kRows[i].error) != i) return false;
    }
    return true;
}

static_assert(kRowCount == static_cast<size_t>(Error::kCount), "every Error has a text");
static_assert(rows_in_order(), "rows stand in the order of the enumeration");

}  // namespace

const char* error_text(Error error) {
    const auto index = static_cast<size_t>(error);
    return index < kRowCount ? kRows[index].text : "unknown error";
}

}  // namespace mqttd
