"""`assay trace show --log`: debugging logs as engines print them, right ones and ones with a planted fault."""
import json
import pathlib
import re
import sys
import types
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import FRANCE, FRANCE_IDS, MODEL, ROOT, SHARED, assay

sys.path.insert(0, str(ROOT / "python"))
from assay import trace

KJV = ROOT / "tests/data/kjv/kjv.gguf"
TOKENS = "1,300,391,394,1991,948,388,298"
STATS = ("--columns", "layer,rms,max_abs,min,max,mean,nan", "--columns", "id,logit")


def show(log, *arguments, code=0):
    done = assay("trace", "show", "--log", "-", *arguments, stdin=log)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout.splitlines()


class OurOwn(unittest.TestCase):
    """What `assay run --stats` prints."""
    @classmethod
    def setUpClass(cls):
        done = assay("run", KJV, "--tokens", TOKENS, "-n", "1", "--temp", "0", "--stats")
        assert done.returncode == 0, done.stderr
        cls.log = done.stderr

    def test_is_right(self):
        for seed in ("1", "2", "3"):
            lines = show(self.log, *STATS, "-m", KJV, "--tokens", TOKENS, "--seed", seed)
            self.assertRegex(lines[-1], r"^PASS each of 41 values lies where correct runs of this model do \(7 operations; 16 runs, 8 tokens\)")
        self.assertRegex(lines[0], r"^\d+ of \d+ lines do not fit the columns:$")
        self.assertTrue(any(line.startswith("  line 2: layer        RMS") for line in lines), lines)

    def test_a_planted_fault_is_named(self):
        value = re.search(r"^ +4 +(\S+)", self.log, re.MULTILINE)[1]
        for seed, factor in (("1", 1.05), ("2", 0.95), ("3", 2)):
            wrong = self.log.replace(value, f"{float(value) * factor:.4f}", 1)
            lines = show(wrong, *STATS, "-m", KJV, "--tokens", TOKENS, "--seed", seed, code=1)
            self.assertRegex(lines[-1], r"^FAIL first outside the ensemble: blk\.4\.out \(layer 4, line \d+: RMS is ")
            self.assertIn("what follows blk.4.out is inside again: the model went on with other values than those that were printed there", lines)

    def test_json_has_the_same_facts(self):
        done = assay("trace", "show", "--log", "-", *STATS, "-m", KJV, "--tokens", TOKENS, "--json", stdin=self.log)
        report = json.loads(done.stdout)
        self.assertEqual((done.returncode, report["schema"], report["verdict"], report["first"]), (0, "assay.trace-log/1", "PASS", None))
        self.assertEqual(report["reading"], {"results": "f32", "tokens": "all", "layers": "outputs", "max": "largest value"})
        self.assertEqual(len(report["values"]), 41)
        self.assertTrue(all(one["inside"] for one in report["values"]))
        self.assertEqual(report["tokens"], [int(t) for t in TOKENS.split(",")])
        wrong = assay("trace", "show", "--log", "-", "--columns", "layer,rms", "-m", KJV, "--json", "--tokens", TOKENS,
                      stdin="0 0.2503\n1 0.9\n")
        first = json.loads(wrong.stdout)["first"]
        self.assertEqual((wrong.returncode, first["operation"], first["layer"], first["line"], first["statistic"], first["got"]),
                         (1, "blk.1.out", 1, 2, "RMS", "0.9"))
        self.assertLess(first["normal"][1], 0.9)
        self.assertEqual(first["after"], "blk.0.out")

    def test_what_cannot_be_told_is_said(self):
        good = ("--columns", "layer,rms")
        for arguments, log, sentence in (
                ((*good, "-m", KJV), "0 0.25\n", "no line of the log names the prompt's tokens"),
                ((*good, "--tokens", "1"), "0 0.25\n", "a log names no model file"),
                ((*good, "-m", KJV), "tokens: [1, 2]\nids: [1, 3]\n0 0.25\n", "the log names 2 lists of tokens"),
                ((*good, "-m", KJV, "--tokens", "999999"), "0 0.25\n", "token 999999 is beyond the model's vocabulary"),
                ((*good, "-m", KJV, "--tokens", "1", "--runs", "0"), "0 0.25\n", "no correct runs were requested")):
            done = assay("trace", "show", "--log", "-", *arguments, stdin=log)
            self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
            self.assertIn("UNMEASURED: " + sentence, done.stderr)
            done = assay("trace", "show", "--log", "-", *arguments, "--json", stdin=log)
            self.assertEqual(json.loads(done.stdout)["verdict"], "UNMEASURED")
        lines = show("nothing\n", *good, "-m", KJV, "--tokens", "1", code=2)
        self.assertEqual(lines[-1], "UNMEASURED: no line of the log fits the columns")

    def test_wrong_use(self):
        for arguments, sentence in ((("--log", "-"), "--log needs --columns"), (("--log", "-", "x"), "give a trace or --log, not both"),
                                    (("x", "--columns", "layer,rms"), "can only be used with --log"),
                                    (("--log", "-", "--columns", "layer,rsm", "-m", KJV), "'rsm' is not a column"),
                                    (("--log", "-", "--columns", "layer,rms", "--html", "x"), "need a trace")):
            done = assay("trace", "show", *arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(sentence, done.stderr)


class Bfloat16(unittest.TestCase):
    """The tutorial's engine with its mistake mended, which rounds as PyTorch does."""
    @classmethod
    def setUpClass(cls):
        source = (ROOT / "docs/tutorial/engine.py").read_text()
        mended = source.replace("np.tile(x, (1, heads // x.shape[1], 1))", "np.repeat(x, heads // x.shape[1], axis=1)")
        assert mended != source
        cls.engine = types.ModuleType("mended")
        exec(mended, cls.engine.__dict__)
        cls.model, weights = cls.engine.read(KJV)
        cls.weights = {name: cls.engine.bf16(values) for name, values in weights.items()}

    def log(self, change=lambda layer, rms: rms):
        lines = []

        def keep(name, x):
            if found := re.fullmatch(r"blk\.(\d+)\.out", name):
                rms = np.sqrt((x.astype(float) ** 2).mean())
                lines.append(f"block {found[1]}: rms {change(int(found[1]), rms):.5f} max {abs(x).max():.5f}\n")
        self.engine.forward(self.model, self.weights, [int(t) for t in TOKENS.split(",")], self.engine.bf16, keep)
        return "".join(lines)

    def test_is_right_and_a_planted_fault_is_named(self):
        for seed, layer in (("1", 2), ("2", 5)):
            arguments = ("--columns", "layer,rms,max", "-m", KJV, "--tokens", TOKENS, "--seed", seed)
            lines = show(self.log(), *arguments)
            self.assertRegex(lines[-1], "^PASS each of 12 values")
            self.assertEqual(lines[-2], "the largest values are numbers of bf16: the log is compared with runs that keep every result in bf16")
            lines = show(self.log(lambda one, rms: 1.2 * rms if one == layer else rms), *arguments, code=1)
            self.assertRegex(lines[-1], rf"^FAIL first outside the ensemble: blk\.{layer}\.out \(layer {layer}, line {layer + 1}: RMS is ")


@unittest.skipUnless(MODEL.exists(), "the default model is not in the cache (make model)")
@unittest.skipUnless((SHARED / "traces").exists(), "the shared data is absent")
class LlamaCpp(unittest.TestCase):
    """Numbers that llama.cpp computed, printed as people print them."""
    @staticmethod
    def log(device, change=lambda layer, rms, most: (rms, most), last=False):
        values = trace.read(SHARED / f"traces/llama_cpp_{device}.safetensors").tensors
        text = f"input_ids: {FRANCE_IDS}\n"
        for key, x in values.items():
            if found := re.match(r"\d+\.l_out-(\d+)\.", key):
                rows = x.reshape(len(FRANCE_IDS), -1).astype(float)[-1 if last else 0:]
                rms, most = change(int(found[1]), np.sqrt((rows * rows).mean()), abs(rows).max())
                text += f"[{device}] layer={found[1]} | rms {rms:.5f} | max|x| {most:.3f}\n"
        logits = values["logits"].reshape(len(FRANCE_IDS), -1)[-1]
        return text + "top-5: " + ", ".join(f"{i} ({logits[i]:.2f})" for i in np.argsort(-logits)[:5]) + "\n"

    COLUMNS = ("--columns", "layer,rms,max,top5", "-m", MODEL)

    def test_right_ones_are_silent(self):
        self.assertRegex(show(self.log("cuda"), *self.COLUMNS)[-1], "^PASS each of 65 values")
        lines = show(self.log("cpu", last=True), *self.COLUMNS, "-p", FRANCE, "--seed", "5")
        self.assertRegex(lines[-1], "^PASS each of 65 values")
        self.assertIn("of the last token", lines[-2])

    def test_planted_faults_are_named(self):
        def louder(layer, rms, most):
            return (rms * 1.01 if layer == 17 else rms), most

        def clipped(layer, rms, most):
            return rms, min(most, 300)
        for seed, change, sentence in (("1", louder, r"blk\.17\.out \(layer 17, line \d+: RMS is "),
                                       ("2", clipped, r"blk\.2\.out \(layer 2, line \d+: max\|x\| is 300\.000, ")):
            lines = show(self.log("cuda", change), *self.COLUMNS, "--seed", seed, code=1)
            self.assertRegex(lines[-1], "^FAIL first outside the ensemble: " + sentence)


if __name__ == "__main__":
    unittest.main()
