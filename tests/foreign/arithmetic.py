"""The arithmetic of engines in numpy: what is rounded, and to which type, as docs/diagnosis.md writes a contract.

    Arithmetic("bf16, norm f32, kv q8_0")

It shares nothing with assay: types are rounded by numpy's own conversions, or by bits where numpy lacks the type.
"""
import numpy as np

F = np.float32
FAMILIES = ("matmul", "attention", "norm", "rope", "residual", "elementwise")
FIELDS = ("inputs", "weights", "products", "dots", "sums", "result")
# significant bits, smallest normal exponent, largest number
SMALL = {"e4m3": (4, -6, 448.0), "e5m2": (3, -14, 57344.0)}


def to_bf16(x):
    bits = np.ascontiguousarray(x, F).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(F)


def to_tf32(x, cut=False):
    bits = np.ascontiguousarray(x, F).view(np.uint32)
    return ((bits + (0 if cut else 0xFFF + ((bits >> 13) & 1))) & np.uint32(0xFFFFE000)).view(F)


def to_small(x, kind):
    bits, lowest, largest = SMALL[kind]
    _, exponent = np.frexp(np.where(x == 0, 1, x).astype(np.float64))
    step = 2.0 ** (np.maximum(exponent - 1, lowest) - (bits - 1))
    return np.clip(np.rint(x / step) * step, -largest, largest).astype(F)


def rounded(x, kind):
    x = np.asarray(x, F)
    if kind == "f32":
        return x
    if kind == "f16":
        return x.astype(np.float16).astype(F)
    if kind == "bf16":
        return to_bf16(x)
    if kind.startswith("tf32"):
        return to_tf32(x, kind.endswith("/cut"))
    return to_small(x, kind)


def shared(x, per):
    """x in groups that share a scale: (groups, elements), and what undoes it."""
    groups = x.reshape(1, -1) if per == "tensor" else x.reshape(len(x), -1) if per == "row" else \
        x.reshape(-1, int(per))
    return groups, x.shape


def coded(x, coding):
    """What an engine reads that codes x: "f16", "int8/row", "e4m3/tensor", "q8_0", "q4_0"."""
    x = np.asarray(x, F)
    kind, _, per = coding.partition("/")
    if coding in ("f32", "f16", "bf16", "tf32", "tf32/cut", "e4m3", "e5m2"):
        return rounded(x, coding)
    groups, shape = shared(x, "32" if kind in ("q8_0", "q4_0") else per)
    most = np.abs(groups).max(axis=1, keepdims=True)
    if kind in ("int8", "q8_0"):
        d = most / F(127)
        stored = d.astype(np.float16).astype(F) if kind == "q8_0" else d
        codes = np.rint(groups / np.where(d == 0, F(1), d))
    elif kind == "q4_0":
        largest = np.take_along_axis(groups, np.abs(groups).argmax(axis=1)[:, None], axis=1)
        d = largest / F(-8)
        stored = d.astype(np.float16).astype(F)
        codes = np.minimum(15, np.floor(groups / np.where(d == 0, F(1), d) + F(8.5))) - 8
    else:
        d = stored = most / F(SMALL[kind][2])
        codes = to_small(groups / np.where(d == 0, F(1), d), kind)
    return (codes.astype(F) * stored).astype(F).reshape(shape)


def preset(family, kind):
    fields = dict.fromkeys(FIELDS, "f32")
    if family in ("matmul", "attention"):
        fields["inputs"] = fields["weights"] = kind
    if kind.startswith("tf32"):
        return fields
    if family in ("norm", "rope"):
        fields["weights"] = kind
    if family in ("attention", "norm", "rope", "elementwise"):
        fields["products"] = kind
    return fields | {"result": kind}


class Arithmetic:
    def __init__(self, text="f32"):
        self.text = text
        base, *clauses = [part.strip() for part in text.split(",")]
        self.of = {family: preset(family, base) for family in FAMILIES}
        self.kv = base if base in ("f16", "bf16") else "f32"
        for clause in clauses:
            words = clause.split()
            if words[0] == "kv":
                self.kv = words[1]
                continue
            if len(words) % 2 == 0:
                self.of[words[0]] = preset(words[0], words[1])
            rest = words[1 + (len(words) % 2 == 0):]
            self.of[words[0]] |= dict(zip(rest[::2], rest[1::2]))

    def __getitem__(self, family):
        return self.of[family]

    def product(self, x, weights):
        of = self.of["matmul"]
        x, w = coded(x, of["inputs"]), rounded(weights, of["weights"])
        if of["sums"] == "f32" and of["products"] == "f32":
            return x @ w.T
        total = np.zeros((len(x), len(w)), F)
        for k in range(x.shape[1]):
            term = rounded(x[:, k, None] * w[None, :, k], of["products"])
            total = rounded(total + term, of["sums"])
        return total

    def softmax_scores(self, queries, keys, scale):
        """Scores of one head: (tokens, keys)."""
        of = self.of["attention"]
        dots = rounded(rounded(queries, of["inputs"]) @ rounded(keys, of["inputs"]).T, of["products"])
        return rounded(dots * F(scale), of["products"])

    def weighted(self, p, values):
        of = self.of["attention"]
        p = rounded(p, of["weights"])
        if of["sums"] == "f32":
            return p @ rounded(values, of["inputs"])
        total = np.zeros(values.shape[1], F)
        for weight, value in zip(p, values):
            total = rounded(total + weight * value, of["sums"])
        return total

    def mean_square(self, x):
        of = self.of["norm"]
        if of["sums"] == "f32":
            return np.mean(x.astype(F) ** 2, axis=1, keepdims=True, dtype=np.float64)
        parts = rounded(x * x, of["sums"])
        while parts.shape[1] > 1:
            if parts.shape[1] % 2:
                parts = np.pad(parts, ((0, 0), (0, 1)))
            parts = rounded(parts[:, ::2] + parts[:, 1::2], of["sums"])
        return rounded(parts / F(x.shape[1]), of["sums"])
