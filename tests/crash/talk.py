"""A broker of its own, and clients that say MQTT 3.1.1 in plain bytes, for the programs beside it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def field(text):
    return len(text).to_bytes(2, "big") + text


def packet(first, body):
    size, head = len(body), bytes([first])
    while True:
        size, digit = size >> 7, size & 127
        head += bytes([digit | (128 if size else 0)])
        if not size:
            return head + body


def connect_packet(name, clean=True):
    return packet(0x10, field(b"MQTT") + bytes([4, 2 * clean, 0, 0]) + field(name))


def open_client(port, name, clean=True):
    """Connected and greeted; the broker may only be about to listen."""
    for patience in range(100, -1, -1):
        try:
            client = socket.create_connection(("127.0.0.1", port))
            break
        except ConnectionRefusedError:
            if patience == 0:
                raise
            time.sleep(0.05)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(connect_packet(name, clean))
    assert client.recv(4)[3] == 0
    return client


def sys_value(port, name):
    done = subprocess.run(
        ["mosquitto_sub", "-p", str(port), "-t", f"$SYS/broker/{name}", "-C", "1", "-W", "5"],
        capture_output=True, text=True, check=False)
    return done.stdout.strip()


class Broker:
    """`with Broker("memory_limit 1000000000") as broker:` a port and a folder of its own."""

    def __init__(self, *lines):
        self.folder = tempfile.mkdtemp(prefix="mqttd-crash-")
        os.chmod(self.folder, 0o755)  # root becomes another user
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.config = os.path.join(self.folder, "mqttd.conf")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("\n".join((f"listener {self.port} 127.0.0.1", "allow_anonymous true",
                                  "persistence true", f"persistence_location {self.folder}",
                                  *lines, "")))
        self.process = None

    def start(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen([os.path.join(ROOT, "mqttd"), "-c", self.config],
                                            stdout=log, stderr=log)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def __enter__(self):
        self.start()
        open_client(self.port, b"first").close()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
