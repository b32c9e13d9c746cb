"""`assay convert` and assay's logits of each family's folder against transformers' stored logits; no torch is needed."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

try:
    import numpy

    import compare
    import families
    import models
except ImportError as missing:
    raise unittest.SkipTest(f"{missing}") from None

# What assay does not run yet, with a part of its sentence.
REFUSED = {}


def run(*command):
    return subprocess.run([compare.BINARY, *map(str, command)], capture_output=True, text=True, timeout=600,
                          stdin=subprocess.DEVNULL)


def limit_of(stored):
    """The context limit of a sequence that is longer than the model's own."""
    beyond = stored.case.tokens > stored.config["max_position_embeddings"]
    return ["-c", stored.case.tokens] if beyond else []


def last_line(done):
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


class Stored(unittest.TestCase):
    def test_every_case_is_stored_with_its_configuration(self):
        self.assertEqual({path.stem for path in families.STORED.glob("*.safetensors")}, set(families.CASES))
        for name, case in families.CASES.items():
            with self.subTest(name):
                file = models.read_safetensors(str(families.STORED / f"{name}.safetensors"))
                self.assertEqual(json.loads(file.metadata["case"]), json.loads(json.dumps(case.config)))
                self.assertEqual(file.tensors["positions"].tolist(), families.positions(case))
                self.assertEqual(file.tensors["logits"].shape, (len(families.positions(case)), families.VOCABULARY))


class Agrees(unittest.TestCase):
    """One test a case, made below."""

    def check(self, name):
        stored = families.stored(name)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            families.write_folder(folder, stored.config, families.draw(stored.shapes, stored.fixed, stored.case.seed))
            done = run("convert", folder, "-o", folder / "model.gguf")
            if name in REFUSED:
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(REFUSED[name], last_line(done))
                return
            self.assertEqual(done.returncode, 0, last_line(done))
            tokens = ",".join(map(str, families.tokens(stored.case)))
            for device, limit in compare.LIMITS.items():
                more = ["--contract", "exact"] if device == "reference" else []
                done = run("logits", folder / "model.gguf", "--tokens", tokens, "--device", device, "--kv", "f32", *more,
                           *limit_of(stored),
                           "-o", folder / "logits.safetensors")
                self.assertEqual(done.returncode, 0, last_line(done))
                ours = models.read_safetensors(folder / "logits.safetensors").tensors["logits"][stored.positions]
                error = models.error(ours, stored.logits)
                self.assertLessEqual(error, limit, device)


class Packed(unittest.TestCase):
    """The experts of a released gpt-oss folder are MXFP4: bytes of two values each, and a scale for 32."""

    def test_a_folder_in_mxfp4_gives_the_bits_of_the_unpacked_one(self):
        stored = families.stored("GptOss")
        plain = families.draw(stored.shapes, stored.fixed, stored.case.seed)
        packed = {}
        source = models.Draw(77)
        for name, values in plain.items():
            if not name.endswith(("gate_up_proj", "down_proj")):
                packed[name] = values
                continue
            experts, columns, rows = values.shape  # a packed matrix has a row for each output
            blocks = source.integers(experts * rows * columns // 2, 256).astype(numpy.uint8)
            scales = (source.integers(experts * rows * columns // 32, 4) + 122).astype(numpy.uint8)
            packed[name + "_blocks"] = blocks.reshape(experts, rows, columns // 32, 16)
            packed[name + "_scales"] = scales.reshape(experts, rows, columns // 32)
            plain[name] = families.unpacked(packed[name + "_blocks"], packed[name + "_scales"]).transpose(0, 2, 1).copy()
        quantised = {**stored.config, "quantization_config": {"quant_method": "mxfp4"}}
        logits = [self.logits(config, weights) for config, weights in ((stored.config, plain), (quantised, packed))]
        self.assertGreater(numpy.abs(logits[0]).max(), 0.1)
        self.assertEqual(logits[0].tobytes(), logits[1].tobytes())

    def logits(self, config, weights):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            families.write_folder(folder, config, weights)
            done = run("convert", folder, "-o", folder / "model.gguf")
            self.assertEqual(done.returncode, 0, last_line(done))
            done = run("logits", folder / "model.gguf", "--tokens", "1,2,3,250,77,8", "--device", "reference", "--contract", "exact",
                       "-o", folder / "logits.safetensors")
            self.assertEqual(done.returncode, 0, last_line(done))
            return models.read_safetensors(folder / "logits.safetensors").tensors["logits"].copy()

class Judges(unittest.TestCase):
    """`assay diff -m FOLDER`: the folder's weights, without a file of them that stays."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.hub, self.temporary, self.trace = self.folder / "hub", self.folder / "tmp", self.folder / "x.safetensors"
        self.hub.mkdir()
        self.temporary.mkdir()
        stored = families.stored("Qwen3")
        self.weights = families.draw(stored.shapes, stored.fixed, stored.case.seed)
        self.config = stored.config
        families.write_folder(self.hub, self.config, self.weights)
        model = self.folder / "model.gguf"
        self.assertEqual(run("convert", self.hub, "-o", model).returncode, 0)
        self.assertEqual(run("trace", "record", model, "--tokens", "1,5,9,77", "-o", self.trace).returncode, 0)

    def diff(self, *more):
        done = subprocess.run([compare.BINARY, "diff", str(self.trace), "-m", str(self.hub), "--json", *more], text=True,
                              capture_output=True, timeout=600, stdin=subprocess.DEVNULL,
                              env={**os.environ, "TMPDIR": str(self.temporary)})
        self.assertEqual(list(self.temporary.iterdir()), [])
        return done

    def test_by_the_folders_weights(self):
        done = self.diff()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(json.loads(done.stdout)["verdict"], "PASS")
        page = self.folder / "page.html"
        self.diff("--html", str(page))
        self.assertIn(str(self.hub), page.read_text())

    def test_another_weight_is_found(self):
        self.weights["model.layers.2.mlp.up_proj.weight"] *= 1.5
        families.write_folder(self.hub, self.config, self.weights)
        done = self.diff()
        self.assertEqual((done.returncode, json.loads(done.stdout)["first"]["operation"]), (1, "blk.2.up"))

    def test_a_tokenizer_that_cannot_be_converted_does_not_matter(self):
        (self.hub / "tokenizer.json").write_text('{"model": {"type": "Unigram", "vocab": []}}')
        self.assertEqual(run("convert", self.hub, "-o", self.folder / "other.gguf").returncode, 2)
        self.assertEqual(self.diff().returncode, 0)

    def test_a_folder_that_is_refused_is_refused_with_its_sentence(self):
        (self.hub / "config.json").write_text(json.dumps({**self.config, "architectures": ["NoSuchForCausalLM"]}))
        done = self.diff()
        self.assertEqual(done.returncode, 2)
        self.assertIn("NoSuchForCausalLM", done.stderr)

    def test_other_commands_take_it(self):
        shown = run("trace", "show", self.trace, "--model", self.hub, "--runs", "0")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        named = run("trace", "names", self.trace, "-m", self.hub)
        self.assertEqual(named.returncode, 0, named.stderr)
        self.assertIn("blk.{n}.q_norm: blk.{n}.q_norm  # 4 layers, sure", named.stdout)


def agrees(name):
    return lambda self: self.check(name)


for each in families.CASES:
    setattr(Agrees, f"test_{each.replace('-', '_')}", agrees(each))


if __name__ == "__main__":
    unittest.main()
