"""Descriptors run out (RLIMIT_NOFILE 64): old clients are served, nothing spins, new ones come in
later."""

import re
import time
import unittest

from support import Broker, wait_until
from wire import Client, connect, open_socket

FILES = 64
CLIENTS = 200


def answered(sock, timeout):
    """True if the CONNACK says welcome within `timeout`."""
    sock.settimeout(timeout)
    try:
        return sock.recv(4) == b"\x20\x02\x00\x00"
    except OSError:
        return False


class Descriptors(unittest.TestCase):
    def setUp(self):
        self.broker = Broker({"sys_interval": 1}, files=FILES)
        self.broker.start()
        self.addCleanup(self.broker.kill)

    def promised(self):
        """How many clients the start-up line says there is room for; a safe guess where it says
        nothing."""
        found = re.search(r"allows (\d+) clients", self.broker.log())
        return int(found.group(1)) if found else 40

    def let_in(self):
        try:
            with Client(self.broker.address) as client:
                return client.alive()
        except (AssertionError, OSError):
            return False

    def crowd(self):
        """CLIENTS sockets that all sent CONNECT; those that were let in, and the rest."""
        sockets = [open_socket(self.broker.address) for _ in range(CLIENTS)]
        for number, sock in enumerate(sockets):
            self.addCleanup(sock.close)
            try:
                sock.sendall(connect(f"crowd-{number}"))
            except OSError:
                pass  # refused already
        deadline = time.monotonic() + 2
        inside, outside = [], []
        for sock in sockets:
            (inside if answered(sock, max(0.01, deadline - time.monotonic())) else outside).append(
                sock
            )
        return inside, outside

    def test_old_clients_are_served_and_nothing_spins(self):
        """200 clients for 64 descriptors: as many are in as were promised, and the broker
        sleeps."""
        old = Client(self.broker.address, "old")
        old.subscribe("t", 1)
        inside, _ = self.crowd()
        self.assertGreaterEqual(1 + len(inside), self.promised())
        self.assertGreaterEqual(len(inside), FILES // 4)
        self.assertLess(len(inside), FILES)
        before = self.broker.cpu_s()
        time.sleep(1.5)
        spent = self.broker.cpu_s() - before
        self.assertLess(spent, 0.15, "the broker spins while it has no descriptor left")
        old.publish("t", b"still here", 1)
        self.assertEqual(old.message().payload, b"still here")
        # A client that is told "server busy" has its own line; one that is closed unheard has not.
        lines = [line for line in self.broker.log().splitlines() if "closed at once" in line]
        self.assertLess(len(lines), 10, "the log is flooded")
        for sock in inside:
            sock.close()
        old.disconnect()
        self.broker.stop()

    def test_new_clients_are_let_in_after_some_left(self):
        """When ten leave, ten new ones get in, without any of the others moving."""
        inside, outside = self.crowd()
        self.assertLessEqual(len(inside), self.promised())
        for sock in outside:
            sock.close()  # or a slow machine lets one of them in, too
        for sock in inside[:10]:
            sock.close()
        self.assertTrue(wait_until(self.let_in, 5, 0.1))
        self.broker.stop()

    def test_it_recovers_when_all_have_left(self):
        """After the crowd is gone, as many clients connect as on the first day."""
        inside, outside = self.crowd()
        for sock in inside + outside:
            sock.close()
        self.assertTrue(wait_until(self.let_in, 5, 0.1))
        self.assertTrue(wait_until(lambda: int(self.broker.sys("clients/connected")) <= 1, 4, 0.2))
        clients = [Client(self.broker.address) for _ in range(self.promised() - 1)]
        self.assertTrue(all(client.alive() for client in clients))
        for client in clients:
            client.disconnect()
        self.broker.stop()


if __name__ == "__main__":
    unittest.main()
