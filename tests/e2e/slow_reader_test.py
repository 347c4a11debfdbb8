"""One subscriber of fifty stops reading: nobody else notices, and the broker's memory stays
bounded."""

import time
import unittest

from support import Broker, free_port
from wire import Client, publish

READERS = 50
MIB = 1 << 20
OUTBOX = 64 << 10


class SlowReader(unittest.TestCase):
    def flood(self, qos, count, payload_size, config):
        """Publishes `count` messages, paced by one reader; yields what each of the others got."""
        listener = {"listener": f"{free_port()} 127.0.0.1", "sndbuf": 32 << 10}
        broker = Broker(
            {"sys_interval": 1, "outbox_bytes_max": OUTBOX, **config}, [listener]
        ).start()
        self.addCleanup(broker.kill)
        readers = [Client(broker.address, f"reader-{number}") for number in range(READERS - 1)]
        stopped = Client(broker.address, "stopped", receive_buffer=8 << 10)
        for reader in (*readers, stopped):
            reader.subscribe("flood", qos)
        writer = Client(broker.address)
        body = b"x" * payload_size
        received = [0] * len(readers)
        before = broker.rss()
        batch = 20
        for first in range(0, count, batch):
            writer.send(
                b"".join(
                    publish("flood", body, qos, mid=1 + n) for n in range(first, first + batch)
                )
            )
            for number, reader in enumerate(readers):
                received[number] += len(reader.messages(batch))
        grown = broker.rss() - before
        for client in (*readers, writer):
            client.close()
        return broker, stopped, received, grown

    def test_qos_0_others_get_everything_and_drops_are_counted(self):
        """The stopped one loses exactly what `$SYS` says was dropped; the rest it gets when it
        reads again."""
        count, size = 3000, 1000
        broker, stopped, received, grown = self.flood(0, count, size, {})
        self.assertEqual(set(received), {count})
        self.assertLess(grown, OUTBOX + 2 * MIB)
        got = len(stopped.settle())
        self.assertLess(got, count, "nothing was dropped: the test did not stop anybody")
        self.assertEqual(broker.wait_sys("publish/messages/dropped", count - got), count - got)
        stopped.close()
        broker.stop()

    def test_qos_1_others_get_everything_and_the_queue_is_bounded(self):
        """The stopped one has its window and its queue, the newest are dropped and counted."""
        count, size, queue = 600, 1000, 100
        broker, stopped, received, grown = self.flood(
            1, count, size, {"max_queued_messages": queue}
        )
        self.assertEqual(set(received), {count})
        self.assertLess(grown, 3 * MIB)
        self.assertEqual(
            broker.wait_sys("publish/messages/dropped", count - 20 - queue), count - 20 - queue
        )
        got = stopped.settle()
        self.assertEqual(len(got), 20 + queue)
        stopped.close()
        broker.stop()

    def test_a_qos_1_reader_may_pause_longer_than_the_user_timeout(self):
        """TCP_USER_TIMEOUT counts a shut window, too: it is for connections that are closing, and
        whoever pauses with bytes waiting finds everything when it reads again."""
        listener = {
            "listener": f"{free_port()} 127.0.0.1",
            "sndbuf": 16 << 10,
            "tcp_user_timeout": 1000,
        }
        with Broker({"max_inflight_messages": 100, "max_queued_messages": 0}, [listener]) as broker:
            reader = Client(broker.address, "pauses", receive_buffer=8 << 10)
            reader.subscribe("news", 1)
            body = b"n" * 10_000
            with Client(broker.address) as writer:
                for mid in range(1, 61):
                    writer.send(publish("news", body, 1, mid=mid))
                writer.settle()
            time.sleep(4)
            self.assertEqual(len(reader.messages(60)), 60)
            self.assertNotIn("timed out", broker.log())
            reader.close()

    def test_a_stopped_reader_that_vanishes_leaves_no_memory(self):
        """Its queue and its outbox are given back: the next stopped reader needs no new memory."""
        broker = Broker({"outbox_bytes_max": OUTBOX, "max_queued_messages": 1000})
        broker.start()
        self.addCleanup(broker.kill)
        writer = Client(broker.address)
        sizes = []
        for _ in range(6):
            stopped = Client(broker.address, receive_buffer=8 << 10)
            stopped.subscribe("gone", 1)
            for _ in range(600):
                writer.publish("gone", b"x" * 2000, 1)
            stopped.reset()
            writer.drain()
            sizes.append(broker.rss())
        self.assertLess(sizes[-1] - sizes[1], MIB, sizes)
        writer.close()
        broker.stop()


if __name__ == "__main__":
    unittest.main()
