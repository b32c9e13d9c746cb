"""`assay check` and `assay kit` against kernels that numpy computes here: right ones pass, wrong ones are named."""
import functools
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import ROOT, assay

KJV = ROOT / "tests/data/kjv/kjv.gguf"
THEIRS = ROOT / "tests/data/traces/kjv_8_flash.safetensors"
TOKENS = "1,300,391,394,1991,948,388,298"


# --- kernels: plain float32, but for RoPE's angles ---

def rope(x, positions, frequency, adjacent=True):
    """x: (tokens, heads, dim), frequency: (pairs)"""
    pairs = len(frequency)
    first, second = (np.arange(pairs) * 2, np.arange(pairs) * 2 + 1) if adjacent else (np.arange(pairs), np.arange(pairs) + pairs)
    angle = np.asarray(positions, "f8")[:, None, None] * frequency
    cos, sin = np.cos(angle).astype("f4"), np.sin(angle).astype("f4")
    y = x.copy()
    y[..., first] = x[..., first] * cos - x[..., second] * sin
    y[..., second] = x[..., first] * sin + x[..., second] * cos
    return y


def frequencies(base, dim):
    return float(base) ** (-np.arange(dim // 2) * 2 / dim)


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(eps)) * weight


def silu(x):
    return x / (1 + np.exp(-x))


def attention(q, k, v, positions, scale, mask=True, kv_head=None):
    """q: (tokens, heads, dim), k and v: (keys, kv_heads, dim)"""
    group = q.shape[1] // k.shape[1]
    heads = [kv_head(h) if kv_head else h // group for h in range(q.shape[1])]
    scores = np.einsum("thd,jhd->thj", q, k[:, heads]) * np.float32(scale)
    if mask:
        scores[np.broadcast_to((np.arange(len(k)) > np.asarray(positions)[:, None])[:, None], scores.shape)] = -np.inf
    p = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("thj,jhd->thd", p / p.sum(-1, keepdims=True), v[:, heads])


class Numpy(unittest.TestCase):
    """A folder for arrays, and a kit of the small model with whole matrices."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.kit = cls.folder / "kit"
        done = assay("kit", KJV, "-o", cls.kit, "--tokens", TOKENS, "--layers", "0,1", "--rows", "4096")
        assert done.returncode == 0, done.stderr
        cls.manifest = json.loads((cls.kit / "manifest.json").read_text())
        cls.cases = {case["name"]: case for case in cls.manifest["cases"]}
        cls.random = np.random.default_rng(7)

    def array(self, case, name):
        return np.load(self.kit / case / name)

    def normal(self, *shape):
        return self.random.standard_normal(shape).astype("f4")

    def save(self, name, array):
        path = self.folder / f"{name}.npy"
        np.save(path, array)
        return path

    def check(self, *operation, inputs, output, **flags):
        """The report, as JSON."""
        arguments = ["check", *operation, "--json"]
        for i, array in enumerate(inputs):
            arguments += ["--input", self.save(f"input{i}", array)]
        for name, value in flags.items():
            arguments += ["--" + name.replace("_", "-"), self.save(name, value) if isinstance(value, np.ndarray) else value]
        done = assay(*arguments, "--output", self.save("output", output))
        self.assertIn(done.returncode, (0, 1), done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["verdict"], ["PASS", "FAIL"][done.returncode])
        self.assertEqual(report["schema"], "assay.check/1")
        return report

    def passes(self, *operation, **arguments):
        report = self.check(*operation, **arguments)
        self.assertEqual(report["verdict"], "PASS", report["sentence"])
        self.assertIsNone(report["cause"])
        return report

    def fails(self, cause, *operation, **arguments):
        report = self.check(*operation, **arguments)
        self.assertEqual(report["verdict"], "FAIL", report["sentence"])
        self.assertEqual(report["cause"]["id"], cause, report["sentence"])
        return report


class OfAModel(Numpy):
    def product(self, operation):
        """Input and weight of a matrix product of the model."""
        return self.array(operation, "input0.npy"), self.array(operation, "weight.npy")

    def test_a_right_product_passes_by_either_name(self):
        x, weight = self.product("blk.0.q")
        for name in ("blk.0.q", "blk.0.attn_q", "blk.0.attn_q.weight"):
            report = self.passes(KJV, name, inputs=[x], output=x @ weight.T)
            self.assertEqual((report["operation"], report["fits"], report["contract"]), ("blk.0.q", ["f32"], "f32"))
        self.passes(KJV, "blk.0.attn_q", inputs=[x.reshape(8, 4, 64)], output=(x @ weight.T).reshape(1, 8, 256))

    def test_another_contract_is_named(self):
        x, weight = self.product("blk.0.q")
        report = self.fails("contract-f32", KJV, "blk.0.q", inputs=[x], output=x @ weight.T, contract="assay/1")
        self.assertIn("it fits f32", report["sentence"])
        self.passes(KJV, "blk.0.q", inputs=[x], output=self.array("blk.0.q", "expected.assay1.npy"), contract="assay/1")

    def test_wrong_products(self):
        x, weight = self.product("blk.0.q")
        self.fails("weight-transposed", KJV, "blk.0.q", inputs=[x], output=x @ weight)
        wrong = x @ weight.T
        wrong[3, 17] = np.nan
        report = self.fails("not-finite", KJV, "blk.0.q", inputs=[x], output=wrong)
        self.assertEqual((report["worst"]["token"], report["worst"]["row"], report["failures"]), (3, 17, 1))

    def test_wrong_blocks_are_named_under_plain_f32(self):
        x, _ = self.product("blk.1.up")
        self.assertEqual(self.cases["blk.1.up"]["weight"]["type"], "Q4_1")
        raw = self.array("blk.1.up", "weight_raw.npy")
        blocks = raw.reshape(len(raw), -1, 20)
        d, m = (blocks[:, :, i:i + 2].copy().view("f2").astype("f4") for i in (0, 2))
        low, high = (blocks[:, :, 4:] & 15).astype("f4"), (blocks[:, :, 4:] >> 4).astype("f4")

        def output(first, second, minimum):
            return x @ (d * np.concatenate([first, second], axis=2) + minimum).reshape(len(raw), -1).T

        self.passes(KJV, "blk.1.up", inputs=[x], output=output(low, high, m))
        self.fails("minimum-ignored", KJV, "blk.1.up", inputs=[x], output=output(low, high, 0 * m))
        self.fails("minimum-sign", KJV, "blk.1.up", inputs=[x], output=output(low, high, -m))
        self.fails("nibbles-swapped", KJV, "blk.1.up", inputs=[x], output=output(high, low, m))
        self.passes("--op", "matmul", inputs=[x], output=output(low, high, m), weight=raw, type="Q4_1")

    def test_attention(self):
        q, k, v = (self.array("blk.0.kqv", f"input{i}.npy") for i in range(3))
        numbers = self.cases["blk.0.kqv"]["parameters"]
        dim, kv_heads = numbers["key_dim"], numbers["kv_heads"]
        inputs = [q[-3:], k, v]  # the last three of eight
        output = functools.partial(attention, q[-3:].reshape(3, -1, dim), k.reshape(8, kv_heads, dim), v.reshape(8, kv_heads, dim),
                                   [5, 6, 7], numbers["scale"])
        self.assertIn("f32", self.passes(KJV, "blk.0.kqv", inputs=inputs, output=output())["fits"])
        self.passes(KJV, "blk.0.kqv", inputs=inputs, output=output(), positions="5-7", contract="f32")
        self.fails("mask-missing", KJV, "blk.0.kqv", inputs=inputs, output=output(mask=False))
        self.fails("gqa-modulo", KJV, "blk.0.kqv", inputs=inputs, output=output(kv_head=lambda h: h % kv_heads))

    def test_llama_cpps_kernels_keep_its_contract(self):
        data = THEIRS.read_bytes()
        start = 8 + struct.unpack("<Q", data[:8])[0]
        theirs = {}
        for key, tensor in json.loads(data[8:start]).items():
            if key != "__metadata__":
                begin, end = (start + offset for offset in tensor["data_offsets"])
                theirs[key.partition(".")[2]] = np.frombuffer(data[begin:end], "<f4").reshape(tensor["shape"])

        def fits(name, inputs, output):
            return self.passes(KJV, name, inputs=[theirs[key] for key in inputs], output=theirs[output])["fits"]

        self.assertEqual(fits("blk.3.q", ["attn_norm-3.MUL"], "Qcur-3.MUL_MAT"), ["ggml-cpu"])
        self.assertEqual(fits("blk.3.down", ["ffn_swiglu-3.GLU"], "ffn_out-3.MUL_MAT"), ["ggml-cpu"])
        self.assertEqual(fits("blk.3.kqv", ["Qcur-3.ROPE", "Kcur-3.ROPE", "Vcur-3.MUL_MAT"], "kqv_out-3.RESHAPE"), ["ggml-cpu", "ggml-cuda"])
        fits("blk.3.q_rope", ["Qcur-3.MUL_MAT"], "Qcur-3.ROPE")
        fits("blk.3.act", ["ffn_gate-3.MUL_MAT", "ffn_up-3.MUL_MAT"], "ffn_swiglu-3.GLU")

    def test_the_rest_of_a_block(self):
        x, w = self.array("blk.0.attn_norm", "input0.npy"), self.array("blk.0.attn_norm", "weight.npy")[0]
        eps = self.cases["blk.0.attn_norm"]["parameters"]["eps"]
        self.passes(KJV, "blk.0.attn_norm", inputs=[x], output=rms_norm(x, w, eps))
        self.fails("norm-eps", KJV, "blk.0.attn_norm", inputs=[x], output=rms_norm(x, w, 1e-3))
        q, frequency = self.array("blk.0.q_rope", "input0.npy"), self.array("blk.0.q_rope", "frequency.npy")
        heads = q.reshape(8, -1, 64)
        self.passes(KJV, "blk.0.q_rope", inputs=[q], output=rope(heads, range(8), frequency).reshape(8, -1))
        self.fails("rope-pairing", KJV, "blk.0.q_rope", inputs=[q], output=rope(heads, range(8), frequency, adjacent=False))
        gate, up = (self.array("blk.0.act", f"input{i}.npy") for i in range(2))
        self.passes(KJV, "blk.0.act", inputs=[gate, up], output=silu(gate) * up)
        self.fails("gate-up-swapped", KJV, "blk.0.act", inputs=[gate, up], output=silu(up) * gate)
        a, b = (self.array("blk.0.out", f"input{i}.npy") for i in range(2))
        self.passes(KJV, "blk.0.out", inputs=[a, b], output=a + b)
        self.fails("residual-missing", KJV, "blk.0.out", inputs=[a, b], output=b)
        self.passes(KJV, "token_embd", inputs=[], output=self.array("embd", "expected.f32.npy"), tokens=TOKENS)

    def test_what_cannot_be_judged(self):
        x = self.normal(8, 256)
        whole, bad = self.save("whole", x), x.copy()
        bad[2, 5] = np.inf
        not_finite, other = self.save("bad", bad), self.save("other", self.normal(256, 8))
        text = self.folder / "text.npy"
        text.write_text("hello")
        for arguments, message in (
                ((KJV, "blk.0.q", "--input", other, "--output", whole), "it is the transpose of that"),
                ((KJV, "blk.0.q", "--input", whole, "--output", other), "wanted (rows, 256)"),
                ((KJV, "blk.0.q", "--input", not_finite, "--output", whole), "inf at row 2 column 5"),
                ((KJV, "blk.0.q", "--output", whole), "reads one input; 0 given"),
                ((KJV, "blk.0.q", "--input", text, "--output", whole), "not a .npy file"),
                ((KJV, "blk.0.q", "--input", "nowhere.npy"), "cannot read 'nowhere.npy'"),
                ((KJV, "blk.9.q", "--input", whole), "no operation or tensor 'blk.9.q'"),
                ((KJV, "blk.0.kv", "--input", whole), "only moves values"),
                ((KJV, "blk.0.q_rope", "--input", whole, "--positions", "1,2"), "2 positions for 8 rows"),
                ((KJV, "blk.0.q_rope", "--input", whole, "--positions", "6-0"), "is not a list"),
                (("--op", "fly"), "known: embed, rms_norm"),
                (("--op", "rms_norm", "--weight", whole), "needs --eps"),
                (("--op", "swiglu", "--weight", whole), "has no --weight"),
                (("--op", "rope", "--dim", "4", "--input", self.save("batch", self.normal(1, 3, 8))), "Give --positions"),
                (("--op", "rope", "--dim", "7", "--positions", "1"), "are not pairs"),
                ((KJV,), "give NAME after it"),
                (("--op", "matmul", "--weight", whole, "--type", "Q4_K"), "only for a weight of raw bytes"),
                ((), "give MODEL and NAME")):
            done = assay("check", *arguments)
            self.assertEqual(done.returncode, 2, (arguments, done.stdout))
            self.assertIn(message, done.stderr)


class WithoutAModel(Numpy):
    def test_ropes_table_reproduces_f32(self):
        table = json.loads(assay("check", "--op", "rope", "--positions", "5", "--base", "10000", "--dim", "64", "--json").stdout)["table"]
        self.assertEqual([row["pair"] for row in table], list(range(32)))
        self.assertEqual(table[3]["lanes"], [6, 7])
        angle = 5 * frequencies(10000, 64)
        np.testing.assert_allclose([row["frequency"] for row in table], frequencies(10000, 64), rtol=1e-14)
        np.testing.assert_array_equal(np.float32([row["cos"] for row in table]), np.cos(angle).astype("f4"))
        printed = assay("check", "--op", "rope", "--positions", "5", "--base", "10000", "--dim", "64").stdout.splitlines()[1:]
        np.testing.assert_array_equal(np.float32([line.split()[-1] for line in printed]), np.sin(angle).astype("f4"))

    def test_rope(self):
        x = self.normal(2, 4, 80)  # 16 lanes of each head pass
        turned = functools.partial(rope, x, [5, 6])
        flags = {"positions": "5,6", "base": 10000, "dim": 64, "heads": 4}
        self.passes("--op", "rope", inputs=[x], output=turned(frequencies(1e4, 64)), **flags)
        self.passes("--op", "rope", inputs=[x], output=turned(frequencies(1e4, 64) / 2, adjacent=False), pairing="half", linear=2, **flags)
        self.fails("rope-pairing", "--op", "rope", inputs=[x], output=turned(frequencies(1e4, 64), adjacent=False), **flags)
        self.assertIn("500000", self.fails("rope-base", "--op", "rope", inputs=[x], output=turned(frequencies(5e5, 64)), **flags)["sentence"])
        self.fails("position-off-by-one", "--op", "rope", inputs=[x], output=rope(x, [6, 7], frequencies(1e4, 64)), **flags)

    def test_a_norm(self):
        x, w = self.normal(3, 300) / 100, self.normal(300)
        self.passes("--op", "rms_norm", inputs=[x], output=rms_norm(x, w, 1e-5), weight=w, eps=1e-5)
        self.assertIn("1e-06 instead of 1e-05",
                      self.fails("norm-eps", "--op", "rms_norm", inputs=[x], output=rms_norm(x, w, 1e-6), weight=w, eps=1e-5)["sentence"])

    def test_kinds_that_only_some_models_have(self):
        x, w, b = self.normal(3, 40).astype("f8"), self.normal(40), self.normal(40)
        centred = x - x.mean(axis=1, keepdims=True)
        y = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * w
        self.passes("--op", "layer_norm", inputs=[x], output=y + b, weight=w, bias=b, eps=1e-5)
        self.fails("bias", "--op", "layer_norm", inputs=[x], output=y, weight=w, bias=b, eps=1e-5)
        self.fails("norm-mean-kept", "--op", "layer_norm", inputs=[x], output=rms_norm(x, w, 1e-5) + b, weight=w, bias=b, eps=1e-5)
        self.passes("--op", "soft_cap", inputs=[x], output=3 * np.tanh(x / 3), cap=3)
        self.fails("cap-missing", "--op", "soft_cap", inputs=[x], output=x, cap=3)
        self.passes("--op", "relu", inputs=[x], output=np.maximum(x, 0))
        temperature = 1 + 0.1 * np.log1p(np.array([[0], [0], [1]]))
        self.passes("--op", "position_scale", inputs=[x], output=x * temperature, slope=0.1, every=2, positions="0-2")
        self.fails("temperature-missing", "--op", "position_scale", inputs=[x], output=x, slope=0.1, every=2, positions="0-2")

    def test_routers_and_experts(self):
        logits = self.normal(5, 8).astype("f4").astype("f8")
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        ids = np.argsort(-logits, axis=1)[:, :2]
        weights = np.take_along_axis(p, ids, axis=1)
        routing = np.concatenate([ids, weights / weights.sum(axis=1, keepdims=True)], axis=1)
        flags = {"used": 2, "renormalise": 1}
        self.passes("--op", "route", inputs=[logits], output=routing, **flags)
        self.fails("route-not-renormalised", "--op", "route", inputs=[logits], output=np.concatenate([ids, weights], axis=1), **flags)
        x, w = self.normal(5, 16).astype("f8"), self.normal(8 * 3, 16)
        y = np.einsum("turc,tc->tur", w.reshape(8, 3, 16)[ids], x).reshape(5, 6)
        self.passes("--op", "matmul_experts", inputs=[x, routing], output=y, weight=w, experts=8)
        shifted = np.einsum("turc,tc->tur", w.reshape(8, 3, 16)[(ids + 1) % 8], x).reshape(5, 6)
        self.fails("expert-off-by-one", "--op", "matmul_experts", inputs=[x, routing], output=shifted, weight=w, experts=8)

    def test_windows_and_sinks(self):
        q, k, v = (self.normal(4, 8).astype("f8") for _ in range(3))
        sink = self.normal(1)

        def attention(first, sinks):
            out = []
            for t in range(4):
                seen = slice(first(t), t + 1)
                s = np.append(k[seen] @ q[t] / np.sqrt(8), sinks)
                e = np.exp(s - s.max())
                out.append(e[: t + 1 - first(t)] @ v[seen] / e.sum())
            return np.array(out)

        flags = {"heads": 1, "dim": 8, "window": 2, "weight": sink, "contract": "f32"}
        output = attention(lambda t: max(0, t - 1), sink)
        self.passes("--op", "attention", inputs=[q, k, v], output=output, **flags)
        self.fails("sink-missing", "--op", "attention", inputs=[q, k, v], output=attention(lambda t: max(0, t - 1), []), **flags)
        self.fails("window-missing", "--op", "attention", inputs=[q, k, v], output=attention(lambda t: 0, sink), **flags)
        done = assay("check", "--op", "soft_cap", "--input", self.save("x", q), "--output", self.save("y", q))
        self.assertIn("needs --cap", done.stderr)
        done = assay("check", "--op", "relu", "--cap", "3", "--input", self.save("x", q), "--output", self.save("y", q))
        self.assertIn("has no --cap", done.stderr)

    def test_a_product_and_its_expected_values(self):
        x, w, b = self.normal(2, 33), self.normal(5, 33), self.normal(5)
        self.passes("--op", "matmul", inputs=[x], output=x @ w.T + b, weight=w, bias=b)
        self.passes("--op", "matmul", inputs=[x], output=(x @ w.astype("f2").astype("f4").T), weight=w.astype("f2"))
        self.passes("--op", "matmul", inputs=[x], output=(x @ w.T).astype("f2"), weight=w)
        expected = self.folder / "expected.npy"
        done = assay("check", "--op", "matmul", "--weight", self.save("w", w), "--input", self.save("x", x), "--expected", expected)
        self.assertEqual(done.returncode, 0, done.stderr)
        np.testing.assert_array_equal(np.load(expected), (x.astype("f8") @ w.astype("f8").T).astype("f4"))

    def test_a_weight_that_is_not_finite_is_no_kernels_fault(self):
        x, w = self.normal(2, 33), self.normal(5, 33)
        w[1, 2] = np.nan
        done = assay("check", "--op", "matmul", "--weight", self.save("w", w), "--input", self.save("x", x), "--output", self.save("y", x @ w.T))
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertIn("UNMEASURED matmul @ token 0 channel 1: the operation itself gives NaN there", done.stdout)

    def test_arrays_of_every_layout_that_numpy_writes(self):
        a, b = self.normal(3, 4), self.normal(3, 4)
        for descr in ("<f4", "<f8", "<f2"):
            left, right = a.astype(descr), b.astype(descr)
            self.passes("--op", "add", inputs=[np.asfortranarray(left), right], output=np.asfortranarray(left.astype("f4") + right.astype("f4")))
        path = self.folder / "version2.npy"
        for version in ((1, 0), (2, 0), (3, 0)):
            with open(path, "wb") as file:
                np.lib.format.write_array(file, a, version=version)
            done = assay("check", "--op", "add", "--input", path, "--input", self.save("b", b), "--output", self.save("sum", a + b))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Kit(Numpy):
    """Every case computed by numpy, and looked at by the kit's own loaders."""

    def output(self, case):
        numbers, name = case["parameters"], case["name"]
        x = [self.array(name, one["file"]) for one in case["inputs"]]
        if "weight" in case:
            weight = self.array(name, case["weight"]["file"])
        match case["kind"]:
            case "embed":
                return weight[x[0]]
            case "rms_norm":
                return rms_norm(x[0], weight[0], numbers["eps"])
            case "matmul":
                return x[0] @ weight.T
            case "rope":
                turned = rope(x[0].reshape(len(x[0]), numbers["heads"], -1), numbers["positions"], self.array(name, "frequency.npy"),
                              numbers["pairing"] == "adjacent")
                return turned.reshape(x[0].shape)
            case "attention":
                q, k, v = (array.reshape(len(array), heads, -1) for array, heads in
                           zip(x, (numbers["heads"], numbers["kv_heads"], numbers["kv_heads"])))
                return attention(q, k, v, numbers["positions"], numbers["scale"]).reshape(len(q), -1)
            case "swiglu":
                return silu(x[0]) * x[1]
            case "add":
                return x[0] + x[1]
        self.fail(case["kind"])

    def test_the_manifest_lists_what_is_there(self):
        self.assertEqual(self.manifest["schema"], "assay.kit/1")
        self.assertEqual(self.manifest["tokens"], [int(token) for token in TOKENS.split(",")])
        self.assertEqual({case["kind"] for case in self.cases.values()},
                         {"embed", "rms_norm", "matmul", "rope", "attention", "swiglu", "add"})
        for case in self.cases.values():
            expected = {one["contract"]: one for one in case["expected"]}
            for one in (*case["inputs"], *expected.values()):
                self.assertEqual(list(self.array(case["name"], one["file"]).shape), one["shape"])
            quantised = case["kind"] == "matmul" and case["weight"]["type"] not in ("F32", "F16", "BF16")
            self.assertEqual("assay/1" in expected, quantised or case["kind"] == "attention", case["name"])
        self.assertEqual({path.name for path in self.kit.iterdir() if path.is_dir()}, set(self.cases))

    def looked_at(self, command, case, output, *contract):
        return subprocess.run([*map(str, command), case, str(self.save("y", output)), *contract],
                              cwd=self.kit, capture_output=True, text=True, timeout=60)

    def commands(self):
        yield [sys.executable, "load.py"]
        for compiler, flags in (("cc", ["-O1", "-Wall", "-Wextra", "-Werror", "load.c", "-lm"]), ("rustc", ["-D", "warnings", "load.rs"])):
            # rustup leaves a rustc that can be found and has no compiler behind it.
            if not shutil.which(compiler) or subprocess.run([compiler, "--version"], capture_output=True).returncode != 0:
                print(f"no {compiler} here: its loader was not run", file=sys.stderr)
                continue
            program = self.folder / f"load_{compiler}"
            subprocess.run([compiler, *flags, "-o", program], cwd=self.kit, check=True)
            yield [program]

    def test_loaders_pass_what_is_right_and_name_the_first_wrong_element(self):
        one_of_each_kind = {case["kind"]: case for case in self.cases.values()}  # Python takes its time to start
        for command in self.commands():
            for case in (one_of_each_kind if command[-1] == "load.py" else self.cases).values():
                done = self.looked_at(command, case["name"], self.output(case).astype("f4"))
                self.assertEqual((done.returncode, done.stdout.split()[0]), (0, "PASS"), done.stdout + done.stderr)
            output = self.output(self.cases["blk.1.out"])
            output[2, 3] = np.float32(output[2, 3]) * np.float32(1 + 2 ** -20)
            done = self.looked_at(command, "blk.1.out", output)
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertRegex(done.stdout, rf"^FAIL blk.1.out: element ({2 * 256 + 3}|\(2, 3\)) is ")
            output[2, 3] = np.nan
            self.assertEqual(self.looked_at(command, "blk.1.out", output).returncode, 1)
            q = self.output(self.cases["blk.1.q"])
            self.assertEqual(self.looked_at(command, "blk.1.q", q, "assay1").returncode, 1)  # activations are not int8
            for wrong in (output[:2], output.astype("f4")[:, :5]):
                self.assertEqual(self.looked_at(command, "blk.1.out", wrong).returncode, 2)

    def test_assay_check_agrees_with_the_kit(self):
        for name, case in self.cases.items():
            if name.startswith("blk.0") and case["kind"] in ("rms_norm", "matmul", "swiglu", "add"):
                self.passes(KJV, name, inputs=[self.array(name, one["file"]) for one in case["inputs"]], output=self.output(case))

    def test_folders_and_flags(self):
        full = self.folder / "full"
        full.mkdir(exist_ok=True)
        (full / "mine").write_text("x")
        for arguments, message in (
                (("-o", ""), "needs the name of a folder"),
                (("-o", full), "is not empty; --force"),
                (("-o", full / "mine"), "is not a folder"),
                (("-o", self.folder / "new", "--layers", "6"), "the model has no block 6; it has 6"),
                (("-o", self.folder / "new", "--layers", "x"), "neither 'all' nor a list"),
                (("-o", self.folder / "new", "--tokens", "99999"), "beyond the vocabulary"),
                (("-o", self.folder / "new", "--tokens", "1", "-p", "a"), "give one of")):
            done = assay("kit", KJV, *arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(message, done.stderr)
            self.assertFalse((self.folder / "new").exists())
        done = assay("kit", KJV, "-o", full, "--force", "-p", "In the beginning", "--tokens-count", "2", "--layers", "5", "--rows", "7")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("18 cases (blocks 5 of 6; 2 tokens; up to 7 rows of each matrix)", done.stderr)
        self.assertEqual(np.load(full / "logits/expected.f32.npy").shape, (2, 7))
        self.assertEqual((full / "mine").read_text(), "x")


if __name__ == "__main__":
    unittest.main()
