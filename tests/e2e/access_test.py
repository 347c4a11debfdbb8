"""Who may connect, by address: listener_access."""

import os
import socket
import tempfile
import unittest

from support import Broker, free_port
from wire import CONNACK, Client, connect


def comes_in(address, source):
    """True if a client from that address is answered, False if it is closed at once."""
    client = Client.__new__(Client)
    client.id, client.data, client.early = source, bytearray(), []
    client.sock = socket.create_connection(address, 5, source_address=(source, 0))
    try:
        client.send(connect("from " + source))
        return client.expect(CONNACK).body[1] == 0
    except (AssertionError, OSError):
        return False
    finally:
        client.close()


class Access(unittest.TestCase):
    def test_one_address_is_denied_and_the_rest_come_in(self):
        """Closed at once, without a word; its neighbours are served, and so is it next door."""
        listeners = [
            {"listener": f"{free_port()} 127.0.0.1", "listener_access": "deny 127.0.0.2"},
            {"listener": f"{free_port()} 127.0.0.1"},
        ]
        with Broker(listeners=listeners) as broker:
            here, next_door = broker.addresses()
            for source, wanted in (("127.0.0.1", True), ("127.0.0.2", False), ("127.0.0.3", True)):
                self.assertEqual(comes_in(here, source), wanted, source)
            self.assertTrue(comes_in(next_door, "127.0.0.2"))

    def test_the_first_line_that_matches_decides(self):
        """One inside a denied network is let in, everybody outside of both is denied."""
        rules = ["allow 127.0.1.5", "deny 127.0.1.0/24", "allow 127.0.0.0/31", "deny all"]
        wanted = {
            "127.0.1.5": True, "127.0.1.4": False, "127.0.1.6": False,
            "127.0.0.1": True, "127.0.0.2": False, "127.0.2.0": False,
        }  # fmt: skip
        listener = {"listener": f"{free_port()} 127.0.0.1", "listener_access": rules}
        with Broker(listeners=[listener]) as broker:
            for source, verdict in wanted.items():
                self.assertEqual(comes_in(broker.address, source), verdict, source)

    def test_a_unix_socket_is_denied_by_all_only(self):
        """Its clients have no address."""
        with tempfile.TemporaryDirectory(prefix="mqttd-") as folder:
            paths = [os.path.join(folder, name) for name in ("open", "shut")]
            listeners = [
                {"listener": f"0 {paths[0]}", "listener_access": "deny 0.0.0.0/0"},
                {"listener": f"0 {paths[1]}", "listener_access": "deny all"},
            ]
            with Broker(listeners=listeners):
                self.assertTrue(Client(paths[0]).alive())
                with self.assertRaises((AssertionError, OSError)):
                    Client(paths[1])


if __name__ == "__main__":
    unittest.main()
