"""`assay diff` across steps: positions go on from step to step, and a cache that is shown whole holds what was stored."""
import json
import pathlib
import sys
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import ROOT, WithFolder, assay

sys.path.insert(0, str(ROOT / "python"))
from assay import trace

KJV = ROOT / "tests/data/kjv/kjv.gguf"
TOKENS = "1,300,391,394,1991,948"
FAULTS = "--fault" in assay("trace", "record", "--help").stdout


class Steps(WithFolder):
    """A prompt of six tokens, then three steps of one: positions 6, 7 and 8."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ours = cls.record("ours")

    @classmethod
    def record(cls, name, *arguments):
        done = assay("trace", "record", KJV, "--tokens", TOKENS, "-n", 3, "-o", cls.path(name), *arguments)
        assert done.returncode == 0, done.stderr
        return cls.path(name)

    def rewritten(self, name, source, positions=None, change=lambda step, key, array, so_far: array):
        """The trace with the positions of its steps declared, and each array as `change` gives it back."""
        whole = trace.read(source)
        steps = [{"tokens": step["tokens"]} for step in whole.steps()]
        for number, first in (positions or {}).items():
            steps[number]["positions"] = [first + i for i in range(len(steps[number]["tokens"]))]
        writer = trace.TraceWriter(whole.metadata["engine"], steps=steps, kv="f16", model=str(KJV),
                                   contract=whole.metadata["contract"])
        so_far = {}
        for number in range(len(steps)):
            for key, array in whole.of_step(number).items():
                so_far[key] = np.concatenate([so_far[key], array]) if key in so_far else array
                writer.add(key, change(number, key, array.copy(), so_far[key]), number)
        writer.write(self.path(name))
        return self.path(name)

    def diff(self, path, code):
        done = assay("diff", path, "-m", KJV, "--json")
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout)

    # --- positions ---

    def test_positions_are_counted_whatever_the_trace_says(self):
        # The values are right; that the engine calls its steps otherwise makes none of them wrong.
        for positions in ({1: 6, 2: 7, 3: 8}, {1: 7, 2: 8, 3: 9}, {2: 6}):
            report = self.diff(self.rewritten("declared", self.ours, positions), code=0)
            self.assertEqual(report["verdict"], "PASS")

    @unittest.skipUnless(FAULTS, "a build without faults")
    def test_a_step_that_is_ahead_is_named_though_its_own_positions_fit(self):
        for shift in (1, 2):
            ahead = self.record(f"ahead{shift}", "--fault", f"position-ahead:shift={shift},layer=2")
            # As the engine would say it: the positions that it used.
            declared = self.rewritten("said", ahead, {1: 6 + shift, 2: 7 + shift, 3: 8 + shift})
            for path in (ahead, declared):
                report = self.diff(path, code=1)
                self.assertEqual((report["first"]["operation"], report["first"]["layer"], report["first"]["step"]),
                                 ("blk.2.q_rope", 2, 1), report["sentence"])
                self.assertEqual(report["cause"]["id"], "position-ahead", report["sentence"])
                self.assertIn(f"by {shift}", report["cause"]["evidence"])

    @unittest.skipUnless(FAULTS, "a build without faults")
    def test_where_every_step_is_ahead_nothing_is_wrong(self):
        report = self.diff(self.record("shifted", "--fault", "position-shifted:shift=3"), code=0)
        self.assertEqual(report["verdict"], "PASS")
        self.assertTrue(any("no score changes" in note for note in report["benign"]), report["benign"])

    # --- the cache ---

    def whole_cache(self, name, damage=lambda step, key, cache: None):
        def change(step, key, array, so_far):
            if key.endswith((".kv_k", ".kv_v")):
                array = so_far.copy()
                damage(step, key, array)
            return array
        return self.rewritten(name, self.ours, change=change)

    def test_a_cache_that_holds_what_was_stored_passes(self):
        self.assertEqual(self.diff(self.whole_cache("whole"), code=0)["verdict"], "PASS")

    def wrong(self, name, damage, cause):
        report = self.diff(self.whole_cache(name, damage), code=1)
        self.assertEqual((report["first"]["operation"], report["first"]["step"]), ("blk.3.kv", 2), report["sentence"])
        self.assertEqual(report["cause"]["id"], cause, report["sentence"])
        return report

    def test_stored_keys_that_were_lost_are_named(self):
        def zero(step, key, cache):
            if step == 2 and key == "blk.3.kv_k":
                cache[2:4] = 0
        report = self.wrong("zero", zero, "kv-page")
        self.assertIn("tokens 2 and 3", report["first"]["where"].replace("2 to 3", "2 and 3"))

    def test_a_slot_off_is_named(self):
        def moved(step, key, cache):
            if step == 2 and key.startswith("blk.3.kv_"):
                cache[1:4] = cache[2:5].copy()
        self.assertIn("1 position later", self.wrong("moved", moved, "kv-slot")["cause"]["evidence"])

    def test_what_nothing_explains_has_a_place(self):
        def other(step, key, cache):
            if step == 2 and key == "blk.3.kv_v":
                cache[1, 7] += 0.5
        report = self.wrong("other", other, "unknown")
        self.assertIn("token 1", report["first"]["where"])


if __name__ == "__main__":
    unittest.main()
