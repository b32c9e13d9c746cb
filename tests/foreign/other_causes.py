"""More kinds of altered runs for the sweep of causes_test.py: parts exchanged, clipped, rounded, not finite; parameters that are another.

The elements that are wrong are those in which the operation's result differs from a right engine's.
"""
import math

import causes
import numpy as np
from arithmetic import rounded
from causes import ANY, Case, F, MANY, NONE, PRODUCTS, ZERO, in_box, of_result, of_rope, of_weights, span

MOVED = {"tile-repeated", "columns-permuted", "weight-rows-permuted", "weight-rows-shifted", "weight-row-shift", "edge-row"}


class Other(causes.Altered):
    """The numpy engine in which a case may also replace what an operation computes."""

    def norm(self, x, weight, name, layer, kind):
        if not (self.here(name) and getattr(self.case, "norm", None)):
            return super().norm(x, weight, name, layer, kind)
        return self.keep(name, self.case.norm(self, x.astype(np.float64), self.model.weight(weight), layer, kind), "norm")

    def activate(self, gate, up, layer):
        if not (self.here(f"blk.{layer}.act") and getattr(self.case, "act", None)):
            return super().activate(gate, up, layer)
        return self.keep(f"blk.{layer}.act", self.case.act(gate.astype(np.float64), up.astype(np.float64)), "elementwise")

    def attend(self, q, positions, layer):
        if not (self.here(f"blk.{layer}.kqv") and getattr(self.case, "attention", None)):
            return super().attend(q, positions, layer)
        model = self.model
        keys, values, y = self.keys[layer], self.values[layer], np.empty((len(q), model.heads, model.head), F)
        queries = q.reshape(y.shape)
        for head in range(model.heads):
            kv = head // (model.heads // model.kv_heads)
            for t, position in enumerate(positions):
                scores = keys[:, kv].astype(np.float64) @ queries[t, head].astype(np.float64)
                seen = np.arange(len(keys)) <= position
                p = self.case.attention(scores / math.sqrt(model.head), seen, int(position), head)
                y[t, head] = p @ values[:, kv].astype(np.float64)
        return self.keep(f"blk.{layer}.kqv", y.reshape(q.shape), "attention")


# --- results ---

def whole(change):
    """A change of all elements: change(draw) -> (array) -> array."""
    return lambda draw, width, model: change(draw)


def boxed(change, least=8):
    return lambda draw, width, model: in_box(draw, width, change(draw), least)


def number_added(draw):
    by = F(draw.choice((-1, 1)) * draw.uniform(0.5, 2))
    return lambda y: y + by * np.abs(y).mean()


def tokens_exchanged(draw, width, model):
    a, b = draw.sample(range(MANY), 2)

    def altered(y):
        y[[a, b]] = y[[b, a]]
        return y
    return altered


def tokens_moved(draw):
    return lambda y: np.concatenate([y[:1], y[:-1]])


def channels_rolled(draw, width, model):
    by = draw.choice((1, -1, model.head, 8))
    return lambda y: np.roll(y, by, axis=1)


def channels_exchanged(draw, width, model):
    a, b = draw.sample(range(width), 2)

    def altered(y):
        y[:, [a, b]] = y[:, [b, a]]
        return y
    return altered


