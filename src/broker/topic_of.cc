// Which topic a packet is about, and which of its properties are passed on.

#include "base/assert.h"
#include "broker/core.h"
#include "mqtt/properties.h"

namespace mqttd {

namespace {

// What concerns one hop only, or is kept apart: cut out before a message is passed on.
constexpr uint64_t kNotPassedOn = PropertySet::bit(Property::kTopicAlias) |
                                  PropertySet::bit(Property::kMessageExpiryInterval) |
                                  PropertySet::bit(Property::kSubscriptionIdentifier) |
                                  PropertySet::bit(Property::kWillDelayInterval);

// Bytes of `$share/group/` in front of a filter, 0 if it is not shared.
size_t shared_prefix(Bytes name) {
    if (!is_shared(name)) return 0;
    const Result<SharedFilter> shared = parse_shared(name);
    return shared ? static_cast<size_t>(shared->filter.data() - name.data()) : 0;
}

}  // namespace

// The topic name of a PUBLISH; notes what its alias stands for.  Errors: kTopicAliasInvalid,
// kProtocolError (an alias that stands for nothing), kNoMemory.   [MQTT5-3.3.2-8…-12]
Result<Bytes> Core::resolve_alias(Link& link, const PublishView& publish) {
    if (!publish.property_set.has(Property::kTopicAlias)) return publish.topic_name;
    const uint32_t alias = property_number(publish.properties, Property::kTopicAlias, 0);
    InboundAliases* inbound = link.extras ? link.extras->inbound.get() : nullptr;
    const uint32_t most = inbound != nullptr ? inbound->room() : listener_of(link).max_topic_alias;
    if (alias == 0 || alias > most) return Error::kTopicAliasInvalid;
    if (publish.topic_name.empty()) {
        const Bytes topic =
            inbound != nullptr ? inbound->find(static_cast<uint16_t>(alias)) : Bytes{};
        if (topic.empty()) return Error::kProtocolError;
        return topic;
    }
    if (inbound == nullptr) {
        LinkExtras* extras = ensure_extras(link);
        if (extras == nullptr) return Error::kNoMemory;
        inbound = InboundAliases::make(arena_, static_cast<uint16_t>(most));
        if (inbound == nullptr) return Error::kNoMemory;
        extras->inbound = inbound;
    }
    if (!inbound->set(arena_, static_cast<uint16_t>(alias), publish.topic_name)) {
        return Error::kNoMemory;
    }
    return publish.topic_name;
}

LinkExtras* Core::ensure_extras(Link& link) {
    if (!link.extras) link.extras = arena_.make<LinkExtras>(Arena::Use::kNormal);
    return link.extras.get();
}

// A topic name or filter behind its listener's mount point; of `$share/group/filter` the filter is.
Core::Text Core::mounted(const Link& link, Bytes name) {
    const std::string_view mount = listener_of(link).mount_point;
    if (mount.empty()) return {name};
    const size_t front = shared_prefix(name);
    Segment* held = Segment::make(arena_, static_cast<uint32_t>(name.size() + mount.size()));
    if (held == nullptr) return {{}, nullptr, true};
    uint8_t* at = held->data();
    std::memcpy(at, name.data(), front);
    std::memcpy(at + front, mount.data(), mount.size());
    std::memcpy(at + front + mount.size(), name.data() + front, name.size() - front);
    return {
        {at, name.size() + mount.size()},
        held
    };
}

// Whether a client must not see this topic though the filter, its mount point in front, matches:
// it is not below the mount point (which itself, and the level it ends, belong to `mount/#`), or it
// begins with `$` behind it where the filter begins with a wildcard.
//   [MQTT5-4.7.3-1], [MQTT5-4.7.2-1]
bool Core::hidden(const Session& session, Bytes filter, Bytes topic) const {
    const std::string_view mount = listener_options(session.listener).mount_point;
    if (mount.empty()) return false;
    if (topic.size() <= mount.size() || !as_text(topic).starts_with(mount)) return true;
    const uint8_t first = filter.size() > mount.size() ? filter[mount.size()] : uint8_t{0};
    return topic[mount.size()] == '$' && (first == '+' || first == '#');
}

// The properties of a PUBLISH or will that go on to its receivers, in their order.
Core::Text Core::passed_on(PropertySet set, Bytes properties) {
    if ((set.bits & kNotPassedOn) == 0) return {properties};
    // Mostly what is cut out stands at one end.
    Bytes rest = properties;
    const uint8_t* begin = nullptr;
    const uint8_t* end = nullptr;
    bool together = true;
    size_t size = 0;
    while (!rest.empty()) {
        const PropertyView property = next_property(rest);
        if ((PropertySet::bit(property.id) & kNotPassedOn) != 0) continue;
        if (begin == nullptr) begin = property.encoded.data();
        together = together && (end == nullptr || end == property.encoded.data());
        end = property.encoded.data() + property.encoded.size();
        size += property.encoded.size();
    }
    if (size == 0) return {};
    if (together)
        return {
            {begin, end}
        };
    Segment* held = Segment::make(arena_, static_cast<uint32_t>(size));
    if (held == nullptr) return {{}, nullptr, true};
    rest = properties;
    while (!rest.empty()) {
        const PropertyView property = next_property(rest);
        if ((PropertySet::bit(property.id) & kNotPassedOn) != 0) continue;
        std::memcpy(held->end(), property.encoded.data(), property.encoded.size());
        held->used += static_cast<uint32_t>(property.encoded.size());
    }
    return {
        {held->data(), size},
        held
    };
}

void Core::let_go(const Text& text) {
    if (text.held != nullptr) text.held->drop(arena_);
}

}  // namespace mqttd
