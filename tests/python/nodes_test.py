"""Live: whatever a file may have, in llama.cpp's graph of each architecture, is judged and is right."""
import contextlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("ASSAY_BINARY", ROOT / "build/release/assay"))
SHARED = ROOT / ".." / "shared"
TOOLS = SHARED / "tools"
# Tiny models of many architectures, or a folder with more of them: llama.cpp's test-llama-archs writes them.
ARCHITECTURES = pathlib.Path(os.environ.get("ASSAY_ARCHITECTURES", SHARED / "data" / "architectures"))
TOKENS = "5,9,77,100,33"

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


def capture_to(path, model, *more):
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        code = capture.main(["llama_cpp", str(model), "--tokens", TOKENS, "--threads", "1", "-o", str(path), *more])
    if code:
        raise AssertionError(errors.getvalue())


def diff(path, model):
    done = subprocess.run([BINARY, "diff", path, "-m", model, "--json"], capture_output=True, text=True)
    return json.loads(done.stdout)


def altered(path, change, graph=True):
    """Writes the trace again, each key and tensor as `change` makes them; without what each tensor reads where not `graph`."""
    whole = trace.read(path)
    metadata = {key: value for key, value in whole.metadata.items()
                if key not in ("format", "engine", "tokens") and (graph or key != "graph")}
    writer = trace.TraceWriter(whole.metadata["engine"], tokens=whole.steps()[0]["tokens"], **metadata)
    for key in sorted(key for key in whole.tensors if key[6:7] == "."):
        writer.add(*change(key[7:], whole.tensors[key]))
    writer.write(path)


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
        capture_to(self.trace, self.model)

    def diff(self):
        return diff(self.trace, self.model)

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
            altered(self.trace, lambda name, array: (name.replace(known, unknown), array), graph=False)
            report = self.diff()
            self.assertEqual(report["verdict"], "UNMEASURED", report["sentence"])
            self.assertIn("the file has a bias", report["sentence"])
            self.assertEqual(len(report["coverage"]["unknown"]), 1)


@unittest.skipIf(LACKS or not ARCHITECTURES.is_dir(), LACKS or f"{ARCHITECTURES} is not there")
class Architectures(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.trace = pathlib.Path(folder.name, "trace")

    def runs(self, model):
        command = [BINARY, "logits", model, "--tokens", "1", "-o", self.trace]
        return subprocess.run(command, capture_output=True).returncode == 0

    def test_every_operation_of_llama_cpp_is_judged_and_right(self):
        judged = 0
        for i, model in enumerate(sorted(ARCHITECTURES.glob("*.gguf"))):
            if not self.runs(model):
                continue
            judged += 1
            with self.subTest(model.name):
                capture_to(self.trace, model, *(("--flash", "off", "--kv", "f32") if i % 2 else ()))
                report = diff(self.trace, model)
                self.assertEqual((report["verdict"], report["coverage"]["unmeasured"], report["coverage"]["unknown"]),
                                 ("PASS", [], []), report["sentence"])
        self.assertGreaterEqual(judged, 12)

    def test_names_do_not_matter_and_values_do(self):
        model = ARCHITECTURES / "gpt-oss-moe.gguf"
        capture_to(self.trace, model)
        altered(self.trace, lambda name, array: (re.sub(r"^(?!ffn_moe_|kqv_out)[\w ()]+", "node", name), array))
        self.assertEqual(diff(self.trace, model)["verdict"], "PASS")

        def wrong(name, array):
            return name, array + (name == "ffn_moe_down_biased-1.ADD_ID" and array.shape[-2] > 1) * numpy.float32(0.25)
        altered(self.trace, wrong)
        report = diff(self.trace, model)
        self.assertEqual((report["verdict"], report["first"]["operation"]), ("FAIL", "blk.1.experts_down"), report["sentence"])

    def test_a_sum_in_another_order_is_judged_as_a_whole(self):
        for model in ARCHITECTURES.glob("phi2-dense.gguf"):  # x + (attention + feed-forward part)
            capture_to(self.trace, model)
            altered(self.trace, lambda name, array: (name, array * numpy.float32(1.01) if name.startswith("l_out-1.") else array))
            report = diff(self.trace, model)
            self.assertEqual((report["verdict"], report["first"]["operation"]), ("FAIL", "blk.1.out"), report["sentence"])


if __name__ == "__main__":
    unittest.main()
