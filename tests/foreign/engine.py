"""A llama engine in numpy, which shares nothing with assay, with faults to be switched on.

    engine.py MODEL.gguf --tokens 1,2,3 -o FILE [--decode 7,8] [--fault NAME:layer=3,c=10] [--contract "bf16, norm f32"]
    engine.py --list

It computes from weights that PyPI's gguf decodes, in f32 or in the arithmetic that a contract says (arithmetic.py),
and writes a trace as docs/trace-format.md describes it.
"""
import argparse
import functools
import hashlib
import json
import math
import pathlib
import sys

import gguf
import numpy as np

from arithmetic import Arithmetic, coded, rounded

F = np.float32


class Fault:
    """NAME:key=value,…; without a layer it is in all of them."""

    def __init__(self, text=""):
        self.name, _, rest = text.partition(":")
        self.values = {key: float(value) for key, value in (part.split("=") for part in rest.split(",") if part)}
        if self.name and self.name not in FAULTS:
            raise SystemExit(f"no fault '{self.name}'")

    def at(self, name, layer=None):
        return self.name == name and (layer is None or self.values.get("layer", layer) == layer)

    def get(self, key, usual):
        return self.values.get(key, usual)


# name: the operation that is wrong, without "blk.N."; what the judge should call it
FAULTS = {
    "permuted-q": ("q", "weight-permuted"),
    "permuted-k": ("k", "weight-permuted"),
    "transposed-q": ("q", "weight-transposed"),
    "transposed-attn_output": ("attn_out", "weight-transposed"),
    "swapped-gate-up-weights": ("gate", "weight-other"),
    "other-layer": ("down", "weight-other"),
    "scaled-weight": ("up", "scaled"),
    "wrong-rows": ("down", "scaled"),
    "shifted-rows": ("v", "weight-rows-shifted"),
    "k-tail": ("down", "k-tail"),
    "m-tail": ("up", "row-tail"),
    "min-ignored": ("up", "minimum-ignored"),
    "min-added": ("up", "minimum-sign"),
    "rope-base": ("q_rope", "rope-base"),
    "rope-scaling": ("q_rope", "rope-scaling"),
    "rope-pairing": ("q_rope", "rope-pairing"),
    "rope-off-by-one": ("q_rope", "position-off-by-one"),
    "rope-stuck": ("q_rope", "position-stuck"),
    "norm-eps": ("attn_norm", "norm-eps"),
    "norm-plus-one": ("ffn_norm", "norm-plus-one"),
    "norm-omitted": ("ffn_norm", "norm-weight-omitted"),
    "norm-twice": ("attn_norm", "norm-weight-twice"),
    "gate-up": ("act", "gate-up-swapped"),
    "gelu": ("act", "activation-gelu-tanh"),
    "gelu-erf": ("act", "activation-gelu-erf"),
    "relu": ("act", "activation-relu"),
    "gqa-modulo": ("kqv", "gqa-modulo"),
    "mask-missing": ("kqv", "mask-missing"),
    "mask-off-by-one": ("kqv", "mask-off-by-one"),
    "newest-key-dropped": ("kqv", "newest-key-dropped"),
    "scale-missing": ("kqv", "score-scale-missing"),
    "scale-twice": ("kqv", "score-scale-twice"),
    "softcap": ("kqv", "score-softcap"),
    "window": ("kqv", "sliding-window"),
    "residual-missing": ("attn_residual", "residual-missing"),
    "residual-after-norm": ("attn_residual", "residual-after-norm"),
    "residual-scale": ("out", "residual-scale"),
    "clipped": ("out", "clipped"),
    "f16": ("down", "f16-result"),
    "embedding-scale": ("embd", "embedding-scale"),
    "embedding-next": ("embd", "embedding-row"),
    "head-other": ("logits", "weight-tied-head"),
    "nan": ("up", "not-finite"),
    "noise": ("v", "unknown"),
}


class Model:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.sha256 = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}
        self.path = path

        def value(key, usual=None):
            field = reader.get_field("llama." + key)
            return usual if field is None else field.contents()
        self.layers = value("block_count")
        self.width = value("embedding_length")
        self.heads = value("attention.head_count")
        self.kv_heads = value("attention.head_count_kv", self.heads)
        self.eps = value("attention.layer_norm_rms_epsilon")
        self.base = value("rope.freq_base", 10000.0)
        self.head = self.width // self.heads
        self.rope = value("rope.dimension_count", self.head)

    @functools.lru_cache(maxsize=512)
    def weight(self, name):
        tensor = self.tensors[name]
        return gguf.dequantize(tensor.data, tensor.tensor_type).astype(F)

    def __contains__(self, name):
        return name in self.tensors


