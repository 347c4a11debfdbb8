"""scripts/bench_compare: the arithmetic of its table, and one case from end to end."""

import os
import subprocess
import sys
import unittest

from support import ROOT, program

sys.path.insert(0, os.path.join(ROOT, "scripts", "bench_compare"))

import brokers  # noqa: E402
import cases  # noqa: E402
import table  # noqa: E402

COST = cases.Figure("cost", "s", None, rival=4, relay=1.5, most=3)
RATE = cases.Figure("rate", "/s", None, rival=2, more_is_better=True)


class Arithmetic(unittest.TestCase):
    def test_a_ratio_is_taken_by_pair_and_then_the_median(self):
        # The ratio of the medians would be 5; run beside run it is 4, 10, 1.
        self.assertEqual(table.ratio(COST, [1, 2, 9], [4, 20, 9]), 4)
        self.assertEqual(table.ratio(RATE, [8, 6], [4, 3]), 2)

    def test_runs_that_failed_are_left_out(self):
        self.assertEqual(table.ratio(COST, [1, None, 2], [4, 9, None]), 4)
        self.assertIsNone(table.ratio(COST, [None], [3]))
        self.assertIsNone(table.ratio(COST, [0.0], [3]))
        self.assertIsNone(table.median([None]))

    def test_a_target_is_met_at_itself_and_missed_just_beyond(self):
        def met(ours, mosquitto, relay):
            runs = {"mosquitto": [mosquitto], "relay": [relay]}
            return [met for _, met in table.verdicts(COST, [ours], runs)]

        self.assertEqual(met(3, 12, 2), [True, True, True])
        self.assertEqual(met(3, 11.9, 2), [False, True, True])
        self.assertEqual(met(3, 12, 1.9), [True, False, True])
        self.assertEqual(met(3.1, 13, 3), [True, True, False])

    def test_a_row_has_as_many_cells_as_the_head(self):
        names = ["mqttd", "mosquitto", "other", "relay"]
        head, rule = table.head(names).splitlines()
        runs = {"mqttd": [1.0], "mosquitto": [5.0], "relay": [2.0]}
        line, missed = table.row(cases.CASES[0], COST, names, runs)
        self.assertEqual(missed, 0)
        self.assertEqual({head.count("|"), rule.count("|")}, {line.count("|")})

    def test_every_case_is_there_once(self):
        letters = [case.letter for case in cases.CASES]
        self.assertEqual(len(letters), len(set(letters)))
        self.assertEqual({letter[0] for letter in letters}, set("ABCDEFGHIJKLMN"))

    def test_every_broker_has_a_name_of_its_own(self):
        found = brokers.kinds(["/x/mosquitto {port}", "/y/mqttd -p {port}", "/z/mqttd -p {port}"])
        names = [kind.name for kind in found]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual((names[0], names[-1]), ("mqttd", "relay"))

    def test_what_goes_through_the_relay_has_no_acknowledgements(self):
        self.assertEqual(cases.relayed(["-q", "1", "-S", "2"]), ["-S", "2"])
        self.assertEqual(cases.relayed(["-S", "2"]), ["-S", "2"])


class OneCase(unittest.TestCase):
    def test_a_quick_case_ends_in_a_table_with_every_broker(self):
        """The verdicts are the machine's affair; the figures must be there."""
        environment = dict(os.environ, QUICK="1", OTHER=f"{program()} -p {{port}}")
        done = subprocess.run(
            [sys.executable, os.path.join(ROOT, "scripts", "bench_compare", "run"), "A"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertIn(done.returncode, (0, 1), done.stderr)
        rows = [line for line in done.stdout.splitlines() if line.startswith("| A ")]
        self.assertEqual(len(rows), 3, done.stdout)
        self.assertRegex(done.stdout, r"(?m)^\d{4}-\d\d-\d\d, .+ cores, .+ Linux ")
        self.assertNotIn("| - |", rows[0])

    def test_an_unknown_case_is_refused_with_the_list(self):
        done = subprocess.run(
            [sys.executable, os.path.join(ROOT, "scripts", "bench_compare", "run"), "Z"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        self.assertEqual(done.returncode, 2)
        self.assertIn("10 000 idle clients", done.stderr)


if __name__ == "__main__":
    unittest.main()
