"""assay-synthetic: every shape, scaled down, runs with equal bits on the cpu and the emulated grid; what cannot be is refused."""
import json
import pathlib
import subprocess
import tempfile
import unittest

from cli_test import BINARY, assay

SYNTHETIC = pathlib.Path(BINARY).parent / "assay-synthetic"
TOKENS = ",".join(str(token) for token in range(3, 43))
SMALL = ["--layers", "2", "--width", "256", "--ffn", "256", "--heads", "4", "--kv-heads", "2", "--head-length", "64", "--vocab", "128"]
SHAPES = {"tinyllama-1.1b": [], "llama-3.1-8b": [], "qwen3-30b-a3b": ["--experts", "16", "--experts-used", "3"], "gpt-oss-20b": ["--experts", "8"]}


def synthetic(*arguments):
    return subprocess.run([SYNTHETIC, *map(str, arguments)], capture_output=True, text=True)


class Shapes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "model.gguf"

    def bits(self, *arguments):
        done = assay("logits", self.file, "--tokens", TOKENS, "--json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["logits_sha256"]

    def test_every_shape_runs_with_equal_bits(self):
        seen = set()
        for shape, more in SHAPES.items():
            done = synthetic("--shape", shape, *SMALL, *more, "-o", self.file)
            self.assertEqual(done.returncode, 0, done.stderr)
            bits = self.bits()
            self.assertEqual(bits, self.bits("--device", "emulated", "--cut", "7"), shape)
            seen.add(bits)
        # The rotation's base is all that sets the scaled-down Llamas apart.
        self.assertEqual(len(seen), len(SHAPES))

    def test_every_known_shape_is_tested(self):
        self.assertIn("{" + ",".join(SHAPES) + "}", synthetic("--help").stdout)

    def test_a_seed_is_other_weights_and_a_mix_other_formats(self):
        made = [self.made("--seed", 1), self.made("--seed", 1), self.made("--seed", 2), self.made("--type", "mxfp4_moe")]
        self.assertEqual(made[0], made[1])
        self.assertEqual(len(set(made)), 3)

    def made(self, *arguments):
        done = synthetic("--shape", "qwen3-30b-a3b", *SMALL, "--experts", 4, "--experts-used", 2, *arguments, "-o", self.file)
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.file.read_bytes()

    def test_what_cannot_be_is_refused(self):
        for arguments, message in ((["--head-length", "33"], "--head-length is 33, which is odd"),
                                   (["--kv-heads", "3"], "--kv-heads must divide --heads"),
                                   (["--experts", "4", "--experts-used", "5"], "--experts-used must be at most --experts"),
                                   (["--experts", "4"], "--experts needs --experts-used"),
                                   (["--ffn", "100"], "--ffn is 100, no multiple of the block of 256 that q4_k_m has")):
            done = synthetic(*arguments, "-o", self.file)
            self.assertEqual((done.returncode, done.stderr), (2, message + "\n"))
            self.assertFalse(self.file.exists())


if __name__ == "__main__":
    unittest.main()
