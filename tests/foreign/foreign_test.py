"""Faults of an engine that is not ours, and altered model files: operation, side and cause must be named.

One draw of layer and parameter each; ASSAY_SLOW=1: twenty, and the default model, too.
"""
import json
import os
import pathlib
import random
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(pathlib.Path(__file__).parent), str(ROOT / "tests/cli")]

try:
    import alter
    import engine
except ImportError as missing:
    raise unittest.SkipTest(f"{missing}") from None
from cli_test import assay

KJV = ROOT / "tests/data/kjv/kjv.gguf"
SLOW = bool(os.environ.get("ASSAY_SLOW"))
CACHE = pathlib.Path(os.environ.get("ASSAY_CACHE") or
                     pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "assay")
DEFAULT = CACHE / "models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
SEEDS = range(1, 21 if SLOW else 2)

# Parameters, drawn from what shows: a clip below what the small model's residuals reach, and so on.
PARAMETERS = {
    "rope-base": ("base", lambda draw: round(10 ** draw.uniform(3, 3.9))),
    "rope-scaling": ("factor", lambda draw: round(draw.uniform(1.5, 9), 2)),
    "norm-eps": ("eps", lambda draw: 10 ** draw.uniform(-4, -1)),
    "clipped": ("c", lambda draw: draw.uniform(0.2, 0.6)),
    "k-tail": ("tail", lambda draw: draw.randrange(1, 60)),
    "m-tail": ("tail", lambda draw: draw.randrange(2, 40)),
    "window": ("window", lambda draw: draw.randrange(2, 11)),
    "softcap": ("cap", lambda draw: draw.uniform(1, 5)),
    "scaled-weight": ("c", lambda draw: draw.uniform(1.2, 3)),
    "residual-scale": ("c", lambda draw: draw.uniform(0.2, 0.9)),
    "embedding-scale": ("c", lambda draw: draw.uniform(2, 30)),
    "rope-off-by-one": ("by", lambda draw: draw.randrange(1, 20)),
    "wrong-rows": ("row", lambda draw: draw.randrange(0, 100)),
    "shifted-rows": ("by", lambda draw: draw.randrange(1, 50)),
}


def diff(a, b, model):
    done = assay("diff", a, b, "-m", model, "--runs", "0", "--json")
    if not done.stdout:
        raise AssertionError(done.stderr)
    return done.returncode, json.loads(done.stdout)


class Named(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return pathlib.Path(self.folder.name, name)

    def check(self, found, operation, causes, what):
        code, report = found
        self.assertEqual((code, report["verdict"]), (1, "FAIL"), what)
        self.assertEqual((report["first"]["operation"], report["first"]["side"]), (operation, "a"), what)
        self.assertIn(report["cause"]["id"], causes, f"{what}: {report['cause']}")

    def tokens(self, draw):
        return [1] + [draw.randrange(3, 2000) for _ in range(13)]


class Foreign(Named):
    def seed_all(self, path, names, seeds):
        model = engine.Model(str(path))
        for seed in seeds:
            draw = random.Random(seed)
            tokens, decode = self.tokens(draw), [draw.randrange(3, 2000)]
            right, wrong = self.path("right"), self.path("wrong")
            engine.run(model, tokens, decode, engine.Fault(), right)
            code, report = diff(right, right, path)
            self.assertEqual((code, report["verdict"]), (0, "PASS"), report["sentence"])
            for name in names:
                layer = draw.randrange(model.layers)
                operation, cause = engine.FAULTS[name]
                text = f"{name}:layer={layer}"
                if name in PARAMETERS:
                    key, value = PARAMETERS[name]
                    text += f",{key}={value(draw)}"
                with self.subTest(fault=text, seed=seed):
                    engine.run(model, tokens, decode, engine.Fault(text), wrong)
                    whole = operation in ("embd", "logits")
                    self.check(diff(wrong, right, path), operation if whole else f"blk.{layer}.{operation}", {cause}, text)

    def test_faults_of_a_numpy_engine(self):
        # min-ignored wants a matrix of Q4_1; the head that is another one, a model with its own.
        self.seed_all(KJV, [name for name in engine.FAULTS if not name.startswith("min-")], SEEDS)

    @unittest.skipUnless(SLOW, "a part of make test-all")
    def test_faults_on_the_default_model(self):
        # Its values are other ones: eps shows only where it is large, softcaps and clips likewise.
        names = [name for name in engine.FAULTS if name not in ("head-other", "norm-eps")]
        self.seed_all(DEFAULT, names, range(1, 4))


class Altered(Named):
    def alter_all(self, path, seeds):
        layers = engine.Model(str(path)).layers
        for seed in seeds:
            draw = random.Random(seed)
            tokens = ",".join(map(str, self.tokens(draw)))
            right, wrong, other = self.path("right"), self.path("wrong"), self.path("altered.gguf")
            self.assertEqual(assay("trace", "record", path, "--tokens", tokens, "-o", right).returncode, 0)
            for name, (_, operation, cause) in alter.ALTERATIONS.items():
                with self.subTest(altered=name, seed=seed):
                    layer = alter.alter_somewhere(path, other, name, draw.sample(range(layers), layers))
                    self.assertIsNotNone(layer, f"{name} fits no layer")
                    self.assertEqual(assay("trace", "record", other, "--tokens", tokens, "-o", wrong).returncode, 0)
                    operation = operation if operation.startswith("blk.") else f"blk.{layer}.{operation}"
                    # A row of the small model may be a single block.
                    causes = {cause, "weight-row-shift"} if cause == "weight-block-shift" else {cause}
                    self.check(diff(wrong, right, path), operation, causes, f"{name} {layer}")
                    refused = assay("diff", wrong, right)
                    self.assertEqual(refused.returncode, 2, name)
                    self.assertIn("the weights differ", refused.stderr)

    def test_altered_files_of_the_small_model(self):
        self.alter_all(KJV, SEEDS)

    @unittest.skipUnless(SLOW, "a part of make test-all")
    def test_altered_files_of_the_default_model(self):
        self.alter_all(DEFAULT, range(1, 4))

    def test_dropped_bos_is_refused_with_both_lists(self):
        model = engine.Model(str(KJV))
        for name, tokens in (("with", [1, 300, 391]), ("without", [300, 391])):
            engine.run(model, tokens, [], engine.Fault(), self.path(name))
        done = assay("diff", self.path("without"), self.path("with"), "-m", KJV, "--json")
        self.assertEqual(done.returncode, 2)
        self.assertIn("[1,300,391]", done.stderr)
        self.assertIn("BOS", done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report["verdict"], report["first"], report["cause"]["id"]), ("UNMEASURED", None, "inputs-differ"))


if __name__ == "__main__":
    unittest.main()