def heads_exchanged(draw, width, model):
    a, b = draw.sample(range(width // model.head), 2)

    def altered(y):
        y = y.reshape(len(y), -1, model.head)
        y[:, [a, b]] = y[:, [b, a]]
        return y.reshape(len(y), -1)
    return altered


def clipped(draw):
    part = draw.uniform(0.3, 0.9)

    def altered(y):
        limit = F(np.quantile(np.abs(y), part))
        return np.clip(y, -limit, limit)
    return altered


def rounded_to(draw):
    kind = draw.choice(("f16", "bf16"))
    return lambda y: rounded(y, kind)


def every_second(draw, width, model):
    step, first = draw.choice((2, 4, 16)), draw.randrange(2)

    def altered(y):
        y[:, first::step] = 0
        return y
    return altered


def head_zero(draw, width, model):
    head = draw.randrange(width // model.head)

    def altered(y):
        y[:, head * model.head:(head + 1) * model.head] = 0
        return y
    return altered


# --- weights ---

def row_scaled(draw, model):
    row, by = draw.randrange(64), draw.choice((1.5, 0.25, -1))

    def altered(w):
        w[row] *= F(by)
        return w
    return altered


def rows_exchanged(draw, model):
    a, b = draw.sample(range(64), 2)

    def altered(w):
        w[[a, b]] = w[[b, a]]
        return w
    return altered


def column_zero(draw, model):
    column = draw.randrange(64)

    def altered(w):
        w[:, column] = 0
        return w
    return altered


def coarser(draw, model):
    """Quantised again to four bits, in blocks of 32."""
    def altered(w):
        blocks = w.reshape(-1, 32)
        d = np.abs(blocks).max(axis=1, keepdims=True) / F(7)
        return (np.rint(blocks / np.where(d == 0, F(1), d)) * d).astype(F).reshape(w.shape)
    return altered


def of_another_name(draw, model):
    layer = draw.randrange(model.layers)
    name, other = draw.choice((("attn_q", "attn_output"), ("attn_k", "attn_v"), ("attn_v", "attn_k"), ("ffn_up", "ffn_gate")))
    short = {"attn_q": "q", "attn_k": "k", "attn_v": "v", "ffn_up": "up"}[name]
    return Case("another-name", f"blk.{layer}.{short}", frozenset({"weight-other"}),
                weights=lambda w: model.weight(f"blk.{layer}.{other}.weight").copy())


# --- parameters ---

def with_rule(kind, causes_, operation, **rules):
    def make(draw, model):
        case = Case(kind, f"blk.{draw.randrange(model.layers)}.{draw.choice(operation)}", frozenset(causes_))
        for name, rule in rules.items():
            setattr(case, name, rule(draw, model))
        return case
    return make


NORMS = ("attn_norm", "ffn_norm")


def eps(draw, model):
    eps = draw.choice((1e-2, 1e-3, 0.1))
    return lambda run, x, w, layer, kind: x / np.sqrt((x * x).mean(axis=1, keepdims=True) + eps) * w


def mean_taken(draw, model):
    def norm(run, x, w, layer, kind):
        x = x - x.mean(axis=1, keepdims=True)
        return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + run.model.eps) * w
    return norm


def others_weight(draw, model):
    def norm(run, x, w, layer, kind):
        other = run.model.weight(f"blk.{layer}.{'ffn_norm' if kind == 'attn_norm' else 'attn_norm'}.weight")
        return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + run.model.eps) * other
    return norm


def summed_short(draw, model):
    """The last part of the row does not count in the mean."""
    left = draw.choice((1, 4, 16))
    return lambda run, x, w, layer, kind: x / np.sqrt((x[:, :-left] ** 2).sum(axis=1, keepdims=True) / x.shape[1] + run.model.eps) * w


def activation(draw, model):
    return draw.choice((lambda g, u: g / (1 + np.exp(-1.702 * g)) * u, lambda g, u: u / (1 + np.exp(-g)), lambda g, u: g / (1 + np.exp(-g)),
                        lambda g, u: np.maximum(g, 0) ** 2 * u, lambda g, u: g / (1 + np.exp(-g)) * (u + 1)))


def softmax(scores, seen):
    p = np.where(seen, np.exp(scores - scores[seen].max()), 0)
    return p / p.sum()


def score_scale(draw, model):
    by = draw.choice((0.5, 2, 1.2, math.sqrt(model.head), 1 / math.sqrt(model.head)))
    return lambda scores, seen, at, head: softmax(scores * by, seen)


def zero_logit(draw, model):
    return lambda scores, seen, at, head: (lambda p: p / (p.sum() + 1))(np.where(seen, np.exp(scores), 0))


def alibi(draw, model):
    return lambda scores, seen, at, head: softmax(scores - 2 ** (-8 * (head + 1) / model.heads) * (at - np.arange(len(scores))), seen)


def no_maximum_of_one_head(draw, model):
    other = draw.randrange(model.heads)
    return lambda scores, seen, at, head: softmax(scores, seen if head != other else np.ones_like(seen))


def uniform(draw, model):
    return lambda scores, seen, at, head: seen / seen.sum()


def half_of_keys(draw, model):
    step = draw.choice((2, 3))
    return lambda scores, seen, at, head: softmax(scores, seen & ((np.arange(len(seen)) % step == 0) | (np.arange(len(seen)) == at)))


def base(draw, model):
    new = draw.choice((500000.0, 1000.0, 1e6))
    return lambda at, frequency: (at, new ** (-np.arange(len(frequency)) / len(frequency)), 1.0)


def backwards(draw, model):
    return lambda at, frequency: (-at, frequency, 1.0)


def linear(draw, model):
    by = draw.choice((2, 4, 0.5))
    return lambda at, frequency: (at / by, frequency, 1.0)


def magnitude(draw, model):
    by = draw.choice((1.1, 0.5))
    return lambda at, frequency: (at, frequency, by)


def behind(draw, model):
    by = draw.choice((1, 2, -1))
    return lambda at, frequency: (at + by, frequency, 1.0)


def one_lane_left(draw, model):
    lane = draw.randrange(2)

    def turn(at, frequency):
        frequency = frequency.copy()
        frequency[lane] = 0
        return at, frequency, 1.0
    return turn


KINDS = [
    of_result("sign", {"scaled", "bit-flipped"}, ANY, boxed(lambda draw: lambda part: -part)),
    of_result("part-scaled", {"scaled", "token-scale"}, ANY,
              boxed(lambda draw: (lambda by: lambda part: part * by)(F(draw.choice((0.5, 2, 1.25, 1.01, 100)))))),
    of_result("number-added", {"bias"}, ANY, whole(number_added)),
    of_result("number-added-to-part", {"bias"}, ANY, boxed(number_added)),
    of_result("nan", {"not-finite", "softmax-not-finite"}, ANY, boxed(lambda draw: lambda part: part * F(np.nan))),
    of_result("infinite", {"not-finite", "softmax-not-finite", "f16-overflow"}, ANY, boxed(lambda draw: lambda part: part * 0 + F(np.inf))),
    of_result("tokens-exchanged", MOVED, ANY, tokens_exchanged),
    of_result("tokens-moved", MOVED, ANY, whole(tokens_moved)),
    of_result("channels-rolled", MOVED | {"head-count"}, ANY, channels_rolled),
    of_result("channels-exchanged", MOVED, ANY, channels_exchanged),
    of_result("heads-exchanged", MOVED, ("q", "q_rope", "kqv"), heads_exchanged),
    of_result("clipped", {"clipped"}, ANY, whole(clipped)),
    of_result("rounded", {"f16-result", "bf16-result"}, ANY, whole(rounded_to)),
    of_result("every-second-zero", ZERO, ANY, every_second),
    of_result("head-zero", ZERO, ("q", "q_rope", "kqv"), head_zero),
    of_weights("row-scaled", {"scaled", "group-scale"}, PRODUCTS, row_scaled),
    of_weights("rows-exchanged", MOVED, PRODUCTS, rows_exchanged),
    of_weights("column-zero", NONE, PRODUCTS, column_zero),
    of_weights("coarser", NONE, PRODUCTS, coarser),
    of_another_name,
    with_rule("eps", {"norm-eps"}, NORMS, norm=eps),
    with_rule("mean-taken", {"norm-mean-taken", "norm-layer"}, NORMS, norm=mean_taken),
    with_rule("norm-of-another-weight", {"weight-other"}, NORMS, norm=others_weight),
    with_rule("norm-summed-short", {"token-scale"}, NORMS, norm=summed_short),
    with_rule("activation", {"activation-gelu-quick", "activation-sigmoid", "activation-relu-squared", "gate-missing"}, ("act",), act=activation),
    with_rule("score-scale", {"score-scale", "score-scale-missing", "score-scale-twice"}, ("kqv",), attention=score_scale),
    with_rule("zero-logit", {"softmax-padding"}, ("kqv",), attention=zero_logit),
    with_rule("alibi", NONE, ("kqv",), attention=alibi),
    with_rule("mask-of-one-head", {"mask-missing"}, ("kqv",), attention=no_maximum_of_one_head),
    # As keys of zeros make it.
    with_rule("uniform", {"score-scale", "kv-page"}, ("kqv",), attention=uniform),
    with_rule("half-of-keys", NONE, ("kqv",), attention=half_of_keys),
    of_rope("rope-base", {"rope-base"}, turn=base),
    of_rope("rope-backwards", {"rope-backwards"}, turn=backwards),
    of_rope("rope-linear", {"rope-scaling"}, turn=linear),
    of_rope("rope-magnitude", {"rope-magnitude", "scaled"}, turn=magnitude),
    of_rope("rope-behind", {"position-off-by-one", "position-stuck"}, turn=behind),
    of_rope("rope-lane", {"rope-factors", "rope-dimensions"}, turn=one_lane_left),
]
