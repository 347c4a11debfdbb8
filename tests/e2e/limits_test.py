"""Every limit at one below, at, and one above; and the short timers of 3.x clients."""

import time
import unittest

from support import Broker

from wire import (
    CONNACK, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Client, ack, connect, parse_publish, publish,
)  # fmt: skip


def leave_behind(broker, client_id, topic_filter, qos=1):
    """A durable session with one subscription, whose client is away."""
    with Client(broker.address, client_id, clean=False) as client:
        client.subscribe(topic_filter, qos)
        client.disconnect()


class Queues(unittest.TestCase):
    LIMIT = 30

    def test_the_queue_holds_its_limit_and_counts_what_it_drops(self):
        """limit-1 and limit messages wait for an absent client; of limit+1 and +20 the newest are
        dropped."""
        with Broker({"sys_interval": 1, "max_queued_messages": self.LIMIT}) as broker:
            dropped = 0
            for published in (self.LIMIT - 1, self.LIMIT, self.LIMIT + 1, self.LIMIT + 20):
                with self.subTest(published=published):
                    name = f"away-{published}"
                    leave_behind(broker, name, f"q/{published}")
                    with Client(broker.address) as writer:
                        for number in range(published):
                            writer.publish(f"q/{published}", str(number), 1)
                    kept = min(published, self.LIMIT)
                    dropped += published - kept
                    with Client(broker.address, name, clean=False) as back:
                        got = [int(message.payload) for message in back.settle()]
                        self.assertEqual(got, list(range(kept)))
                        back.disconnect()
                    self.assertEqual(broker.wait_sys("publish/messages/dropped", dropped), dropped)
                    self.assertEqual(broker.sys("queue/dropped/full"), str(dropped))

    def test_the_window_does_not_shrink_the_queue(self):
        """A connected client that never acks has its window in flight and `limit` more waiting, no
        fewer."""
        window = 5
        config = {
            "sys_interval": 1,
            "max_queued_messages": self.LIMIT,
            "max_inflight_messages": window,
        }
        with Broker(config) as broker:
            reader = Client(broker.address, "stubborn", clean=False)
            reader.subscribe("w", 1)
            with Client(broker.address) as writer:
                for number in range(window + self.LIMIT + 7):
                    writer.publish("w", str(number), 1)
            got = reader.drain(acknowledge=False)
            self.assertEqual([int(m.payload) for m in got], list(range(window)))
            self.assertEqual(len({m.mid for m in got}), window)
            self.assertEqual(broker.wait_sys("publish/messages/dropped", 7), 7)
            for message in got:
                reader.send(ack(PUBACK, message.mid))
            rest = [int(m.payload) for m in reader.settle()]
            self.assertEqual(rest, list(range(window, window + self.LIMIT)))
            reader.close()

    def test_qos_0_is_queued_for_the_absent_only_if_asked(self):
        """queue_qos0_messages false: dropped while away; true: they wait like the others."""
        for queued in (False, True):
            with self.subTest(queued=queued), Broker(
                {"queue_qos0_messages": str(queued).lower()}
            ) as broker:
                leave_behind(broker, "away", "q")
                with Client(broker.address) as writer:
                    writer.publish("q", b"zero").publish("q", b"one", 1)
                with Client(broker.address, "away", clean=False) as back:
                    got = [m.payload for m in back.settle()]
                self.assertEqual(got, [b"zero", b"one"] if queued else [b"one"])

    def test_bytes_have_a_limit_too(self):
        """max_queued_bytes: of ten payloads of 100 bytes with room for 500, five are kept."""
        with Broker({"max_queued_bytes": 500}) as broker:
            leave_behind(broker, "away", "q")
            with Client(broker.address) as writer:
                for _ in range(10):
                    writer.publish("q", b"x" * 100, 1)
            with Client(broker.address, "away", clean=False) as back:
                self.assertEqual(len(back.settle()), 5)


class Sessions(unittest.TestCase):
    def test_a_session_ends_when_its_client_stays_away(self):
        """persistent_client_expiration 1s: resumed at once, gone after two seconds, and counted."""
        with Broker({"sys_interval": 1, "persistent_client_expiration": "1s"}) as broker:
            leave_behind(broker, "brief", "s")
            with Client(broker.address, "brief", clean=False) as back:
                self.assertTrue(back.session_present)
                time.sleep(1.5)  # being connected is not being away
                self.assertTrue(back.alive())
                back.disconnect()
            time.sleep(2.2)
            with Client(broker.address, "brief", clean=False) as late:
                self.assertFalse(late.session_present)
            self.assertEqual(broker.wait_sys("clients/expired", 1), 1)


