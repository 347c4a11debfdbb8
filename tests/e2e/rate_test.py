"""A client above its listener's rate is read more slowly, and nobody else notices."""

import socket
import threading
import time
import unittest

from support import Broker, free_port
from wire import PUBACK, Client, publish

KIB = 1024


class Rate(unittest.TestCase):
    def limited(self, rule="100,50", key="rate_limit"):
        """A broker with a listener that has the rate, and one that has none."""
        return Broker(
            listeners=[
                {"listener": f"{free_port()} 127.0.0.1", key: rule, "recbuf": 16 << 10},
                {"listener": f"{free_port()} 127.0.0.1"},
            ]
        )

    def flood(self, client, messages):
        """Sends in a thread, for it will have to wait."""

        def send():
            try:
                client.send(b"".join(messages))
            except OSError:
                pass

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        return thread

    def test_a_burst_goes_through_at_once_and_the_rest_at_the_rate(self):
        """100 KB, then 50 KB a second: 100 messages of 2 KB take about 2 s; a client of the same
        listener has its answers at once, and the broker sleeps meanwhile."""
        with self.limited() as broker:
            limited, free = broker.addresses()
            reader = Client(free)
            reader.subscribe("flood")
            other = Client(limited)
            writer = Client(limited)
            size = 2 * KIB
            messages = [publish("flood", bytes(size - 10)) for _ in range(100)]
            total = sum(map(len, messages))
            began = time.monotonic()
            cpu = broker.cpu_s()
            sender = self.flood(writer, messages)
            reader.messages(48)  # almost the burst
            self.assertLess(time.monotonic() - began, 0.5)
            slowest = 0
            while sender.is_alive():
                asked = time.monotonic()
                self.assertTrue(other.alive())
                slowest = max(slowest, time.monotonic() - asked)
                time.sleep(0.02)
            reader.messages(52)
            took = time.monotonic() - began
            least = (total - 100 * KIB) / (50 * KIB)
            self.assertGreater(took, least - 0.1)
            self.assertLess(took, least + 1.0)
            self.assertLess(slowest, 0.3)
            self.assertLess(broker.cpu_s() - cpu, 0.5 * took)
            for client in (reader, other, writer):
                client.close()

    def test_one_huge_packet_keeps_to_the_rate(self):
        """The bound is on bytes, not on packets."""
        with self.limited("10,50") as broker:
            limited, free = broker.addresses()
            reader = Client(free)
            reader.subscribe("huge")
            writer = Client(limited)
            began = time.monotonic()
            self.flood(writer, [publish("huge", bytes(110 * KIB))])
            self.assertEqual(len(reader.message(10).payload), 110 * KIB)
            took = time.monotonic() - began
            self.assertGreater(took, 1.8)
            self.assertLess(took, 3.5)
            reader.close()
            writer.close()

    def test_keep_alive_does_not_judge_a_client_that_is_not_read(self):
        """Its packet takes 4 s of the rate, its keep-alive is 1 s: it is not silent by its own
        choice, and is answered."""
        with self.limited("1000", "max_client_rate") as broker:
            writer = Client(broker.address, keepalive=1)
            self.flood(writer, [publish("slow", bytes(5000), 1, mid=7)])
            self.assertEqual(writer.expect(PUBACK, 10).body, b"\x00\x07")
            writer.close()

    def test_a_paused_client_may_vanish(self):
        """Reset or closed in the middle of a pause; the broker goes on and ends in good order."""
        with self.limited("1,1") as broker:
            for number in range(20):
                writer = Client(broker.address)
                writer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 10)
                writer.sock.settimeout(0.05)
                try:
                    writer.send(publish("gone", bytes(40 * KIB)))
                except OSError:
                    pass
                if number % 2:
                    writer.reset()
                else:
                    writer.close()
            with Client(broker.addresses()[1]) as client:
                self.assertTrue(client.alive())


if __name__ == "__main__":
    unittest.main()
