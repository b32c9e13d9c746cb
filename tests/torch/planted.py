"""Faults planted in modules of transformers by replacing what they do: assay must name each in a record of the run.

Each `plant` changes its model for good.
"""
import dataclasses
import typing


@dataclasses.dataclass(frozen=True)
class Fault:
    case: str
    plant: typing.Callable
    operation: str    # that is wrong
    causes: tuple = ()  # of which one must be named in a record of every operation
    where: str = ""     # what the "where" clause of such a record must hold
    # Of a record of layers' outputs alone: where a cause may be found. None: the fault is too small to be seen there.
    inside: tuple | None = ()
    named: bool = False  # whether one must be

    @property
    def places(self):
        return self.inside if self.inside is None else (self.operation, *self.inside)

    @property
    def segment(self):
        """(the output that ends it, the one before it) in a record of layers' outputs."""
        number = int(self.operation.split(".")[1]) if self.operation.startswith("blk.") else 0
        return f"blk.{number}.out", f"blk.{number - 1}.out" if number else "the tokens"


def layer(model, number):
    return model.model.layers[number]


def after(module, change):
    """What the module gives is changed."""
    original = module.forward
    module.forward = lambda *arguments, **named: change(original(*arguments, **named))


def before(module, change):
    """What the module is given first is changed."""
    original = module.forward
    module.forward = lambda x, *arguments, **named: original(change(x), *arguments, **named)


def part(x, where, change):
    """A copy of x with `change` at one place."""
    x = x.clone()
    x[where] = change(x[where])
    return x


def another_rope_base(model):
    import torch
    rotary = model.model.rotary_emb
    lanes = torch.arange(0, 2 * len(rotary.inv_freq), 2)
    rotary.inv_freq = 31337.0 ** (-lanes / (2 * len(rotary.inv_freq)))


def another_eps(model):
    layer(model, 1).input_layernorm.variance_epsilon = 0.05


def lanes_shifted(model):
    after(layer(model, 1).self_attn.k_proj, lambda x: x.roll(1, -1))


def a_head_scaled(model):
    head = layer(model, 1).self_attn.head_dim
    after(layer(model, 1).self_attn.q_proj, lambda x: part(x, (..., slice(2 * head, 3 * head)), lambda it: it * 1.1))


def a_number_added(model):
    after(layer(model, 2).self_attn.v_proj, lambda x: x + 0.125)


def last_rows_zero(model):
    after(layer(model, 1).mlp.down_proj, lambda x: part(x, (..., slice(-24, None)), lambda it: it * 0))


def a_token_scaled(model):
    after(layer(model, 2).self_attn.o_proj, lambda x: part(x, (slice(None), slice(5, 6)), lambda it: it * 1.25))


def weights_of_another_layer(model):
    layer(model, 2).self_attn.v_proj.weight = layer(model, 1).self_attn.v_proj.weight


def gate_and_up_exchanged(model):
    mlp = layer(model, 1).mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.gate_proj(x) * mlp.act_fn(mlp.up_proj(x)))


def no_mask(model):
    attention = layer(model, 1).self_attn
    original = attention.forward
    attention.forward = lambda *arguments, **named: original(*arguments, **{**named, "attention_mask": None})


def no_residual(model):
    block = layer(model, 2)

    def forward(hidden_states, **named):
        added = hidden_states + block.self_attn(hidden_states=block.input_layernorm(hidden_states), **named)[0]
        return block.mlp(block.post_attention_layernorm(added))
    block.forward = forward


def scores_scaled(model):
    layer(model, 2).self_attn.scaling *= 1.5


def heads_norm_left_out(model):
    layer(model, 1).self_attn.q_norm.forward = lambda x: x


def another_activation(model):
    import torch
    layer(model, 1).mlp.act_fn = torch.nn.SiLU()


def norm_halved(model):
    after(layer(model, 2).pre_feedforward_layernorm, lambda x: x / 2)


def norms_weight_without_one(model):
    import torch
    norm = layer(model, 3).post_attention_layernorm
    norm.weight = torch.nn.Parameter(norm.weight.detach() - 1)


def embedding_not_scaled(model):
    model.model.embed_tokens.embed_scale.fill_(1)


def router_of_another_input(model):
    before(layer(model, 1).mlp.gate, lambda x: x * 1.0625)


def experts_weights_not_normalised(model):
    layer(model, 1).mlp.gate.norm_topk_prob = False


def experts_result_doubled(model):
    after(layer(model, 2).mlp.experts, lambda x: x * 2)


FAULTS = {
    "another-rope-base": Fault("Llama", another_rope_base, "blk.0.q_rope", ("rope-base",), named=True),
    "lanes-shifted": Fault("Llama", lanes_shifted, "blk.1.k", where="all channels"),
    "a-head-scaled": Fault("Llama", a_head_scaled, "blk.1.q", ("scaled",), "head 2 of 4"),
    "last-rows-zero": Fault("Llama", last_rows_zero, "blk.1.down", ("row-tail",), "channels 104 to 127, zero",
                            inside=("blk.1.out",)),  # what is not added is zero
    "another-eps": Fault("Qwen3", another_eps, "blk.1.attn_norm", ("norm-eps",)),
    "gate-and-up-exchanged": Fault("Qwen3", gate_and_up_exchanged, "blk.1.act", ("gate-up-swapped",), named=True),
    "no-residual": Fault("Qwen3", no_residual, "blk.2.out", ("residual-missing",), named=True),
    # A head's norm and the scores' scale are one factor.
    "scores-scaled": Fault("Qwen3", scores_scaled, "blk.2.kqv", ("score-scale",), inside=("blk.2.q_norm",), named=True),
    "heads-norm-left-out": Fault("Qwen3", heads_norm_left_out, "blk.1.q_norm", ("norm-missing",), named=True),
    "weights-of-another-layer": Fault("Gemma3Text", weights_of_another_layer, "blk.2.v", ("weight-other",), named=True),
    "another-activation": Fault("Gemma3Text", another_activation, "blk.1.act", ("activation-silu",)),
    "norm-halved": Fault("Gemma3Text", norm_halved, "blk.2.ffn_norm", ("scaled",), "× 0.5"),
    "norms-weight-without-one": Fault("Gemma3Text", norms_weight_without_one, "blk.3.attn_post_norm",
                                      ("norm-weight-minus-one",), named=True),
    "embedding-not-scaled": Fault("Gemma3Text", embedding_not_scaled, "embd_scaled", ("factor-missing",), named=True),
    "no-mask": Fault("Qwen3Moe", no_mask, "blk.1.kqv", ("mask-missing",), named=True),
    # The same factor of what the product is given.
    "a-token-scaled": Fault("Qwen3Moe", a_token_scaled, "blk.2.attn_out", ("token-scale",), "token 5, all channels",
                            inside=("blk.2.kqv",)),
    # The weights of a softmax add up to 1.
    "a-number-added": Fault("Qwen3Moe", a_number_added, "blk.2.v", where="all channels, + 0.125", inside=("blk.2.kqv",)),
    "router-of-another-input": Fault("Qwen3Moe", router_of_another_input, "blk.1.router", ("scaled",), inside=None),
    "experts-weights-not-normalised": Fault("Qwen3Moe", experts_weights_not_normalised, "blk.1.routing",
                                            ("route-not-renormalised",)),
    # One factor of what is added.
    "experts-result-doubled": Fault("Qwen3Moe", experts_result_doubled, "blk.2.experts", ("scaled",), "× 2",
                                    inside=("blk.2.out", "blk.2.experts_up"), named=True),
}