class Windows(unittest.TestCase):
    def test_the_window_is_kept_and_moves_by_one(self):
        """Never more than max_inflight_messages unacked, at QoS 1 and 2; each ack lets exactly one
        follow."""
        for qos in (1, 2):
            with self.subTest(qos=qos), Broker({"max_inflight_messages": 4}) as broker:
                with Client(broker.address) as reader, Client(broker.address) as writer:
                    reader.subscribe("w", qos)
                    for number in range(12):
                        writer.publish("w", str(number), 1 if qos == 1 else 2)
                    got = reader.drain(acknowledge=False)
                    self.assertEqual(len(got), 4)
                    if qos == 1:
                        reader.send(ack(PUBACK, got[0].mid))
                    else:
                        reader.send(ack(PUBREC, got[0].mid))
                        reader.expect(PUBREL)
                        self.assertEqual(reader.drain(acknowledge=False), [])
                        reader.send(ack(PUBCOMP, got[0].mid))
                    self.assertEqual([int(m.payload) for m in reader.drain(acknowledge=False)], [4])

    def test_what_was_not_acknowledged_comes_again_at_reconnect(self):
        """With DUP, the same packet identifiers and the same order; PUBREL alone where PUBREC had
        come."""
        with Broker() as broker, Client(broker.address) as writer:
            reader = Client(broker.address, "again", clean=False)
            reader.subscribe("w", 2)
            for number in range(4):
                writer.publish("w", str(number), 2)
            first = reader.drain(acknowledge=False)
            reader.send(ack(PUBREC, first[0].mid))
            reader.expect(PUBREL)
            reader.reset()
            back = Client(broker.address, "again", clean=False)
            packets = [back.packet() for _ in range(4)]
            releases = [p.body for p in packets if p.kind == PUBREL]
            again = [parse_publish(p) for p in packets if p.kind == PUBLISH]
            self.assertEqual(releases, [first[0].mid.to_bytes(2, "big")])
            self.assertEqual(
                [(m.mid, m.payload, m.dup) for m in again],
                [(m.mid, m.payload, True) for m in first[1:]],
            )
            back.close()

    def test_unacked_messages_are_sent_again_in_time(self):
        """unack_retry_interval 1: the same message with DUP after a second, and not once it is
        acked."""
        with Broker({"unack_retry_interval": 1}) as broker:
            with Client(broker.address) as reader, Client(broker.address) as writer:
                reader.subscribe("w", 1)
                writer.publish("w", b"x", 1)
                first = reader.message(acknowledge=False)
                started = time.monotonic()
                second = reader.message(timeout=3, acknowledge=True)
                self.assertGreater(time.monotonic() - started, 0.8)
                self.assertEqual((second.mid, second.dup, first.dup), (first.mid, True, False))
                time.sleep(1.5)
                self.assertEqual(reader.drain(), [])

    def test_nothing_is_sent_again_by_default(self):
        """unack_retry_interval 0: not before the client comes back."""
        with Broker() as broker, Client(broker.address) as reader, Client(broker.address) as writer:
            reader.subscribe("w", 1)
            writer.publish("w", b"x", 1)
            reader.message(acknowledge=False)
            time.sleep(1.5)
            self.assertEqual(reader.drain(acknowledge=False), [])


class AwaitRel(unittest.TestCase):
    def test_a_message_without_its_pubrel_is_given_up(self):
        """await_rel_timeout 1: not delivered, and its packet identifier is free for a new
        message."""
        with Broker({"await_rel_timeout": 1}) as broker:
            with Client(broker.address) as reader, Client(broker.address) as writer:
                reader.subscribe("r", 2)
                writer.send(publish("r", b"forgotten", 2, mid=7)).expect(PUBREC)
                time.sleep(2.2)
                writer.publish("r", b"new", 2, mid=7)
                got = reader.message()
                self.assertEqual(got.payload, b"new")
                self.assertEqual(reader.drain(), [])

    def test_more_than_max_awaiting_rel_are_dropped(self):
        """limit messages get their PUBREC, the next one none; after a PUBREL there is room
        again."""
        limit = 3
        with Broker({"max_awaiting_rel": limit}) as broker, Client(broker.address) as writer:
            for mid in range(1, limit + 1):
                writer.send(publish("r", b"x", 2, mid=mid))
                self.assertEqual(writer.expect(PUBREC).body, mid.to_bytes(2, "big"))
            writer.send(publish("r", b"too many", 2, mid=limit + 1))
            self.assertEqual(writer.drain(), [])
            writer.send(ack(PUBREL, 1)).expect(PUBCOMP)
            writer.publish("r", b"again", 2, mid=limit + 2)
            self.assertTrue(writer.alive())


