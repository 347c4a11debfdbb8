"""scripts/tune-kernel: what it says about a kernel, which is a folder made for the test; --apply works
on that folder, never on the machine."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts", "tune-kernel"
)

# What a million connections want, to the last unit.
WANTED = {
    "fs.nr_open": "1021024",
    "fs.file-max": "1086560",
    "fs.epoll.max_user_watches": "1086560",
    "net.core.somaxconn": "65535",
    "net.ipv4.tcp_max_syn_backlog": "65535",
    "net.ipv4.tcp_syncookies": "1",
    "net.core.netdev_max_backlog": "16384",
    "net.ipv4.ip_local_port_range": "10240 65535",
    "net.ipv4.tcp_mem": "1000000 1500000 2000000",
    "net.ipv4.tcp_rmem": "4096 16384 33554432",
    "net.ipv4.tcp_wmem": "4096 16384 4194304",
    "net.ipv4.tcp_max_orphans": "262144",
    "net.ipv4.tcp_max_tw_buckets": "1000000",
    "net.netfilter.nf_conntrack_max": "1250000",
    "vm.overcommit_memory": "0",
}


def run(*arguments):
    return subprocess.run(
        [SCRIPT, *arguments], capture_output=True, text=True, timeout=30, check=False
    )


class Tune(unittest.TestCase):
    def setUp(self):
        self.proc = tempfile.mkdtemp(prefix="mqttd-e2e-")
        self.addCleanup(shutil.rmtree, self.proc, ignore_errors=True)
        for name, value in WANTED.items():
            self.put(name, value)
        self.write("meminfo", f"MemTotal:       {32 << 20} kB\nMemFree:  1 kB\n")
        self.write("self/limits", "Max open files            1024      1021024      files\n")

    def write(self, file, text):
        path = os.path.join(self.proc, file)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)

    def put(self, name, value):
        self.write("sys/" + name.replace(".", "/"), value.replace(" ", "\t") + "\n")

    def get(self, name):
        with open(os.path.join(self.proc, "sys", name.replace(".", "/")), encoding="utf-8") as file:
            return " ".join(file.read().split())

    def ask(self, *arguments):
        return run("--proc", self.proc, *arguments)

    def state(self, name, *arguments):
        """What is said of one setting: ok, short, ..."""
        done = self.ask(*arguments)
        text = done.stdout
        found = re.search(rf"^{re.escape(name)} .* {{1,}}(ok|short|set|NOT SET|not here)$", text, re.M)
        self.assertIsNotNone(found, f"{name} is not in\n{text}")
        short = re.search(r" short$", text, re.M) is not None
        self.assertEqual(done.returncode, 1 if short else 0)
        return found.group(1)

    def test_all_is_well(self):
        done = self.ask()
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("Everything is as wanted.", done.stdout)
        for name in [*WANTED, "ulimit -n (hard)", "memory"]:
            self.assertEqual(self.state(name), "ok")

    def test_every_setting_has_its_reason(self):
        lines = self.ask().stdout.splitlines()
        for name in WANTED:
            at = next(i for i, line in enumerate(lines) if line.startswith(name + " "))
            self.assertRegex(lines[at + 1], r"^    \S.{20,}", f"no reason for {name}")

    def test_one_less_is_short(self):
        """At least: one below, exactly, one above."""
        for name, wanted in WANTED.items():
            if not wanted.isdigit() or name in ("net.ipv4.tcp_syncookies", "vm.overcommit_memory"):
                continue
            for more, expected in ((-1, "short"), (0, "ok"), (1, "ok")):
                self.put(name, str(int(wanted) + more))
                self.assertEqual(self.state(name), expected, f"{name} {int(wanted) + more}")
            self.put(name, wanted)

    def test_numbers_of_three(self):
        for value, expected in (
            ("999999 1500000 2000000", "short"),
            ("1000000 1499999 2000000", "short"),
            ("1000000 1500000 1999999", "short"),
            ("1000001 1500001 2000001", "ok"),
        ):
            self.put("net.ipv4.tcp_mem", value)
            self.assertEqual(self.state("net.ipv4.tcp_mem"), expected, value)
        for value, expected in (("4096 16383 9", "ok"), ("4096 16385 9", "short")):
            self.put("net.ipv4.tcp_rmem", value)
            self.assertEqual(self.state("net.ipv4.tcp_rmem"), expected, value)

    def test_limits_of_a_process_and_memory(self):
        self.write("self/limits", "Max open files            1024      1021023      files\n")
        self.assertEqual(self.state("ulimit -n (hard)"), "short")
        self.write("self/limits", "Max open files            1024      unlimited    files\n")
        self.assertEqual(self.state("ulimit -n (hard)"), "ok")
        self.write("meminfo", "MemTotal:       4499999 kB\n")
        self.assertEqual(self.state("memory"), "short")
        self.write("meminfo", "MemTotal:       4500000 kB\n")
        self.assertEqual(self.state("memory"), "ok")

    def test_without_a_table_of_connections(self):
        os.remove(os.path.join(self.proc, "sys/net/netfilter/nf_conntrack_max"))
        done = self.ask()
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"nf_conntrack_max +not loaded +not loaded +ok")

    def test_fewer_connections_want_less(self):
        self.put("fs.nr_open", "3000")
        self.assertEqual(self.state("fs.nr_open"), "short")
        self.assertEqual(self.state("fs.nr_open", "--connections", "1000"), "ok")

    def test_conf_says_only_what_is_short(self):
        self.put("net.core.somaxconn", "4096")
        self.put("net.ipv4.tcp_rmem", "4096 131072 33554432")
        done = self.ask("--conf")
        self.assertEqual(done.returncode, 0)
        settings = [line for line in done.stdout.splitlines() if not line.startswith("#")]
        self.assertEqual(
            settings, ["net.core.somaxconn = 65535", "net.ipv4.tcp_rmem = 4096 16384 33554432"]
        )
        self.assertEqual(self.get("net.core.somaxconn"), "4096")

    def test_printing_changes_nothing(self):
        for name in WANTED:
            self.put(name, "1 99999 1" if " " in WANTED[name] else "0")
        before = {name: self.get(name) for name in WANTED}
        self.assertEqual(self.ask().returncode, 1)
        self.ask("--conf")
        self.assertEqual({name: self.get(name) for name in WANTED}, before)

    def test_apply_makes_it_so(self):
        """And takes nothing away from what is larger already."""
        self.put("net.core.somaxconn", "4096")
        self.put("fs.file-max", "9000000")
        self.put("net.ipv4.tcp_mem", "5 6 7000000")
        self.put("vm.overcommit_memory", "2")
        done = self.ask("--apply")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(self.get("net.core.somaxconn"), "65535")
        self.assertEqual(self.get("fs.file-max"), "9000000")
        self.assertEqual(self.get("net.ipv4.tcp_mem"), "1000000 1500000 7000000")
        self.assertEqual(self.get("vm.overcommit_memory"), "0")
        self.assertEqual(self.ask().returncode, 0)

    def test_what_cannot_be_set_is_said(self):
        # A file of the kernel's that holds a number and that not even root may write.
        name = os.path.join(self.proc, "sys/fs/nr_open")
        os.remove(name)
        os.symlink("/proc/sys/kernel/cap_last_cap", name)
        done = self.ask("--apply")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stdout, r"fs.nr_open .* NOT SET")
        self.assertIn("1 still short.", done.stdout)

    def test_the_command_line(self):
        self.assertEqual(run("--help").returncode, 0)
        self.assertIn("--connections", run("--help").stdout)
        for wrong in (
            ["--connections"],
            ["--connections", "999"],
            ["--connections", "4000001"],
            ["--connections", "many"],
            ["--connections", "-1000"],
            ["--apply", "--conf"],
            ["--what"],
            ["extra"],
        ):
            done = run(*wrong)
            self.assertEqual(done.returncode, 2, wrong)
            self.assertIn("scripts/tune-kernel:", done.stderr)
        for right in ("1000", "4000000"):
            self.assertIn(self.ask("--connections", right).returncode, (0, 1))

    def test_this_machine(self):
        """It has some kernel or other: every setting is told, and none is changed."""
        done = run()
        self.assertIn(done.returncode, (0, 1))
        self.assertEqual(done.stderr, "")
        for name in ("fs.nr_open", "net.core.somaxconn", "net.ipv4.tcp_mem", "ulimit -n (hard)"):
            self.assertIn(f"\n{name} ", done.stdout)


if __name__ == "__main__":
    unittest.main()
