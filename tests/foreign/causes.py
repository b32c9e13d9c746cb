"""Altered runs of the numpy engine, of which the truth is known: the operation, the cause or none, the place.

A result is altered after it was computed (what follows is computed from it, or it stands alone), or what the engine reads
is. `Case` says what may be called the cause: a name that is not among these is a false one.
"""
import dataclasses
import math
import random
import re

import engine
import numpy as np
from arithmetic import Arithmetic, rounded

F = np.float32
NONE = frozenset()


@dataclasses.dataclass
class Case:
    kind: str
    operation: str                 # "blk.2.up"
    causes: frozenset              # ids that say what was done; none: no hypothesis knows it
    step: int = 0
    result: object = None          # (array) -> array: alters the operation's result
    alone: bool = False            # what follows is computed from the right result
    weights: object = None         # (matrix) -> matrix
    cache: object = None           # (engine, layer, keys, values) -> keys, values
    unseen: object = None          # (position) -> key that this position does not see, or None
    groups: object = None          # (head) -> KV head
    turn: object = None            # (positions, frequencies) -> positions, frequencies, magnitude
    heads: object = None           # heads that turn
    tokens: object = None          # (ids) -> ids that are embedded
    text: str = ""


def is_off(got, right, contract):
    """Which elements are off by more than rounding, or another way to compute the same, makes them."""
    ulp = {"f32": 1e-6, "bf16": 2**-7}[contract]
    return ~(np.abs(got - right) <= ulp * (np.abs(right) + np.abs(right).mean(axis=1, keepdims=True)))


class Altered(engine.Engine):
    """The engine with one case's alteration; without one it is right."""

    def __init__(self, model, case, contract="f32"):
        super().__init__(model, engine.Fault(), Arithmetic(contract))
        self.case, self.at = case, 0
        self.wrong = None          # (elements that the alteration changed)

    def layer_of(self, name):
        return int(name.split(".")[1]) if name.startswith("blk.") else None

    def here(self, name):
        return self.case and self.case.operation == name and self.case.step == self.at

    def keep(self, name, values, family=None):
        values = np.ascontiguousarray(values, F)
        if not (self.here(name) and self.case.result):
            return super().keep(name, values, family)
        kind = self.arithmetic[family]["result"]
        right, changed = (rounded(one, kind) for one in (values, self.case.result(values.copy())))
        self.wrong = is_off(changed.astype(np.float64), right.astype(np.float64), self.arithmetic.text)
        super().keep(name, changed)
        return right if self.case.alone else changed

    def weights(self, layer, name):
        matrix = super().weights(layer, name)
        short = {"attn_q": "q", "attn_k": "k", "attn_v": "v", "attn_output": "attn_out", "ffn_gate": "gate", "ffn_up": "up",
                 "ffn_down": "down"}[name]
        return self.case.weights(matrix.copy()) if self.here(f"blk.{layer}.{short}") and self.case.weights else matrix

    def rotate(self, x, positions, layer, name):
        full = f"blk.{layer}.{name}"
        # A step's positions are those of Q and of K.
        both = self.case and self.case.kind == "position-ahead" and full == f"blk.{layer}.k_rope"
        if not (self.case and (self.case.turn or self.case.heads) and
                (self.here(full) or both and self.here(f"blk.{layer}.q_rope"))):
            return super().rotate(x, positions, layer, name)
        half = self.model.rope // 2
        frequency, magnitude, at = self.model.base ** (-np.arange(half) / half), 1.0, positions.astype(np.float64)
        if self.case.turn:
            at, frequency, magnitude = self.case.turn(at, frequency)
        angle = at[:, None] * frequency
        cos, sin = np.cos(angle)[:, None, :] * magnitude, np.sin(angle)[:, None, :] * magnitude
        heads = x.reshape(len(x), -1, self.model.head).astype(np.float64)
        y = heads.copy()
        a, b = slice(0, 2 * len(frequency), 2), slice(1, 2 * len(frequency), 2)
        y[..., a] = heads[..., a] * cos - heads[..., b] * sin
        y[..., b] = heads[..., a] * sin + heads[..., b] * cos
        for head in range(heads.shape[1]):
            if self.case.heads and head not in self.case.heads:
                y[:, head] = heads[:, head]
        return self.keep(full, y.reshape(x.shape), "rope")

    def attend(self, q, positions, layer):
        case = self.case
        if not (self.here(f"blk.{layer}.kqv") and (case.cache or case.unseen or case.groups)):
            return super().attend(q, positions, layer)
        model = self.model
        keys, values = self.keys[layer].copy(), self.values[layer].copy()
        if case.cache:
            keys, values = case.cache(self, layer, keys, values)
        group, queries = model.heads // model.kv_heads, q.reshape(len(q), model.heads, model.head)
        y = np.empty_like(queries)
        for head in range(model.heads):
            kv = case.groups(head) if case.groups else head // group
            for t, position in enumerate(positions):
                seen = [j for j in range(int(position) + 1) if not case.unseen or j != case.unseen(int(position))]
                row = keys[seen, kv].astype(np.float64) @ queries[t, head].astype(np.float64) / math.sqrt(model.head)
                p = np.exp(row - row.max())
                y[t, head] = (p / p.sum()) @ values[seen, kv].astype(np.float64)
        return self.keep(f"blk.{layer}.kqv", y.reshape(q.shape), "attention")

    def step(self, tokens):
        if self.here("embd") and self.case.tokens:
            weight, rows = self.model.weight("token_embd.weight"), self.case.tokens(list(tokens))
            right = self.model.weight
            # Only the embedding reads by token; a tied head reads it whole.
            self.model.weight = lambda name: _Rows(weight, tokens, rows) if name == "token_embd.weight" else right(name)
            try:
                super().step(tokens)
            finally:
                self.model.weight = right
        else:
            super().step(tokens)
        self.at += 1