class Sizes(unittest.TestCase):
    def test_the_length_of_a_client_id(self):
        """max_clientid_len at limit-1 and limit is fine, one more is code 2, in both versions."""
        limit = 100
        with Broker({"max_clientid_len": limit}) as broker:
            for level in (3, 4):
                for size in (limit - 1, limit, limit + 1):
                    with self.subTest(level=level, size=size):
                        with Client(broker.address, handshake=False) as client:
                            client.send(connect("i" * size, level=level))
                            code = client.expect(CONNACK).body[1]
                            self.assertEqual(code, 2 if size > limit else 0)
                            self.assertEqual(client.closed(0.3), size > limit)

    def test_the_levels_of_a_topic(self):
        """max_topic_levels: a publish with one level more closes its sender, a filter too or gets
        0x80."""
        limit = 10
        with Broker({"max_topic_levels": limit}) as broker, Client(broker.address) as bystander:
            for levels in (limit - 1, limit, limit + 1):
                topic = "/".join(["l"] * levels)
                with self.subTest(levels=levels), Client(broker.address) as client:
                    client.send(publish(topic, b"x", 1))
                    if levels > limit:
                        self.assertTrue(client.closed(3))
                    else:
                        client.expect(PUBACK)
                with self.subTest(filter_levels=levels), Client(broker.address) as client:
                    try:
                        codes = client.subscribe(topic)
                    except (AssertionError, OSError):
                        codes = [0x80]
                    self.assertEqual(codes, [0x80] if levels > limit else [0])
            self.assertTrue(bystander.alive())

    def test_a_flood_of_slashes_is_cheap(self):
        """A filter of 32 000 levels is refused, not walked."""
        with Broker() as broker:
            before = broker.cpu_s()
            for _ in range(20):
                with Client(broker.address) as client:
                    try:
                        self.assertEqual(client.subscribe("/" * 32000), [0x80])
                    except (AssertionError, OSError):
                        pass
            self.assertLess(broker.cpu_s() - before, 0.1)


class KeepAlive(unittest.TestCase):
    def test_silence_ends_at_one_and_a_half(self):
        """Keep-alive 1 and 2: closed between 1.5 and 1.5 + 2 s; with pings it lives, with 0 for
        ever."""
        with Broker() as broker:
            clients = {k: Client(broker.address, keepalive=k) for k in (1, 2)}
            lively = Client(broker.address, keepalive=1)
            forever = Client(broker.address, keepalive=0)
            half = Client(broker.address, keepalive=1)
            started = time.monotonic()
            ended = {}
            while time.monotonic() - started < 5.5 and len(ended) < 3:
                self.assertTrue(lively.alive())
                try:
                    half.send(b"\x30" if time.monotonic() - started < 0.1 else b"")
                except OSError:
                    pass
                for name, client in (*clients.items(), ("half", half)):
                    if name not in ended and client.closed(0.05):
                        ended[name] = time.monotonic() - started
                time.sleep(0.05)
            for keepalive in (1, 2):
                self.assertIn(keepalive, ended)
                self.assertGreaterEqual(ended[keepalive], 1.5 * keepalive - 0.05)
                self.assertLessEqual(ended[keepalive], 1.5 * keepalive + 2)
            self.assertIn("half", ended, "a packet that never ends counted as life")
            self.assertTrue(forever.alive())
            for client in (lively, forever):
                client.close()

    def test_a_large_packet_may_take_longer_than_a_keep_alive(self):
        """40 KB in pieces over 4 s at a keep-alive of 1 s: acknowledged; a piece that stays away
        ends it."""
        packet = publish("t", b"x" * 40_000, qos=1, mid=1)
        with Broker() as broker:
            whole = Client(broker.address, keepalive=1)
            half = Client(broker.address, keepalive=1)
            for at in range(0, len(packet), 1_000):
                whole.send(packet[at:at + 1_000])
                if at < 20_000:
                    half.send(packet[at:at + 1_000])
                time.sleep(0.1)
            whole.expect(PUBACK)
            self.assertTrue(half.closed(2))


if __name__ == "__main__":
    unittest.main()
