"""llama.cpp with fused attention, of which only the layers' outputs are recorded: right, and of altered model files.

What was not recorded is computed by the judge; the segment between the last right output and the first wrong one is named,
and of most faults the operation inside it. Run where llama-cpp-python is installed (ASSAY_PYTHON).
"""
import json
import os
import pathlib
import shlex
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(pathlib.Path(__file__).parent), str(ROOT / "tests/cli"), str(ROOT / "python")]

try:
    import alter
except ImportError as missing:
    raise unittest.SkipTest(f"{missing}") from None
from assay import trace
from cli_test import WithFolder, assay
from invariants_test import PYTHON, llama_cpp_is_missing

KJV = ROOT / "tests/data/kjv/kjv.gguf"
SLOW = bool(os.environ.get("ASSAY_SLOW"))
LAYERS = 6
TOKENS = "1,300,391,394,1991,948,388,298,1044,261,1798,1249,513,729"


class Coarse(WithFolder):
    @classmethod
    def setUpClass(cls):
        if why := llama_cpp_is_missing():
            raise unittest.SkipTest(why)
        super().setUpClass()

    def capture(self, model, name, *options):
        path = self.path(name)
        done = subprocess.run([PYTHON, "-m", "assay.capture", "llama_cpp", str(model), "--tokens", TOKENS, "--threads", "1",
                               "-o", str(path), *options], env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("observer effect: none", done.stderr)
        return path

    def diff(self, path, *options):
        done = assay("diff", path, "-m", KJV, "--json", *options)
        self.assertTrue(done.stdout, done.stderr)
        report = json.loads(done.stdout)
        return done.returncode, report

    def test_right_ones_pass(self):
        for flash in ("on", "off"):
            for only, after in (("blk.*.out", ["out_norm", "logits"]), ("blk.*.out,logits", []), ("blk.1.out,blk.4.kqv,logits", [])):
                with self.subTest(flash=flash, only=only):
                    path = self.capture(KJV, "right", "--flash", flash, "--decode", "2", "--only", only)
                    code, report = self.diff(path)
                    self.assertEqual((code, report["verdict"]), (0, "PASS"), report["sentence"])
                    self.assertEqual((report["coverage"]["unmeasured"], report["coverage"]["after_record"]), ([], after))
                    self.assertEqual(trace.read(path).metadata["flash"], flash)

    # Of these the operation is named from layers' outputs alone; gate and up exchanged are one fault of what reads both.
    NAMED = {"permuted-q": "q", "permuted-k": "k", "swapped-gate-up": "act", "transposed-q": "q", "scaled-norm": "ffn_norm",
             "shifted-blocks": "up", "other-layer": "v", "eps": "attn_norm", "rope-base": "q_rope"}
    CAUSES = {"swapped-gate-up": "gate-up-swapped"}  # else that of every record

    def altered(self, name, layer):
        """(altered file, layer, its operation that is wrong first)."""
        model = self.path(f"{name}.gguf")
        fits = alter.alter_somewhere(KJV, model, name, [(layer + i) % LAYERS for i in range(LAYERS)])
        self.assertIsNotNone(fits, f"{name} fits no layer")
        operation = alter.ALTERATIONS[name][1]
        return model, operation if operation.startswith("blk.") else f"blk.{fits}.{operation}"

    def test_the_segment_of_an_altered_file_is_named(self):
        for i, (name, (_, _, cause)) in enumerate(alter.ALTERATIONS.items()):
            flash = ("on", "off")[i % 2]
            with self.subTest(name, flash=flash):
                model, operation = self.altered(name, i)
                code, report = self.diff(self.capture(model, "wrong", "--flash", flash, "--only", "blk.*.out"))
                self.assertEqual(code, 1, report["sentence"])
                layer = int(operation.split(".")[1])
                first, found = report["first"], report["cause"]
                self.assertEqual((first["operation"], first["after"]),
                                 (f"blk.{layer}.out", f"blk.{layer - 1}.out" if layer else "the tokens"), report["sentence"])
                self.assertTrue(first["record_next"].startswith(f"blk.{layer}."), report["sentence"])
                if name in self.NAMED:
                    self.assertEqual((found["operation"], found["id"]),
                                     (f"blk.{layer}.{self.NAMED[name]}", self.CAUSES.get(name, cause)), report["sentence"])
                else:
                    self.assertIn(found.get("operation"), (None, operation), report["sentence"])

    def test_what_narrow_prints_leads_to_the_operation(self):
        for i, name in enumerate(alter.ALTERATIONS if SLOW else ("permuted-k", "shifted-blocks", "one-row", "eps")):
            with self.subTest(name):
                model, operation = self.altered(name, i + 1)
                path = self.capture(model, "wrong", "--flash", "on", "--only", "blk.*.out")
                for _ in range(8):  # a layer has 16 operations, and each record divides what is left
                    code, report = self.diff(path, "--narrow")
                    self.assertEqual(code, 1, report["sentence"])
                    if "narrow" not in report:
                        break
                    self.assertIn(report["narrow"]["record"], report["narrow"]["command"])
                    path = self.follow(report["narrow"]["command"])
                self.assertEqual((report["first"]["operation"], report["first"]["after"]), (operation, None), report["sentence"])

    def follow(self, command):
        """What a printed command writes."""
        python, *words = shlex.split(command)
        self.assertEqual((python, words[-2:]), ("python", ["-o", "narrow.safetensors"]))
        done = subprocess.run([PYTHON, *words, "--threads", "1"], env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
                              cwd=self.path("."), capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.path("narrow.safetensors")


if __name__ == "__main__":
    unittest.main()