class _Rows:
    """An embedding that gives these rows for those tokens."""

    def __init__(self, weight, tokens, rows):
        self.weight, self.tokens, self.rows, self.T = weight, list(tokens), rows, weight.T

    def __getitem__(self, tokens):
        assert list(tokens) == self.tokens
        return self.weight[self.rows]

    def __len__(self):
        return len(self.weight)


# --- the cases ---

PRODUCTS = ("q", "k", "v", "attn_out", "gate", "up", "down")
ANY = PRODUCTS + ("attn_norm", "ffn_norm", "q_rope", "k_rope", "kqv", "attn_residual", "act", "out")
MANY = 14


def span(draw, count, least, most):
    size = min(count, draw.randint(least, most))
    first = draw.randrange(0, count - size + 1)
    return slice(first, first + size)


def widths(model):
    return {"q": model.width, "k": model.kv_heads * model.head, "v": model.kv_heads * model.head, "q_rope": model.width,
            "k_rope": model.kv_heads * model.head, "gate": len(model.weight("blk.0.ffn_gate.weight")),
            "up": len(model.weight("blk.0.ffn_up.weight")), "act": len(model.weight("blk.0.ffn_up.weight"))}


def of_result(kind, causes, names, change):
    """A case in which a result is altered: change(draw, width) -> (array) -> array."""
    def make(draw, model):
        layer, name = draw.randrange(model.layers), draw.choice(names)
        width = widths(model).get(name, model.width)
        return Case(kind, f"blk.{layer}.{name}", frozenset(causes), result=change(draw, width, model), alone=draw.random() < 0.5)
    return make


