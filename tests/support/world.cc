#include "support/world.h"

#include "base/segment.h"

#include <catch2/catch.hpp>

namespace mqttd {

void FakeConnection::send(std::string_view bytes) {
    push(bytes);
    world_->settle();
}

std::string FakeConnection::take_output() {
    std::string bytes;
    bytes.swap(output_);
    return bytes;
}

std::string FakeConnection::received() {
    return v5_ ? packets5::describe(take_output()) : packets::describe(take_output());
}

void FakeConnection::hang_up(Error why) {
    gone_ = true;
    if (!closing_) why_ = why;
    world_->settle();
}

BrokerOptions World::test_options() {
    BrokerOptions options;
    options.listener.allow_anonymous = true;
    options.sys_interval_s = 0;
    options.hash_key[0] = 1;
    options.hash_key[1] = 2;
    return options;
}

World::World(const BrokerOptions& options, size_t memory_bytes, FakeJournal* journal)
    : arena_(memory_bytes),
      log_(
          [](void* context, LogKind, std::string_view line) {
              static_cast<World*>(context)->log_text_.append(line).append("\n");
          },
          this,
          ~0u),
      journal_(journal),
      broker_(std::make_unique<Broker>(
          arena_.arena, *this, *this, dirty_, log_, options, now_, journal)) {
    if (journal != nullptr && journal->wall_s > wall_s())
        wall_ahead_s_ = journal->wall_s - wall_s();
    broker_->begin_turn(now_, wall_s());
    if (journal != nullptr) {
        broker_->begin_restore();
        journal->visit([&](uint8_t type, uint64_t position, Bytes body) {
            broker_->restore(type, position, body);
        });
        restored_ = broker_->end_restore();
    }
    broker_->publish_sys();
}

World::~World() {
    end();
    for (FakeConnection* connection : connections_)
        connection_memory_.arena.destroy(connection);
}

uint64_t World::end() {
    if (broker_ == nullptr) return arena_.arena.live();
    arena_.arena.refuse_nth(0);
    for (FakeConnection* connection : connections_)
        connection->gone_ = true;
    settle();
    broker_ = nullptr;
    return arena_.arena.live();
}

FakeConnection& World::connection(bool refused) {
    connections_.push_back(connection_memory_.arena.make<FakeConnection>(Arena::Use::kNormal));
    FakeConnection& connection = *connections_.back();
    connection.world_ = this;
    broker_->begin_turn(now_, wall_s());
    Arrival arrival;
    arrival.refused = refused;
    arrival.listener = listener_;
    connection.link_ = broker_->opened(connection, arrival);
    return connection;
}

FakeConnection& World::client(const packets::Connect& fields) {
    FakeConnection& connection = this->connection();
    connection.send(packets::connect(fields));
    const std::string answer = connection.take_output();
    REQUIRE(packets::packet_size(answer) == 4);
    REQUIRE(packets::describe(answer.substr(0, 4)).starts_with("CONNACK(0"));
    connection.output_ = answer.substr(4);
    return connection;
}

FakeConnection& World::client5(const packets5::Connect& fields) {
    FakeConnection& connection = this->connection();
    connection.speak_v5();
    connection.send(packets5::connect(fields));
    const std::string answer = connection.take_output();
    const size_t size = packets::packet_size(answer);
    REQUIRE(packets5::describe(answer.substr(0, size)).starts_with("CONNACK(0"));
    connection.output_ = answer.substr(size);
    return connection;
}

FakeConnection& World::client(std::string_view client_id, bool clean) {
    packets::Connect fields;
    fields.client_id = client_id;
    fields.clean = clean;
    return client(fields);
}

void World::hang_up_all_but(const FakeConnection& one) {
    for (FakeConnection* connection : connections_)
        connection->gone_ = connection->gone_ || connection != &one;
    settle();
}

void World::advance(Duration ms) {
    // In steps, as a loop that wakes for its timers would see it.
    while (ms > 0) {
        const Duration step = std::min<Duration>(ms, 50);
        now_ += step;
        ms -= step;
        turn();
    }
    settle();
}

void World::settle() {
    for (uint32_t quiet = 0, turns = 0; quiet < 2; ++turns) {
        REQUIRE(turns < 200'000);  // a world that never comes to rest has lost something
        const uint64_t before = stats().bytes_received + stats().packets_sent_all +
                                stats().packets_received_all + arena_.arena.allocations();
        turn();
        bool busy = !broker_->idle() || !dirty_.empty();
        for (FakeConnection* connection : connections_) {
            busy = busy || (connection->link_ != nullptr &&
                            (connection->gone_ || connection->closing_ || connection->ready_));
        }
        const uint64_t after = stats().bytes_received + stats().packets_sent_all +
                               stats().packets_received_all + arena_.arena.allocations();
        quiet = busy || after != before ? 0 : quiet + 1;
    }
}

void World::turn() {
    ++turns_;
    broker_->begin_turn(now_, wall_s());
    for (FakeConnection* connection : connections_) {
        if (connection->blocked()) write(*connection);
    }
    for (FakeConnection* connection : connections_) {
        while (read(*connection)) {
        }
    }
    broker_->tick();
    if (journal_ != nullptr) {
        journal_->end_turn();
        journal_->wall_s = wall_s();
    }
    for (uint32_t writes = 0; writes < writes_per_turn_; ++writes) {
        Outbox* outbox = dirty_.take();
        if (outbox == nullptr) break;
        write(static_cast<FakeConnection&>(*outbox));
    }
    dirty_.note_backlog();
    reap();
}

// One receive; true if it took something and there is more.
bool World::read(FakeConnection& connection) {
    if (connection.link_ == nullptr || connection.closing_) return false;
    const bool again = connection.ready_ || connection.stop_ == StopReason::kBudget ||
                       connection.stop_ == StopReason::kBacklog;
    if (connection.stop_ != StopReason::kNone && !again) return false;
    connection.ready_ = false;
    if (connection.unfinished_) return false;  // nothing new since it was last offered
    connection.stop_ = StopReason::kNone;
    if (connection.input_.empty() || !broker_->budget_left()) return false;
    size_t size = connection.input_.size();
    if (cut_ != 0) size = std::min<size_t>(size, cut_);
    // As net does: an unfinished packet is put in front of what comes next, so a cut piece grows
    // until something can be taken.
    for (;;) {
        Segment* segment =
            copy_to_segment(arena_.arena,
                            as_bytes({connection.input_.data(), size}),
                            Arena::Use::kReserve);  // net has its inbound segment from the start
        if (segment == nullptr) {
            close(connection, Error::kNoMemory);
            return false;
        }
        segment->shared = size < 16'384;
        const Consumed consumed = broker_->receive(connection.link_, {segment, 0, segment->used});
        segment->drop(arena_.arena);
        if (connection.closing_) return false;
        connection.input_.erase(0, consumed.bytes);
        connection.stop_ = consumed.stop;
        if (consumed.stop != StopReason::kNone) return false;
        if (consumed.bytes > 0) return !connection.input_.empty();
        connection.unfinished_ = size == connection.input_.size();
        if (connection.unfinished_) return false;
        size = std::min<size_t>(connection.input_.size(), size + std::max<uint32_t>(cut_, 1));
    }
}

void World::write(FakeConnection& connection) {
    if (connection.link_ == nullptr) return;
    while (!connection.empty() && connection.room_ > 0) {
        Piece pieces[64];
        const uint32_t count = connection.gather(pieces);
        uint64_t written = 0;
        for (uint32_t i = 0; i < count && connection.room_ > 0; ++i) {
            const size_t size = std::min<uint64_t>(pieces[i].size, connection.room_);
            connection.output_.append(static_cast<const char*>(pieces[i].data), size);
            if (connection.room_ != ~uint64_t{0}) connection.room_ -= size;
            written += size;
        }
        connection.drain(arena_.arena, written);
    }
    if (!connection.empty()) {
        if (!connection.blocked()) {
            connection.set_blocked(true);
            if (!connection.own(arena_.arena)) close(connection, Error::kNoMemory);
        }
        return;
    }
    if (!connection.blocked()) return;
    connection.set_blocked(false);
    if (!connection.closing_) broker_->writable(connection.link_);
}

bool World::reap() {
    bool any = false;
    for (FakeConnection* connection : connections_) {
        if (connection->link_ == nullptr) continue;
        const bool read_out = connection->input_.empty() || connection->unfinished_ ||
                              connection->stop_ != StopReason::kNone;
        if (!connection->closing_ && !(connection->gone_ && read_out)) continue;
        void* link = connection->link_;
        connection->closing_ = true;
        dirty_.remove(*connection);
        broker_->closed(link, connection->why_);
        dirty_.remove(*connection);
        connection->clear(arena_.arena);
        connection->link_ = nullptr;
        any = true;
    }
    return any;
}

void World::resume(Outbox& outbox) {
    static_cast<FakeConnection&>(outbox).ready_ = true;
}

bool World::input_waiting(const Outbox& outbox) const {
    const auto& connection = static_cast<const FakeConnection&>(outbox);
    return connection.ready_ ||
           (connection.stop_ != StopReason::kNone && !connection.input_.empty());
}

void World::close(Outbox& outbox, Error why) {
    auto& connection = static_cast<FakeConnection&>(outbox);
    if (connection.closing_) return;
    connection.closing_ = true;
    connection.why_ = why;
}

uint32_t World::flush(Outbox& outbox) {
    auto& connection = static_cast<FakeConnection&>(outbox);
    const uint32_t units = 1 + connection.pending() / 8'192;
    if (!connection.blocked()) write(connection);
    return units;
}

Peer World::peer(const Outbox& outbox) const {
    (void)outbox;
    Peer peer;
    peer.family = Peer::kIpv4;
    peer.address[0] = 127;
    peer.address[3] = 1;
    peer.port = 50'000;
    return peer;
}

void World::sample(HostStats& out) {
    out = host;
    out.turns = turns_;
}

}  // namespace mqttd
