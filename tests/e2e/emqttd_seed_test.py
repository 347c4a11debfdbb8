"""conf/emqttd-seed.conf with the real binary: a copy of it on a port of ours."""

import os
import re
import shutil
import subprocess
import unittest

from support import ROOT, Broker, free_port, run
from wire import Client, publish

CONF = os.path.join(ROOT, "conf", "emqttd-seed.conf")


class SeedBroker(Broker):
    """The file as it is, but for the port and the account."""

    def __init__(self):
        super().__init__(listeners=[{"listener": str(free_port())}])

    def write_config(self, config):
        with open(CONF, encoding="utf-8") as file:
            text, moved = re.subn(r"(?m)^listener 1883$", f"listener {self.port}", file.read())
        assert moved == 1, "the file has one listener, on 1883"
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(("user root\n" if os.geteuid() == 0 else "") + text)


class Seed(unittest.TestCase):
    def setUp(self):
        self.broker = SeedBroker().start()
        self.addCleanup(self.broker.stop)

    def test_it_serves_mosquittos_clients(self):
        """Live at each QoS, and retained; nobody needs a name or password."""
        place = ["-h", "127.0.0.1", "-p", str(self.broker.port)]
        sub = subprocess.Popen(
            ["stdbuf", "-oL", "mosquitto_sub", "-d", *place, "-W", "10", "-q", "2"]
            + ["-C", "3", "-F", "got %q %t %p", "-t", "seed/#"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(sub.stdout.close)
        for line in sub.stdout:
            if line.startswith("Subscribed"):
                break
        for qos in "012":
            said = run("mosquitto_pub", *place, "-q", qos, "-r", "-t", f"seed/{qos}", "-m", "x" + qos)
            self.assertEqual(said.returncode, 0, said.stderr)
        got = [line.strip() for line in sub.stdout if line.startswith("got ")]
        self.assertEqual(sub.wait(10), 0)
        self.assertEqual(got, ["got 0 seed/0 x0", "got 1 seed/1 x1", "got 2 seed/2 x2"])
        late = run("mosquitto_sub", *place, "-W", "10", "-C", "3", "-F", "%r %t %p", "-t", "seed/+")
        self.assertEqual(sorted(late.stdout.split("\n")[:3]), [f"1 seed/{q} x{q}" for q in "012"])

    @unittest.skipUnless(shutil.which("ss"), "needs ss")
    def test_the_kernel_keeps_1024_connections_waiting(self):
        """backlog 1024 reaches listen(2), on both addresses; the kernel may cut it to somaxconn."""
        with open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
            wanted = min(1024, int(file.read()))
        rows = run("ss", "-Hltn", f"sport = :{self.broker.port}").stdout.splitlines()
        self.assertIn(len(rows), (1, 2))  # one where there is no IPv6
        self.assertEqual({int(row.split()[2]) for row in rows}, {wanted}, rows)

    def test_it_starts_without_complaints_about_the_file(self):
        """And says what it is: nothing is unknown, nothing is set twice."""
        self.assertNotRegex(self.broker.log(), r"(?i)warning:|error")
        result = run(self.broker.binary, "--test-config", "-c", CONF)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_a_packet_above_64_kib_ends_its_connection_alone(self):
        """max_packet_size 65536, seen from outside: the largest passes, one byte more does not."""
        largest = publish("t", bytes(65529))
        self.assertEqual(len(largest), 65536)
        reader, writer = Client(self.broker.address), Client(self.broker.address)
        reader.subscribe("t")
        writer.send(largest)
        self.assertEqual(len(reader.message().payload), 65529)
        self.assertTrue(writer.alive())
        writer.send(publish("t", bytes(65530))[:4])  # its length is enough
        self.assertTrue(writer.closed())
        self.assertTrue(reader.alive())
        reader.close()
        writer.close()


if __name__ == "__main__":
    unittest.main()
