"""Live: every bias and scale that a file may have, in llama.cpp's graph of each architecture, is judged and is right."""
import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("ASSAY_BINARY", ROOT / "build/release/assay"))
TOOLS = ROOT / ".." / "shared" / "tools"

sys.path[:0] = [str(ROOT / "python"), str(TOOLS)]
from assay import capture, llama_cpp_engine, trace  # noqa: E402
from assay.captured import CaptureError  # noqa: E402

try:
    llama_cpp_engine.load_bindings()
    import gguf
    import tiny_model
    LACKS = "" if BINARY.exists() else f"{BINARY} is not built"
except (CaptureError, ImportError) as why:
    LACKS = str(why)

MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
LAYERS, HEAD = 2, 16  # of tiny_model's files


def scales(*matrices):
    return {f"blk.{layer}.{matrix}.scale": [0.5 + 0.25 * i] for layer in range(LAYERS) for i, matrix in enumerate(matrices)}


def vectors(**widths):
    """Random biases: of a tensor of every layer, or of the whole ("output")."""
    random = numpy.random.default_rng(7)
    return {f"{prefix}{name}.bias": random.standard_normal(width).astype("f4")
            for name, width in widths.items() for prefix in ([""] if name == "output" else [f"blk.{i}." for i in range(LAYERS)])}


def shape(architecture, tensors):
    """What the architecture has otherwise than llama."""
    for i in range(LAYERS):
        blk = f"blk.{i}."
        if architecture == "qwen3":
            tensors[blk + "attn_q_norm.weight"] = tensors[blk + "attn_k_norm.weight"] = numpy.linspace(0.5, 1.5, HEAD).astype("f4")
        if architecture == "phi3":
            tensors[blk + "attn_qkv.weight"] = numpy.concatenate([tensors.pop(f"{blk}attn_{one}.weight") for one in "qkv"])
            tensors[blk + "ffn_up.weight"] = numpy.concatenate([tensors.pop(blk + "ffn_gate.weight"), tensors[blk + "ffn_up.weight"]])


def cases():
    """(architecture, biases, scales, further tensors)"""
    for matrix in MATRICES:
        yield "llama", (matrix,), {}, {}
        yield "llama", (), scales(matrix), {}
        yield "llama", (matrix,), scales(matrix), {}
    yield "llama", MATRICES, scales(*MATRICES), {}
    for architecture in ("qwen2", "qwen3"):
        yield architecture, MATRICES[:3], scales(*MATRICES[:4]), {}
    yield "qwen2", (), {}, vectors(output=259)
    yield "qwen3", (), scales(*MATRICES), {}
    yield "phi3", (), {}, vectors(attn_q=64, attn_k=32, attn_v=32)
    yield "phi3", (), scales("attn_qkv", "attn_output"), vectors(attn_qkv=128)


@unittest.skipIf(LACKS, LACKS)
class Nodes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.model, self.trace = (pathlib.Path(folder.name, name) for name in ("model.gguf", "trace"))

    def make(self, architecture, biases, scales, more):
        writer = gguf.GGUFWriter
        with unittest.mock.patch.object(gguf, "GGUFWriter", lambda path, _: writer(path, architecture)):
            tiny_model.make(str(self.model), biases=biases, scales=scales,
                            extra=lambda tensors, _: (shape(architecture, tensors), tensors.update(more)))
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            code = capture.main(["llama_cpp", str(self.model), "--tokens", "5,9,77,100,33", "--threads", "1", "-o", str(self.trace)])
        self.assertEqual(code, 0, errors.getvalue())

    def diff(self):
        done = subprocess.run([BINARY, "diff", self.trace, "-m", self.model, "--json"], capture_output=True, text=True)
        return json.loads(done.stdout)

    def test_llama_cpp_is_right_whatever_the_file_has(self):
        for case in cases():
            with self.subTest(case[:2], scales=list(case[2]), more=list(case[3])):
                self.make(*case)
                report = self.diff()
                self.assertEqual((report["verdict"], report["coverage"]["unmeasured"], report["coverage"]["unknown"]),
                                 ("PASS", [], []), report["sentence"])

    def test_a_follow_up_that_is_not_known_leaves_its_product_unmeasured(self):
        for matrix, known, unknown in (("ffn_down", "ffn_out-1.ADD", "ffn_sum-1.ADD"), ("attn_q", "Qcur-1.ADD", "Qcur_b-1.ADD")):
            self.make("llama", (matrix,), {}, {})
            whole = trace.read(self.trace)
            writer = trace.TraceWriter(whole.metadata["engine"], tokens=whole.steps()[0]["tokens"])
            for key in sorted(key for key in whole.tensors if key[6:7] == "."):
                writer.add(key[7:].replace(known, unknown), whole.tensors[key])
            writer.write(self.trace)
            report = self.diff()
            self.assertEqual(report["verdict"], "UNMEASURED", report["sentence"])
            self.assertIn("the file has a bias", report["sentence"])
            self.assertEqual(len(report["coverage"]["unknown"]), 1)


if __name__ == "__main__":
    unittest.main()
