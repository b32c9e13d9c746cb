"""Faults planted in modules of transformers by replacing what they do: assay must name each in a record of the run.

A fault is `plant(model)`, the operation that is wrong, and what must be said about it: the causes of which one must be
named, or what the "where" clause must hold (docs/diagnosis.md). Each changes its model for good.
"""
import dataclasses
import typing


@dataclasses.dataclass(frozen=True)
class Fault:
    cases: tuple
    plant: typing.Callable
    operation: str
    causes: tuple = ()
    where: str = ""  # a regular expression


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


def one_expert_less(model):
    layer(model, 2).mlp.gate.top_k = 2


def experts_result_doubled(model):
    after(layer(model, 2).mlp.experts, lambda x: x * 2)


ALL = ("Llama", "Qwen3", "Gemma3Text", "Qwen3Moe")
PLAIN = ("Llama", "Qwen3", "Qwen3Moe")  # one rotation of all layers, two norms a layer
DENSE = ("Llama", "Qwen3")
FAULTS = {
    "another-rope-base": Fault(PLAIN, another_rope_base, "blk.0.q_rope", ("rope-base",)),
    "another-eps": Fault(PLAIN, another_eps, "blk.1.attn_norm", ("norm-eps",)),
    "lanes-shifted": Fault(ALL, lanes_shifted, "blk.1.k", ("x",)),
    "a-head-scaled": Fault(ALL, a_head_scaled, "blk.1.q", (), "head 2 of 4"),
    "a-number-added": Fault(ALL, a_number_added, "blk.2.v", (), "0.125"),
    "last-rows-zero": Fault(DENSE + ("Gemma3Text",), last_rows_zero, "blk.1.down", ("x",)),
    "a-token-scaled": Fault(ALL, a_token_scaled, "blk.2.attn_out", (), "token 5"),
    "weights-of-another-layer": Fault(ALL, weights_of_another_layer, "blk.2.v", ("weight-other",)),
    "gate-and-up-exchanged": Fault(DENSE + ("Gemma3Text",), gate_and_up_exchanged, "blk.1.act", ("gate-up-swapped",)),
    "no-mask": Fault(ALL, no_mask, "blk.1.kqv", ("mask-missing",)),
    "no-residual": Fault(PLAIN, no_residual, "blk.2.out", ("x",)),
    "scores-scaled": Fault(ALL, scores_scaled, "blk.2.kqv", ("x",)),
    "heads-norm-left-out": Fault(("Qwen3", "Gemma3Text", "Qwen3Moe"), heads_norm_left_out, "blk.1.q_norm", ("x",)),
    "another-activation": Fault(("Gemma3Text",), another_activation, "blk.1.act", ("x",)),
    "norm-halved": Fault(("Gemma3Text",), norm_halved, "blk.2.ffn_norm", ("scaled",)),
    "norms-weight-without-one": Fault(("Gemma3Text",), norms_weight_without_one, "blk.3.attn_post_norm", ("x",)),
    "embedding-not-scaled": Fault(("Gemma3Text",), embedding_not_scaled, "embd_scaled", ("x",)),
    "router-of-another-input": Fault(("Qwen3Moe",), router_of_another_input, "blk.1.router", ("scaled",)),
    "experts-weights-not-normalised": Fault(("Qwen3Moe",), experts_weights_not_normalised, "blk.1.routing", ("x",)),
    "one-expert-less": Fault(("Qwen3Moe",), one_expert_less, "blk.2.routing", ("x",)),
    "experts-result-doubled": Fault(("Qwen3Moe",), experts_result_doubled, "blk.2.experts", ("x",)),
}