def without_minimum(tensor, factor):
    """Q4_1: d·q + factor·m."""
    if tensor.tensor_type != gguf.GGMLQuantizationType.Q4_1:
        raise SystemExit("min-ignored wants Q4_1")
    blocks = np.array(tensor.data).reshape(-1, 20)
    d = blocks[:, 0:2].copy().view(np.float16).astype(F)
    m = blocks[:, 2:4].copy().view(np.float16).astype(F) * F(factor)
    codes = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1).astype(F)
    rows = int(tensor.shape[1])
    return (d * codes + m).reshape(rows, -1)


def silu(x):
    return x / (1 + np.exp(-x))


class Engine:
    def __init__(self, model, fault, arithmetic=None):
        self.model, self.fault = model, fault
        self.arithmetic = arithmetic or Arithmetic()
        self.keys = [np.zeros((0, model.kv_heads, model.head), F) for _ in range(model.layers)]
        self.values = [np.zeros((0, model.kv_heads, model.head), F) for _ in range(model.layers)]
        self.out = []

    def keep(self, name, values, family=None):
        """Keeps a result, rounded as its family of operations rounds it."""
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(values, F)
            self.out.append((name, rounded(values, self.arithmetic[family]["result"]) if family else values))
        return self.out[-1][1]

    def weights(self, layer, name):
        """Matrix (rows, columns) of blk.layer.name.weight as this engine believes it to be."""
        model, fault = self.model, self.fault
        full = f"blk.{layer}.{name}.weight"
        w = model.weight(full)
        short = {"attn_q": "q", "attn_k": "k"}.get(name)
        if short and fault.at("permuted-" + short, layer):  # as transformers has them
            heads = model.heads if short == "q" else model.kv_heads
            w = w.reshape(heads, -1, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)
        if name in ("attn_q", "attn_output") and fault.at("transposed-" + name.replace("attn_q", "q"), layer):
            w = np.ascontiguousarray(w.T)
        if name in ("ffn_gate", "ffn_up") and fault.at("swapped-gate-up-weights", layer):
            w = model.weight(f"blk.{layer}.{'ffn_up' if name == 'ffn_gate' else 'ffn_gate'}.weight")
        if name == "ffn_down" and fault.at("other-layer", layer):
            w = model.weight(f"blk.{(layer + 1) % model.layers}.ffn_down.weight")
        if name == "ffn_up" and fault.at("scaled-weight", layer):
            w = w * F(fault.get("c", 1.5))
        if name == "ffn_down" and fault.at("wrong-rows", layer):
            w = w.copy()
            first = int(fault.get("row", 5))
            w[first:first + int(fault.get("count", 3))] *= F(-0.5)
        if name == "attn_v" and fault.at("shifted-rows", layer):
            w = np.roll(w, int(fault.get("by", 1)), axis=0)
        if name == "ffn_down" and fault.at("k-tail", layer):
            w = w.copy()
            w[:, -int(fault.get("tail", 32)):] = 0
        if name == "ffn_up" and (fault.at("min-ignored", layer) or fault.at("min-added", layer)):
            w = without_minimum(model.tensors[full], 0 if fault.name == "min-ignored" else -1)
        return w

    def multiply(self, layer, tensor, x, name):
        y = self.arithmetic.product(x, self.weights(layer, tensor))
        bias = f"blk.{layer}.{tensor}.bias"
        if bias in self.model:
            y = y + self.model.weight(bias)
        if name == "up" and self.fault.at("m-tail", layer):
            y[:, -int(self.fault.get("tail", 7)):] = 0
        if name == "up" and self.fault.at("nan", layer):
            y[-1, int(self.fault.get("row", 3))] = np.nan
        if name == "v" and self.fault.at("noise", layer):
            y = y + F(1e-3) * np.random.default_rng(int(self.fault.get("seed", 1))).standard_normal(y.shape).astype(F)
        if name == "down" and self.fault.at("f16", layer):
            with np.errstate(over="ignore"):
                y = y.astype(np.float16).astype(F)
        return self.keep(f"blk.{layer}.{name}", y, "matmul")

    def norm(self, x, weight, name, layer, kind):
        fault, w = self.fault, self.model.weight(weight)
        eps = self.model.eps
        if kind == "attn_norm" and fault.at("norm-eps", layer):
            eps = fault.get("eps", 1e-3)
        if kind == "ffn_norm" and fault.at("norm-plus-one", layer):
            w = w + 1
        if kind == "ffn_norm" and fault.at("norm-omitted", layer):
            w = np.ones_like(w)
        if kind == "attn_norm" and fault.at("norm-twice", layer):
            w = w * w
        of = self.arithmetic["norm"]
        x = rounded(x, of["inputs"])
        root = rounded(np.sqrt(rounded(self.arithmetic.mean_square(x) + F(eps), of["sums"])), of["sums"])
        return self.keep(name, rounded((x / root).astype(F), of["products"]) * rounded(w, of["weights"]), "norm")

    def rotate(self, x, positions, layer, name):
        fault, model = self.fault, self.model
        q = name == "q_rope"
        half = model.rope // 2
        base = fault.get("base", 50000.0) if fault.at("rope-base", layer) else model.base
        at = positions.astype(np.float64)
        if fault.at("rope-scaling", layer):
            at = at / fault.get("factor", 4)
        if q and fault.at("rope-off-by-one", layer):
            at = at + fault.get("by", 1)
        if fault.at("rope-stuck", layer):
            at = np.full_like(at, at[0])
        angle = at[:, None] * base ** (-np.arange(half) / half)
        of = self.arithmetic["rope"]
        cos, sin = (rounded(f(angle), of["weights"])[:, None, :].astype(np.float64) for f in (np.cos, np.sin))
        heads = rounded(x, of["inputs"]).reshape(len(x), -1, model.head).astype(np.float64)
        y = heads.copy()
        if fault.at("rope-pairing", layer):
            a, b = slice(0, half), slice(half, model.rope)
        else:
            a, b = slice(0, model.rope, 2), slice(1, model.rope, 2)
        kept = of["products"]
        y[..., a] = rounded(heads[..., a] * cos, kept).astype(np.float64) - rounded(heads[..., b] * sin, kept)
        y[..., b] = rounded(heads[..., a] * sin, kept).astype(np.float64) + rounded(heads[..., b] * cos, kept)
        return self.keep(f"blk.{layer}.{name}", y.reshape(x.shape), "rope")

    def attend(self, q, positions, layer):
        model, fault = self.model, self.fault
        queries = q.reshape(len(q), model.heads, model.head)
        keys, values = self.keys[layer], self.values[layer]
        group = model.heads // model.kv_heads
        scale = 1 / math.sqrt(model.head)
        if fault.at("scale-missing", layer):
            scale = 1
        if fault.at("scale-twice", layer):
            scale *= scale
        y = np.empty_like(queries)
        for head in range(model.heads):
            kv = head % model.kv_heads if fault.at("gqa-modulo", layer) else head // group
            scores = self.arithmetic.softmax_scores(queries[:, head], keys[:, kv], scale)
            if fault.at("softcap", layer):
                cap = fault.get("cap", 5)
                scores = cap * np.tanh(scores / cap)
            for t, position in enumerate(positions):
                last = int(position) + 1
                first = 0
                if fault.at("mask-missing", layer):
                    last = len(keys)
                if fault.at("mask-off-by-one", layer):
                    last = min(last + 1, len(keys))
                if fault.at("newest-key-dropped", layer) and len(positions) == 1:
                    last -= 1
                if fault.at("window", layer):
                    first = max(0, last - int(fault.get("window", 4)))
                row = scores[t, first:last]
                p = np.exp((row - row.max()).astype(np.float64))
                y[t, head] = self.arithmetic.weighted(p / p.sum(), values[first:last, kv])
        return self.keep(f"blk.{layer}.kqv", y.reshape(q.shape), "attention")

    def activate(self, gate, up, layer):
        fault = self.fault
        g, u = gate.astype(np.float64), up.astype(np.float64)
        kept = self.arithmetic["elementwise"]["products"]
        if fault.at("gate-up", layer):
            g, u = u, g
        if fault.at("gelu", layer):
            y = 0.5 * g * (1 + np.tanh(math.sqrt(2 / math.pi) * (g + 0.044715 * g ** 3)))
        elif fault.at("gelu-erf", layer):
            y = 0.5 * g * (1 + np.vectorize(math.erf)(g / math.sqrt(2)))
        elif fault.at("relu", layer):
            y = np.maximum(g, 0)
        else:
            y = silu(g)
        return self.keep(f"blk.{layer}.act", (y if kept == "f32" else rounded(y, kept).astype(np.float64)) * u,
                         "elementwise")

    def step(self, tokens):
        model, fault = self.model, self.fault
        start = len(self.keys[0])
        positions = np.arange(start, start + len(tokens))
        rows = [(token + 1) % len(model.weight("token_embd.weight")) for token in tokens] \
            if fault.at("embedding-next") else tokens
        x = model.weight("token_embd.weight")[rows]
        if fault.at("embedding-scale"):
            x = x * F(fault.get("c", math.sqrt(model.width)))
        x = self.keep("embd", x, "residual")
        for n in range(model.layers):
            normed = self.norm(x, f"blk.{n}.attn_norm.weight", f"blk.{n}.attn_norm", n, "attn_norm")
            q = self.multiply(n, "attn_q", normed, "q")
            k = self.multiply(n, "attn_k", normed, "k")
            v = self.multiply(n, "attn_v", normed, "v")
            q = self.rotate(q, positions, n, "q_rope")
            k = self.rotate(k, positions, n, "k_rope")
            k, v = (coded(one, self.arithmetic.kv) for one in (k, v))
            self.keys[n] = np.concatenate([self.keys[n], k.reshape(len(k), -1, model.head)])
            self.values[n] = np.concatenate([self.values[n], v.reshape(len(v), -1, model.head)])
            branch = self.multiply(n, "attn_output", self.attend(q, positions, n), "attn_out")
            base = normed if fault.at("residual-after-norm", n) else x
            x = self.keep(f"blk.{n}.attn_residual", branch if fault.at("residual-missing", n) else base + branch,
                          "residual")
            normed = self.norm(x, f"blk.{n}.ffn_norm.weight", f"blk.{n}.ffn_norm", n, "ffn_norm")
            act = self.activate(self.multiply(n, "ffn_gate", normed, "gate"),
                                self.multiply(n, "ffn_up", normed, "up"), n)
            branch = self.multiply(n, "ffn_down", act, "down")
            y = x + branch
            if fault.at("residual-scale", n):
                y = x + F(fault.get("c", 0.5)) * branch
            if fault.at("clipped", n):
                c = F(fault.get("c", 10))
                y = np.clip(y, -c, c)
            x = self.keep(f"blk.{n}.out", y, "residual")
        x = self.norm(x, "output_norm.weight", "out_norm", model.layers, "out_norm")
        head = "output.weight" if "output.weight" in model else "token_embd.weight"
        w = model.weight(head)
        if fault.at("head-other"):
            w = np.roll(w, 1, axis=0) if head == "token_embd.weight" else model.weight("token_embd.weight")
        self.keep("logits", self.arithmetic.product(x, w), "matmul")


