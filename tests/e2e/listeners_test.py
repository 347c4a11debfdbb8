"""Listeners: several at once, both families, Unix sockets, caps, and clients that never say
anything."""

import os
import socket
import tempfile
import time
import unittest

from support import Broker, free_port, is_listening, run, wait_until
from wire import CONNACK, Client, connect, open_socket


class Listeners(unittest.TestCase):
    def test_two_tcp_listeners_serve_one_world(self):
        """What is published on one port arrives on the other, and a client id is one on both."""
        ports = [free_port(), free_port()]
        with Broker(listeners=[{"listener": f"{port} 127.0.0.1"} for port in ports]) as broker:
            one, two = (Client(address) for address in broker.addresses())
            one.subscribe("t")
            two.publish("t", b"across", 1)
            self.assertEqual(one.message().payload, b"across")
            with Client(broker.addresses()[1], one.id) as moved:
                self.assertTrue(one.closed())
                self.assertTrue(moved.alive())
            one.close()
            two.close()

    def test_ipv6_works(self):
        """A listener on ::1 serves IPv6, beside one on 127.0.0.1 with the same port."""
        port = free_port("::1")
        with Broker(
            listeners=[{"listener": f"{port} ::1"}, {"listener": f"{port} 127.0.0.1"}]
        ) as broker:
            six, four = (Client(address) for address in broker.addresses())
            six.subscribe("t")
            four.publish("t", b"six", 1)
            self.assertEqual(six.message().payload, b"six")
            six.disconnect()
            four.disconnect()

    def test_a_listener_without_an_address_serves_both_families(self):
        """`listener PORT` alone is every address of both."""
        port = free_port("::1")
        with Broker(listeners=[{"listener": str(port)}]):
            for host in ("127.0.0.1", "127.0.0.9", "::1"):
                self.assertTrue(Client((host, port)).alive(), host)

    def test_a_unix_socket_works_and_is_removed(self):
        """Served like TCP; a stale file is replaced at the start, and the file is gone at the
        end."""
        with tempfile.TemporaryDirectory(prefix="mqttd-") as folder:
            path = os.path.join(folder, "s")
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(path)
            broker = Broker(
                listeners=[{"listener": f"0 {path}"}, {"listener": f"{free_port()} 127.0.0.1"}]
            )
            with broker:
                with Client(path) as local, Client(broker.addresses()[1]) as remote:
                    local.subscribe("t", 2)
                    remote.publish("t", b"x" * 200_000, 2)
                    self.assertEqual(local.message().payload, b"x" * 200_000)
                    local.publish("t", b"back", 1)
                    self.assertEqual(local.message().payload, b"back")
            self.assertFalse(os.path.exists(path))

    def test_above_max_connections_the_answer_is_connack_3(self):
        """The cap holds per listener, the refused client is told, and a place that is freed is
        given away."""
        with Broker(
            listeners=[{"listener": f"{free_port()} 127.0.0.1", "max_connections": 3}]
        ) as broker:
            inside = [Client(broker.address) for _ in range(3)]
            for _ in range(5):
                with Client(broker.address, "late", handshake=False) as late:
                    late.send(connect("late"))
                    self.assertEqual(late.expect(CONNACK).body, b"\x00\x03")
                    self.assertTrue(late.closed())
            self.assertTrue(all(client.alive() for client in inside))
            inside[0].disconnect()

            def let_in():
                try:
                    with Client(broker.address, "late") as late:
                        return late.alive()
                except (AssertionError, OSError):
                    return False

            self.assertTrue(wait_until(let_in, 3))
            for client in inside:
                client.close()

    def test_connect_timeout_closes_who_does_not_connect(self):
        """Silence, and half a CONNECT, end after connect_timeout; a client that connected stays."""
        listener = {
            "listener": f"{free_port()} 127.0.0.1",
            "connect_timeout": 1,
            "tcp_defer_accept": "false",
        }
        with Broker(listeners=[listener]) as broker:
            client = Client(broker.address)
            started = time.monotonic()
            silent = Client(broker.address, handshake=False)
            half = Client(broker.address, "half", handshake=False).send(connect("half")[:-1])
            for late in (silent, half):
                self.assertTrue(late.closed(4))
            self.assertGreater(time.monotonic() - started, 0.9)
            self.assertLess(time.monotonic() - started, 3.2)
            self.assertTrue(client.alive())
            client.close()

    def test_a_silent_socket_is_closed_with_the_defaults_too(self):
        """With tcp_defer_accept the kernel holds it back first; it does not stay for ever."""
        with Broker(
            listeners=[{"listener": f"{free_port()} 127.0.0.1", "connect_timeout": 1}]
        ) as broker:
            silent = Client(broker.address, handshake=False)
            self.assertTrue(silent.closed(9), "still open after 9 s with connect_timeout 1")

    def test_a_second_broker_on_the_same_port_is_refused(self):
        """It ends with status 1 and names the port; the first one does not notice."""
        with Broker() as broker, Client(broker.address) as client:
            second = run(broker.binary, "-c", broker.config_path)
            self.assertEqual(second.returncode, 1)
            self.assertIn(str(broker.port), second.stderr)
            self.assertTrue(client.alive())
            self.assertTrue(Client(broker.address).alive())

    def test_if_one_listener_cannot_be_had_none_is_opened(self):
        """The second port is taken: the broker ends, and the first port is free again."""
        with Broker() as broker:
            fresh = free_port()
            path = os.path.join(broker.folder, "two.conf")
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"listener {fresh} 127.0.0.1\nlistener {broker.port} 127.0.0.1\n")
            self.assertEqual(run(broker.binary, "-c", path).returncode, 1)
            self.assertFalse(is_listening(fresh))

    def test_a_burst_of_connections_is_all_served(self):
        """500 sockets opened before the first one speaks: every one gets its CONNACK."""
        with Broker(
            listeners=[{"listener": f"{free_port()} 127.0.0.1", "connect_timeout": 30}]
        ) as broker:
            sockets = [open_socket(broker.address) for _ in range(500)]
            for number, sock in enumerate(sockets):
                sock.sendall(connect(f"burst-{number}"))
            for sock in sockets:
                self.assertEqual(sock.recv(4), b"\x20\x02\x00\x00")
            for sock in sockets:
                sock.close()

    def test_an_abrupt_reset_frees_the_place(self):
        """Clients that reset their connection are gone from the count within an interval."""
        with Broker({"sys_interval": 1}) as broker:
            for _ in range(20):
                Client(broker.address).reset()
            # The client that asks may be counted itself.
            self.assertTrue(wait_until(lambda: int(broker.sys("clients/connected")) <= 1, 4, 0.2))


if __name__ == "__main__":
    unittest.main()
