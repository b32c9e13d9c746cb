"""What the recorders write, judged: engines of the stand-in with the weights of the small model, right and wrong, with
names that are known and names of their own."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tests/python"), str(pathlib.Path(__file__).parent)]
try:
    import numpy as np
    import torch_stand_in as stand_in
    from engine import Model
except ImportError as missing:
    raise unittest.SkipTest(f"{missing}") from None
import assay  # noqa: E402
from assay import trace  # noqa: E402

BINARY = os.environ.get("ASSAY_BINARY", str(ROOT / "build/release/assay"))
KJV = ROOT / "tests/data/kjv/kjv.gguf"
TOKENS = [1, 300, 391, 394, 1991, 948]
LAYERS = 6


def run(*command):
    return subprocess.run([BINARY, *map(str, command)], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


class Recorded(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.weights = Model(KJV)

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.path = self.folder / "x.safetensors"
        self.names = self.folder / "names.yaml"

    def record(self, model, *steps, **options):
        with assay.record(model, self.path, **options):
            cache = stand_in.Cache()
            for step in steps or (TOKENS,):
                model(stand_in.ids(*step), cache=cache)

    def diff(self, *options):
        done = run("diff", self.path, "-m", KJV, "--json", *options)
        self.assertTrue(done.stdout, done.stderr)
        return done.returncode, json.loads(done.stdout)

    def propose(self):
        done = run("trace", "names", self.path, "-m", KJV, "-o", self.names, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_an_engine_with_transformers_tree_passes(self):
        self.record(stand_in.Llama(self.weights), TOKENS[:4], TOKENS[4:])
        code, verdict = self.diff()
        self.assertEqual((code, verdict["verdict"]), (0, "PASS"), verdict["sentence"])

    def test_its_fault_is_found(self):
        model = stand_in.Llama(self.weights)
        model.model.layers[3].mlp.down_proj.weight = model.model.layers[2].mlp.down_proj.weight
        self.record(model)
        code, verdict = self.diff()
        self.assertEqual((code, verdict["first"]["operation"]), (1, "blk.3.down"), verdict["sentence"])

    def test_names_of_its_own_are_found_by_values(self):
        self.record(stand_in.Llama(self.weights, transformers=False))
        proposal = self.propose()
        placed = {one["tensor"]: one for one in proposal["placed"]}
        for i in (0, LAYERS - 1):
            for own, name, halves in (("ln1", "attn_norm", False), ("mix.query", "q", True), ("mix.key", "k", True),
                                      ("mix.value", "v", False), ("mix.merge.in", "kqv", False), ("mix.merge", "attn_out", False),
                                      ("ln2.in", "attn_residual", False), ("ln2", "ffn_norm", False), ("feed.w1", "gate", False),
                                      ("feed.w3", "up", False), ("feed.w2.in", "act", False), ("feed.w2", "down", False)):
                one = placed[f"body.layers.{i}.{own}"]
                self.assertEqual((one["operation"], one["halves"], one["sure"]), (f"blk.{i}.{name}", halves, True), one)
        self.assertEqual(placed["to_words"]["operation"], "logits")
        self.assertEqual(proposal["not_placed"], [])
        # What no module gives: the rotated queries and keys.
        self.assertEqual({name.rsplit(".", 1)[1] for name in proposal["missing"]}, {"q_rope", "k_rope"})
        yaml = self.names.read_text()
        self.assertIn("body.layers.{n}.mix.query: blk.{n}.q halves  # 6 layers, sure", yaml)
        # With these names what was recorded is judged.
        code, verdict = self.diff("--names", self.names)
        self.assertNotEqual(code, 1, verdict["sentence"])
        judged = {one["name"]: one["a"]["verdict"] for one in verdict["operations"]}
        for name in ("embd", "blk.0.q", "blk.5.down", "blk.5.out", "logits"):
            self.assertEqual(judged[name], "PASS", name)
        self.assertEqual(verdict["coverage"]["unknown"], [])

    def test_names_are_found_where_an_operation_is_wrong(self):
        model = stand_in.Llama(self.weights, transformers=False)
        down = model.body.layers[1].feed.w2
        down.weight = stand_in.rounded(-down.weight.numpy(), "float32")
        self.record(model)
        placed = {one["tensor"]: one for one in self.propose()["placed"]}
        wrong = placed["body.layers.1.feed.w2"]
        self.assertEqual((wrong["operation"], wrong["evidence"]), ("blk.1.down", "follows"))
        self.assertEqual(placed["body.layers.4.feed.w2"]["operation"], "blk.4.down")
        code, verdict = self.diff("--names", self.names)
        self.assertEqual((code, verdict["first"]["operation"]), (1, "blk.1.down"), verdict["sentence"])

    def test_names_may_be_in_the_trace_itself(self):
        self.record(stand_in.Llama(self.weights, transformers=False))
        self.propose()
        names = {}
        for line in self.names.read_text().splitlines():
            own, _, name = line.split("#")[0].strip().partition(": ")
            if own:
                names[own] = None if name == "~" else name
        self.record(stand_in.Llama(self.weights, transformers=False), names=names)
        code, verdict = self.diff()
        self.assertNotEqual(code, 1, verdict["sentence"])
        self.assertEqual({one["name"]: one["a"]["verdict"] for one in verdict["operations"]}["blk.3.q"], "PASS")

    def test_an_engine_with_the_tree_of_vllm_passes(self):
        model = stand_in.serving_class("vllm")(self.weights)
        with assay.record(model, self.path):
            model.run(*TOKENS[:4])
            model.run(*TOKENS[4:])
        code, verdict = self.diff()
        self.assertEqual((code, verdict["verdict"]), (0, "PASS"), verdict["sentence"])

    def test_products_that_are_made_as_one_are_found(self):
        model = stand_in.serving_class("vllm")(self.weights)
        model.config.model_type = model.model.config.model_type = "unheard-of"  # so that names are paths
        with assay.record(model, self.path):
            model(stand_in.Tensor(np.array(TOKENS)), stand_in.Tensor(np.arange(len(TOKENS))))
        placed = {one["tensor"]: one for one in self.propose()["placed"]}
        one = placed["model.layers.2.mlp.gate_up_proj"]
        self.assertEqual((one["operation"], one["sure"]), ("blk.2.up", True))
        # Two of a norm: the sum is the block's output or attention's residual.
        self.assertEqual(placed["model.layers.2.post_attention_layernorm.1"]["operation"], "blk.2.attn_residual")
        self.assertEqual(placed["model.layers.2.input_layernorm.1"]["operation"], "blk.1.out")
        # Rows of all tokens, of which only the last has logits.
        self.assertEqual((placed["model.norm"]["operation"], placed["logits_processor"]["operation"]), ("out_norm", "logits"))
        code, verdict = self.diff("--names", self.names)
        judged = {one["name"]: one["a"]["verdict"] for one in verdict["operations"]}
        self.assertEqual([judged[name] for name in ("blk.2.gate", "blk.2.up", "blk.2.act", "blk.1.out", "out_norm", "logits")],
                         ["PASS"] * 6)

    def test_wrong_files_of_names_are_refused_with_a_sentence(self):
        self.record(stand_in.Llama(self.weights))
        for text, words in (("- a\n", "no map of names"), ("a: [b]\n", "no pair of names"), ("a: {n}: b\n", "not YAML"),
                            ("a: 'blk.{n}.q'\n", "has no {n}"), ("a: embd\na: embd\n", "twice"), ("a: b c\n", "no name")):
            self.names.write_text(text)
            done = run("diff", self.path, "-m", KJV, "--names", self.names)
            self.assertEqual(done.returncode, 2, text)
            self.assertIn(words, done.stderr.splitlines()[-1])

    def test_two_tensors_of_one_name_are_refused(self):
        self.record(stand_in.Llama(self.weights, transformers=False))
        self.names.write_text("to_words: logits\nbody.norm: logits\n")
        done = run("diff", self.path, "-m", KJV, "--names", self.names)
        self.assertEqual(done.returncode, 2)
        self.assertIn("'logits' occurs twice", done.stderr)

    def test_of_a_trace_without_tensors_that_fit_nothing_is_proposed(self):
        writer = trace.TraceWriter("none", tokens=TOKENS)
        writer.add("noise", np.ones((len(TOKENS), 7), "f4"))
        writer.write(self.path)
        done = run("trace", "names", self.path, "-m", KJV)
        self.assertEqual(done.returncode, 2)
        self.assertIn("no operation has its shape (6, 7)", done.stdout)


if __name__ == "__main__":
    unittest.main()