def write(path, steps, counts, tensors, metadata):
    header = {"__metadata__": {"format": "assay.trace/1", "engine": "numpy 1", "steps": json.dumps([{"tokens": tokens} for tokens in steps]),
                               "order": json.dumps(counts)} | metadata}
    data = []
    at = 0
    for i, (name, values) in enumerate(tensors):
        header[f"{i:06d}.{name}"] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
        data.append(values.tobytes())
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(data))


def run(model, tokens, decode, fault, path, contract="f32", declared=True, only=lambda name: True, kind=Engine):
    """`contract`: the arithmetic; where it is not declared, assay has to find it. `declared` may be another one.
    `only`: which operations are recorded. `kind`: a class of engines."""
    engine = kind(model, fault, Arithmetic(contract))
    steps, counts = [list(tokens)] + [[token] for token in decode], []
    for step in steps:
        before = len(engine.out)
        engine.step(step)
        engine.out[before:] = [one for one in engine.out[before:] if only(one[0])]
        counts.append(len(engine.out) - before)
    # How a unit makes tf32 is not declared.
    text = declared if isinstance(declared, str) else contract.replace("/cut", "")
    said = {"contract": text, "kv": engine.arithmetic.kv} if declared else {}
    write(path, steps, counts, engine.out, {"model": model.path, "model_sha256": model.sha256} | said)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--tokens")
    parser.add_argument("--decode", default="")
    parser.add_argument("--fault", default="")
    parser.add_argument("--contract", default="f32")
    parser.add_argument("--undeclared", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("-o", dest="output")
    options = parser.parse_args()
    if options.list:
        print("\n".join(FAULTS))
        return
    ids = [[int(part) for part in text.split(",") if part] for text in (options.tokens, options.decode)]
    run(Model(options.model), *ids, Fault(options.fault), options.output, options.contract, not options.undeclared)


if __name__ == "__main__":
    sys.exit(main())
