#include "broker/paging.h"

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/core.h"
#include "broker/recorder.h"

#include <algorithm>

namespace mqttd {

namespace {

constexpr uint32_t kUnit = 16;       // bytes, see paged_units
constexpr uint32_t kLeastPart = 16;  // of a page; where less than that of it can go it stays
// The most that a page's head and an entry take without texts.
constexpr uint32_t kEntryHead = DurablePage::kHeadBytes + DurablePageEntry::kHeadBytes + 10 +
                                4 * DurableDelivery::kIdsMax + DurableMessage::kHeadBytes;
constexpr uint32_t kReadsOfRounds = 2;  // places that a round may use
constexpr uint32_t kPagesATurn = 16;    // that go out
constexpr uint32_t kBucketsATurn = 64;  // of the sessions, that are looked through
constexpr uint32_t kSweepStep = 64;     // the part of memory after which they are once more

uint8_t* put(uint8_t* at, Bytes bytes) {
    if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
    return at + bytes.size();
}

Bytes payload_of(Message& message) {
    return message.payload_size > 0 ? bytes_of(message.payload()) : Bytes{};
}

}  // namespace

bool Paging::Sessions::add(Session& session) {
    if (std::find(list, list + count, &session) != list + count) return true;
    if (count == kListMost) return false;
    list[count++] = &session;
    return true;
}

void Paging::Sessions::remove(const Session& session) {
    Session** found = std::find(list, list + count, &session);
    if (found == list + count) return;
    std::copy(found + 1, list + count, found);
    --count;
}

Paging::Paging(Core& core, Journal& journal)
    : core_(core),
      arena_(core.arena_),
      journal_(journal),
      page_bytes_(core.options_.page_bytes),
      page_from_(core.arena_.pages_total() * core.options_.page_from_permille / 1'000),
      sweep_from_(page_from_),
      room_(static_cast<uint8_t*>(
          core.arena_.allocate(page_bytes_ + kEntryHead, Arena::Use::kReserve))) {
    MQTTD_ASSERT(room_ != nullptr);
}

Paging::~Paging() {
    MQTTD_ASSERT(pages_.empty() && chain_.first == nullptr);
    arena_.release(room_);
}

void Paging::consider(Session& session) {
    if (session.outflow->queue.gathered(page_bytes_ / kUnit) != nullptr) due_.add(session);
}

void Paging::tend() {
    stuck_ = false;
    take_reads();
    sweep();
    if (due_.count == 0 || core_.recorder_->missed()) return;
    uint32_t pages = kPagesATurn;
    while (due_.count > 0 && pages > 0) {
        Session& session = *due_.list[0];
        const bool more = !session.dead && arena_.pages_used() >= page_from_ && page_out(session);
        if (stuck_) return;
        if (!more) due_.remove(session);
        --pages;
    }
}

// Those whose queues have not grown since memory is short; what they hold is as good as any
// other's. Once through all of them, and again when a good part more is in use.
void Paging::sweep() {
    const uint64_t used = arena_.pages_used();
    const uint64_t more = used + std::max<uint64_t>(arena_.pages_total() / kSweepStep, 1);
    if (!sweeps_ && used >= sweep_from_) {
        sweeps_ = true;
        bucket_ = 0;
        sweep_from_ = more;
    }
    sweep_from_ = used < page_from_ ? page_from_ : std::min(sweep_from_, more);
    if (used < page_from_ || core_.recorder_->missed()) sweeps_ = false;
    const auto look = [&](Session& session) {
        if (session.durable && !session.dead && session.outflow) consider(session);
    };
    for (uint32_t i = 0; sweeps_ && i < kBucketsATurn && due_.count < kListMost / 2; ++i) {
        core_.spend(1);
        sweeps_ = core_.sessions_.visit_bucket(bucket_, look);
    }
}

bool Paging::at_rest() const {
    if (stuck_) return true;
    if (due_.count > 0 || sweeps_) return false;
    Bytes body;
    for (uint32_t i = 0; i < Journal::kReads; ++i)
        if (asked_[i].used && journal_.look(i, body) != Journal::Read::kWaiting) return false;
    return true;
}

// --- out -----------------------------------------------------------------------------------------

// One page of the queue, or what is before one; false if there is nothing more to be paged.
bool Paging::page_out(Session& session) {
    OutQueue& queue = session.outflow->queue;
    QueueLane* lane = queue.gathered(page_bytes_ / kUnit);
    if (lane == nullptr) return false;
    if (!lane->settled) {
        const uint32_t all = lane->behind;
        while (all - lane->behind < page_bytes_ / 2 / kUnit)
            if (!queue.settle(*lane)) return false;
        return true;
    }
    return say_page(session, *lane);
}

// Of a large message that many wait for each page would hold a copy.
bool Paging::worth_a_copy(const Message& message) const {
    return message.payload_size <= kSmallBytes || message.holders <= kCopiesMost;
}

bool Paging::say_page(Session& session, QueueLane& lane) {
    OutQueue& queue = session.outflow->queue;
    auto* page = arena_.make<QueuePage>(Arena::Use::kReserve);
    if (page == nullptr) {
        stuck_ = true;
        return false;
    }
    uint8_t* at = put_page_head(room_, {.session = session.number});
    Message* large = nullptr;  // the only one, and not copied
    queue.visit_gathered(lane, [&](const QueueEntry& entry) {
        Message& message = *entry.message;
        if (large != nullptr || !worth_a_copy(message)) return false;
        DurablePageEntry out;
        out.system = message.system;
        out.shared = entry.shared;
        out.message = core_.recorder_->durable(message);
        uint8_t ids[4 * DurableDelivery::kIdsMax];
        out.delivery = Recorder::durable(entry, ids);
        out.delivery.session = session.number;
        const uint32_t size = page_entry_size(out);
        const auto used = static_cast<uint32_t>(at - room_);
        if (used + size > page_bytes_ && page->sum.count > 0) return false;
        page->sum.add(out);
        at = put_page_entry(at, out);
        if (used + size > page_bytes_) {
            large = &message;
            return true;
        }
        at = put(at, out.message.topic);
        at = put(at, out.message.properties);
        at = put(at, out.message.payload);
        return true;
    });
    Bytes parts[] = {Bytes(room_, static_cast<size_t>(at - room_)), {}, {}, {}};
    if (large != nullptr) {
        parts[1] = large->topic();
        parts[2] = large->properties();
        parts[3] = payload_of(*large);
    }
    uint64_t size = 0;
    for (const Bytes part : parts)
        size += part.size();
    const bool room = core_.recorder_->has_room(size + journal_.capacity() / 8);
    if (page->sum.count == 0 || size < page_bytes_ / kLeastPart || size > journal_.read_most() ||
        !room) {
        arena_.destroy(page);
        stuck_ = !room;
        return room && queue.settle(lane);  // what cannot go stays where it is
    }
    page->position = page->name = core_.recorder_->page(DurableType::kPage, parts);
    page->wall_ahead = core_.recorder_->wall_ahead();
    page->size = static_cast<uint32_t>(size);
    page->session = &session;
    core_.spend(page->sum.count);
    queue.put_page(lane, *page);
    for (uint32_t n = page->sum.count; n > 0; --n) {
        const Waiting waiting = queue.take_gathered(arena_, lane);
        core_.messages_.drop(*waiting.message);
        if (waiting.ids != nullptr) arena_.release(waiting.ids);
    }
    pages_.push_back(*page);
    core_.stats_.paged_messages += page->sum.count;
    core_.stats_.paged_bytes += page->size;
    ++core_.stats_.pages_out;
    return true;
}

// --- back ----------------------------------------------------------------------------------------

void Paging::ask_ahead(Session& session) {
    OutQueue& queue = session.outflow->queue;
    while (QueuePage* page = queue.page_ahead(kAheadChunks)) {
        page->coming = true;
        if (page->copying || ask(*page)) continue;
        page->coming = false;
        // What comes later is asked for then; but somebody has to come for the very next one.
        const bool next = queue.front_away() && &queue.front_page() == page;
        if (next && !waiting_.add(session) && !session.dead) core_.starve(session);
        return;
    }
}

bool Paging::ask(QueuePage& page) {
    const uint32_t most = page.coming ? Journal::kReads : kReadsOfRounds;
    for (uint32_t i = 0; i < most; ++i) {
        if (asked_[i].used) continue;
        asked_[i] = {&page, true};
        journal_.ask(i, page.position, page.size);
        return true;
    }
    return false;
}

bool Paging::reads() const {
    return std::any_of(
        std::begin(asked_), std::end(asked_), [](const Asked& asked) { return asked.used; });
}

void Paging::take_reads() {
    for (uint32_t i = 0; i < Journal::kReads; ++i) {
        Asked& asked = asked_[i];
        if (!asked.used) continue;
        Bytes body;
        const Journal::Read read = journal_.look(i, body);
        if (read == Journal::Read::kWaiting) continue;
        if (asked.page != nullptr) {
            if (read == Journal::Read::kLost) {
                lose(*asked.page);
            } else if (!use(*asked.page, body)) {
                stuck_ = true;
                continue;
            }
        }
        asked = {};
    }
    for (uint32_t n = waiting_.count; n > 0; --n) {
        Session& session = *waiting_.list[0];
        waiting_.remove(session);
        if (MQTTD_MUTANT(72)) continue;  // who waits for a place is forgotten
        if (!session.outflow) continue;
        ask_ahead(session);
        // Something of higher priority may have come in front of the page.
        if (session.link && !session.outflow->queue.front_away()) core_.pump_later(session);
    }
}

// False: there is no room for it yet.
bool Paging::use(QueuePage& page, Bytes body) {
    return page.coming ? take_back(page, body) : say_again(page, body);
}

bool Paging::take_back(QueuePage& page, Bytes body) {
    Recorder& recorder = *core_.recorder_;
    if (!recorder.has_room(body.size())) return false;
    PageReader reader(body);
    Segment* held = copy_to_segment(arena_, body, Arena::Use::kReserve);
    if (held == nullptr) return false;
    held->shared = page.sum.count > 1;  // messages of a page are copied out of it
    const bool read = read_entries(reader, page, *held);
    held->drop(arena_);
    if (!read) {
        give_back_chain();
        return false;
    }
    uint8_t head[DurablePage::kHeadBytes];
    put_page_head(head, {.name = page.name, .session = page.session->number});
    const Bytes parts[] = {Bytes(head), body.subspan(sizeof head)};
    const bool silent = MQTTD_MUTANT(70);  // that a page was taken is not told
    const uint64_t position =
        silent ? page.position : recorder.page(DurableType::kPageTaken, parts);
    uint32_t count = 0;
    uint64_t bytes = 0;
    for (QueueChunk* chunk = chain_.first; chunk != nullptr; chunk = chunk->next.get()) {
        for (uint32_t i = chunk->begin; i < chunk->end; ++i) {
            Message& message = *chunk->entries()[i].message;
            recorder.taken(message, position);
            bytes += message.payload_size;
            ++count;
        }
    }
    core_.spend(count);
    ++core_.stats_.pages_in;
    if (count < page.sum.count) {
        core_.drop(page.session.get(), Drop::kDisk, page.sum.count - count);
        core_.stats_.queued -= page.sum.count - count;
        core_.stats_.queued_bytes -= page.sum.bytes - bytes;
    }
    Session& session = *page.session;
    const OutQueue::Chain chain = chain_;
    chain_ = {};
    remove(page, chain);
    if (session.link && !MQTTD_MUTANT(74)) core_.pump_later(session);  // asleep over a page
    return true;
}

// What the body holds becomes `chain_`, each message with its place for a name.  False if the arena
// refused; what cannot be read is left out.
bool Paging::read_entries(PageReader& reader, const QueuePage& page, Segment& held) {
    DurablePageEntry read;
    while (reader.next(read)) {
        if (page.foreign && read.delivery.number == 0) continue;  // QoS 0 of another life
        MessageParts parts = Recorder::parts_of(read.message, page.wall_ahead);
        parts.system = read.system;
        const uint32_t texts = read.place + static_cast<uint32_t>(DurableMessage::kHeadBytes +
                                                                  read.message.topic.size() +
                                                                  read.message.properties.size());
        parts.payload = {&held, texts, texts + static_cast<uint32_t>(read.message.payload.size())};
        Waiting waiting;
        waiting.qos = read.delivery.qos;
        waiting.retain = read.delivery.retain;
        waiting.limited = read.delivery.limited;
        waiting.shared = page.foreign ? uint16_t{0} : read.shared;
        waiting.delivery = read.delivery.number;
        if (read.delivery.id_count > 0) {
            waiting.ids = Recorder::ids_of(arena_, read.delivery);
            if (waiting.ids == nullptr) return false;
        }
        waiting.message = core_.messages_.make(parts);
        const bool kept = waiting.message != nullptr && OutQueue::append(arena_, chain_, waiting);
        if (kept) {
            if (waiting.message->named) waiting.message->set_name(read.place);
            continue;
        }
        if (waiting.message != nullptr) core_.messages_.drop(*waiting.message);
        if (waiting.ids != nullptr) arena_.release(waiting.ids);
        return false;
    }
    return true;
}

void Paging::give_back_chain() {
    Waiting waiting;
    while (OutQueue::take_first(arena_, chain_, waiting)) {
        core_.messages_.drop(*waiting.message);
        if (waiting.ids != nullptr) arena_.release(waiting.ids);
    }
}

// Out of the queue, which gets the chain for it.
void Paging::remove(QueuePage& page, const OutQueue::Chain& chain) {
    page.session->outflow->queue.replace_page(arena_, page, chain);
    pages_.remove(page);
    core_.stats_.paged_messages -= page.sum.count;
    core_.stats_.paged_bytes -= page.size;
    arena_.destroy(&page);
}

// The journal cannot say any more what was in it.
void Paging::lose(QueuePage& page) {
    Session& session = *page.session;
    core_.log_.write(LogKind::kError,
                     "Error: %u messages that wait for a client cannot be read from the journal.",
                     page.sum.count);
    core_.drop(&session, Drop::kDisk, page.sum.count);
    core_.stats_.queued -= page.sum.count;
    core_.stats_.queued_bytes -= page.sum.bytes;
    remove(page, {});
    core_.watch_queue(session);
    if (session.link) core_.pump_later(session);
}

// --- the end of sessions -------------------------------------------------------------------------

bool Paging::leave_front(Session& session) {
    QueuePage& page = session.outflow->queue.front_page();
    // Another member of a group may get what is in it; but not if those that come back wait for
    // memory, which what ends would give.
    const bool scarce = stuck_ && arena_.pressure() >= Arena::Pressure::kGrowth;
    if (page.sum.groups && !page.foreign && !stopped_ && !scarce) {
        ask_ahead(session);
        return false;
    }
    for (Asked& asked : asked_)
        if (asked.page == &page) asked.page = nullptr;
    core_.drop(nullptr, Drop::kSessionEnded, page.sum.count);
    core_.stats_.queued -= page.sum.count;
    core_.stats_.queued_bytes -= page.sum.bytes;
    remove(page, {});
    return true;
}

void Paging::leave(Session& session) {
    due_.remove(session);
    waiting_.remove(session);
}

// --- starts and rounds ---------------------------------------------------------------------------

void Paging::found(QueuePage& page) {
    pages_.push_back(page);
    core_.stats_.paged_messages += page.sum.count;
    core_.stats_.paged_bytes += page.size;
}

bool Paging::say_more() {
    QueuePage* page = pages_.front();
    if (MQTTD_MUTANT(73)) return false;  // a round forgets pages
    if (page == nullptr || page->position >= round_from_) return false;
    for (uint32_t n = 0; n < kReadsOfRounds && page != nullptr; ++n, page = pages_.next(*page)) {
        if (page->position >= round_from_) break;
        if (page->coming || page->copying) continue;
        page->copying = ask(*page);
    }
    return true;
}

bool Paging::say_again(QueuePage& page, Bytes body) {
    if (journal_.room() < journal_.capacity() / 2) return false;
    uint8_t head[DurablePage::kHeadBytes];
    put_page_head(head, {.name = page.name, .session = page.session->number});
    const Bytes parts[] = {Bytes(head), body.subspan(sizeof head)};
    page.position = core_.recorder_->page(DurableType::kPage, parts);
    page.copying = MQTTD_MUTANT(71);  // a page that was copied is asked for no more
    pages_.remove(page);
    pages_.push_back(page);
    return true;
}

}  // namespace mqttd