def in_box(draw, width, change, least=8):
    tokens, channels = span(draw, MANY, 1, MANY), span(draw, width, least, width // 2)

    def altered(y):
        y[tokens, channels] = change(y[tokens, channels])
        return y
    return altered


def head_scaled(draw, width, model):
    head, by = draw.randrange(width // model.head), draw.choice((1.1, 0.9, 1.5, -1))

    def altered(y):
        y[:, head * model.head:(head + 1) * model.head] *= F(by)
        return y
    return altered


def token_scaled(draw, width, model):
    token, by = draw.randrange(MANY), draw.choice((1.1, 0.5, 2, 1.01))

    def altered(y):
        y[token] *= F(by)
        return y
    return altered


def transposed(draw, width, model):
    n = draw.choice((4, 8))
    token, channel = draw.randrange(0, MANY - n + 1), draw.randrange(0, width - n + 1)

    def altered(y):
        y[token:token + n, channel:channel + n] = y[token:token + n, channel:channel + n].T.copy()
        return y
    return altered


def repeated(draw, width, model):
    n = draw.choice((8, 16, 32))
    first, source = draw.sample(range(width // n), 2)

    def altered(y):
        y[:, first * n:(first + 1) * n] = y[:, source * n:(source + 1) * n]
        return y
    return altered


def unwritten(draw, width, model):
    tokens = slice(None) if draw.random() < 0.5 else span(draw, MANY, 1, 3)
    channels = slice(None) if tokens != slice(None) else span(draw, width, 8, width // 2)

    def altered(y):
        y[tokens, channels] = 0
        return y
    return altered


def with_bits(array, change):
    return change(array.view(np.uint32)).view(F)


def flipped(draw, width, model):
    token, channel, bit = draw.randrange(MANY), draw.randrange(width), draw.randrange(14, 30)

    def altered(y):
        bits = y.view(np.uint32)
        bits[token, channel] ^= np.uint32(1 << bit)
        return y
    return altered


def stuck(draw, width, model):
    channels, bit, value = span(draw, width, 16, width), draw.randrange(15, 23), draw.random() < 0.5

    def altered(y):
        bits = y.view(np.uint32)
        if value:
            bits[:, channels] |= np.uint32(1 << bit)
        else:
            bits[:, channels] &= np.uint32(0xFFFFFFFF ^ 1 << bit)
        return y
    return altered


def vector_added(draw, width, model):
    vector = np.random.default_rng(draw.randrange(1 << 30)).standard_normal(width).astype(F)
    return lambda y: y + vector * F(np.abs(y).mean())


def noise(draw, width, model):
    random_state = np.random.default_rng(draw.randrange(1 << 30))
    return in_box(draw, width, lambda part: part + F(np.abs(part).mean() + 1e-3) *
                  random_state.standard_normal(part.shape).astype(F))


def squeezed(draw, width, model):
    return in_box(draw, width, lambda part: np.sin(3 * part + 1) * (np.abs(part).mean() + F(1e-3)))


def sorted_part(draw, width, model):
    return in_box(draw, width, lambda part: np.sort(part + F(1e-3) * np.abs(part).mean(), axis=1), 16)


def one_element(draw, width, model):
    token, channel, by = draw.randrange(MANY), draw.randrange(width), draw.uniform(1.2, 1.7)

    def altered(y):
        y[token, channel] = y[token, channel] * F(by) + F(0.01 * np.abs(y).mean())
        return y
    return altered


def of_weights(kind, causes, names, change):
    def make(draw, model):
        return Case(kind, f"blk.{draw.randrange(model.layers)}.{draw.choice(names)}", frozenset(causes),
                    weights=change(draw, model))
    return make


def group_scaled(draw, model):
    row, by, all_rows = draw.randrange(64), draw.choice((1.25, 0.5, 2, 1.1)), draw.random() < 0.3

    def altered(w):
        group = draw.randrange(w.shape[1] // 32)
        w[slice(None) if all_rows else row, group * 32:(group + 1) * 32] *= F(by)
        return w
    return altered


def columns_moved(draw, model):
    how = draw.choice(("neighbours", "backwards", "halves", "two"))

    def altered(w):
        n = w.shape[1]
        order = {"neighbours": np.arange(n) ^ 1, "backwards": np.arange(n)[::-1], "halves": np.roll(np.arange(n), n // 2),
                 "two": np.arange(n)}[how].copy()
        if how == "two":
            a, b = draw.sample(range(n), 2)
            order[[a, b]] = b, a
        return w[:, order]
    return altered


def other_tensor(draw, model):
    layer, name = draw.randrange(model.layers), draw.choice(("ffn_gate", "ffn_up"))
    other = (layer + 1 + draw.randrange(model.layers - 1)) % model.layers
    return Case("weight-other", f"blk.{layer}.{name[4:]}", frozenset({"weight-other"}),
                weights=lambda w: model.weight(f"blk.{other}.{name}.weight").copy())


def of_cache(kind, causes, **how):
    def make(draw, model):
        return Case(kind, f"blk.{draw.randrange(1, model.layers)}.kqv", frozenset(causes),
                    **{key: value(draw, model) for key, value in how.items()})
    return make


def page(draw, model):
    first, size = draw.choice((0, 4, 8)), 4
    content = draw.choice(("zeros", "layer", "page"))

    def altered(run, layer, keys, values):
        here, there = slice(first, first + size), slice((first + 4) % 12, (first + 4) % 12 + size)
        if content == "zeros":
            keys[here] = values[here] = 0
        elif content == "layer":
            keys[here], values[here] = run.keys[layer - 1][here], run.values[layer - 1][here]
        else:
            keys[here], values[here] = keys[there].copy(), values[there].copy()
        return keys, values
    return altered


def unseen(draw, model):
    which, only = draw.choice(("first", "own", "other")), draw.choice((None, draw.randrange(4, MANY)))
    other = draw.randrange(1, 6)

    def key(position):
        if position == 0 or (only is not None and position != only):
            return None
        return {"first": 0, "own": position, "other": other if other <= position else None}[which]
    return key


def of_rope(kind, causes, turn=None, heads=None, step=0):
    def make(draw, model):
        name = draw.choice(("q_rope", "k_rope")) if kind not in ("position-ahead", "head-part") else "q_rope"
        return Case(kind, f"blk.{draw.randrange(model.layers)}.{name}", frozenset(causes), step=step,
                    turn=turn(draw, model) if turn else None, heads=heads(draw, model) if heads else None)
    return make


def yarn(draw, model):
    factor, trained = draw.choice((2, 4, 8, 32)), draw.choice((512, 2048, 8192))

    def turn(at, frequency):
        lanes = model.rope

        def pair(turns):
            return lanes * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(model.base))
        low, high = max(0, math.floor(pair(32))), min(lanes - 1, math.ceil(pair(1)))
        ramp = np.clip((np.arange(lanes // 2) - low) / max(0.001, high - low), 0, 1)
        return at, frequency / factor * ramp + frequency * (1 - ramp), 1 + 0.1 * math.log(factor)
    return turn


def fewer_lanes(draw, model):
    return lambda at, frequency: (at, model.base ** (-np.arange(len(frequency) // 2) / (len(frequency) // 2)), 1.0)


def layer_left_out(draw, model):
    layer = draw.randrange(1, model.layers)
    case = Case("layer-missing", f"blk.{layer}.out", frozenset({"layer-missing"}))
    case.before = f"blk.{layer - 1}.out"
    return case


def embedded(kind, causes, rows):
    def make(draw, model):
        return Case(kind, "embd", frozenset(causes), tokens=rows(draw, model))
    return make


def other_token(draw, model):
    at, token = draw.randrange(MANY), draw.randrange(3, 2000)
    return lambda ids: [token if i == at and token != old else old for i, old in enumerate(ids)]


def next_row(draw, model):
    by = draw.choice((1, 2, -1))
    return lambda ids: [old + by for old in ids]


ZERO = {"rows-not-written", "row-tail", "token-tail", "unwritten", "head-part"}
KINDS = [
    of_result("head-scaled", {"scaled"}, ("q", "q_rope", "kqv"), head_scaled),
    of_result("token-scale", {"token-scale"}, ANY, token_scaled),
    of_result("norm-token-scale", {"token-scale"}, ("attn_norm", "ffn_norm"), token_scaled),
    of_result("tile-transposed", {"tile-transposed"}, ANY, transposed),
    of_result("tile-repeated", {"tile-repeated", "weight-rows-permuted", "edge-row"}, ANY, repeated),
    of_result("rows-not-written", ZERO, ANY, unwritten),
    of_result("bit-flipped", {"bit-flipped"}, ANY, flipped),
    of_result("bit-stuck", {"bit-stuck"}, ANY, stuck),
    of_result("bias", {"bias"}, PRODUCTS, vector_added),
    of_result("noise", NONE, ANY, noise),
    of_result("squeezed", NONE, ANY, squeezed),
    of_result("sorted", NONE, ANY, sorted_part),
    of_result("one-element", NONE, ANY, one_element),
    of_weights("group-scale", {"group-scale"}, PRODUCTS, group_scaled),
    of_weights("columns-permuted", {"columns-permuted"}, PRODUCTS, columns_moved),
    other_tensor,
    of_cache("kv-page", {"kv-page"}, cache=page),
    of_cache("key-unseen", {"key-unseen"}, unseen=unseen),
    of_cache("head-count", {"head-count"}, groups=lambda draw, model: lambda head: min(head, model.kv_heads - 1)),
    of_rope("head-part", {"head-part"}, heads=lambda draw, model: set(range(model.heads // 2))),
    of_rope("position-ahead", {"position-ahead"}, step=1,
            turn=lambda draw, model: lambda at, frequency: (at + 1, frequency, 1.0)),
    of_rope("rope-yarn", {"rope-yarn"}, turn=yarn),
    of_rope("rope-dimensions", {"rope-dimensions"}, turn=fewer_lanes),
    layer_left_out,
    embedded("wrong-token", {"wrong-token", "embedding-row"}, other_token),
    embedded("embedding-row", {"embedding-row"}, next_row),
]


def drawn(seed, model, kinds=KINDS):
    """The seed's case: the kinds take turns."""
    draw = random.Random(seed)
    case = kinds[seed % len(kinds)](draw, model)
    case.text = f"seed {seed}: {case.kind} at {case.operation}"
    return case


def run(model, case, tokens, decode, path, contract="f32", engine_of=Altered):
    """Writes the trace; returns the elements of the case's operation that are wrong."""
    made = engine_of(model, case, contract)
    if case is not None and hasattr(case, "before"):
        case.result = lambda y: next(values for name, values in reversed(made.out) if name == case.before).copy()
    steps, counts = [list(tokens)] + [[token] for token in decode], []
    for step in steps:
        before = len(made.out)
        made.step(step)
        counts.append(len(made.out) - before)
    said = {} if contract == "f32" else {"contract": contract, "kv": made.arithmetic.kv}
    engine.write(path, steps, counts, made.out, {"model": model.path, "model_sha256": model.sha256} | said)
    if case is None:
        return None
    if made.wrong is not None:
        return made.wrong
    # All before the operation is right, so what differs there is the case's.
    right = Altered(model, None, contract)
    for step in steps[:case.step + 1]:
        before = len(right.out)
        right.step(step)
    at = next(i for i in range(before, len(right.out)) if right.out[i][0] == case.operation)
    right, got = (one.out[at][1].astype(np.float64) for one in (right, made))
    return is_off(got, right, contract)


# --- whether a where clause is true ---

def ends(text, thing):
    """The first and the last that a part of a where clause names; None: all."""
    if f"all {thing}s" in text or f"each {thing}" in text:
        return None
    for pattern in (rf"from (\d+) to (\d+)", rf"{thing}s (\d+) to (\d+)", rf"{thing}s (\d+) and (\d+)"):
        found = re.search(pattern, text)
        if found:
            last = re.findall(r"\d+", text[found.start():])
            return int(found.group(1)), max(int(found.group(2)), *(map(int, re.findall(r"to (\d+)", text))), int(found.group(2))) \
                if last else None
    found = re.search(rf"{thing} (\d+)", text)
    return (int(found.group(1)),) * 2 if found else None


def is_true(where, wrong, head):
    """Whether the clause's outermost tokens and channels are those of the elements that were altered."""
    rows, columns = np.nonzero(wrong)
    tokens, _, rest = where.partition(", ")
    if tokens.startswith(tuple("0123456789")):
        second, _, rest = rest.partition(", ")
        tokens += ", " + second
    named = ends(tokens, "token") or (0, len(wrong) - 1)
    if named != (rows.min(), rows.max()):
        return False
    first, last = columns.min(), columns.max()
    place = rest.split(" (")[0]
    if "head" in place:
        named = ends(place, "head") or (0, wrong.shape[1] // head - 1)
        return (first // head, last // head) == tuple(named)
    named = ends(place, "channel") or (0, wrong.shape[1] - 1)
    return abs(named[0] - first) <= 1 and abs(named[1] - last) <= 1
