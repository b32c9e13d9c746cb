"""What the modules of known trees compute, by the names of docs/trace-format.md: transformers, vLLM and SGLang.

The one table of `python -m assay.capture transformers` and of assay.record. A tree has `attach(recorder)`, which hangs
the recorder's hooks on the modules, `root(model)`, the module whose call is a step, and `order(model)`, the names in
the order in which they are computed.

PyTorch rotates lane i of a head of d lanes with lane i + d/2. GGUF's llama rotates neighbours: its Q and K come out in
the GGUF file's order, lane i as 2i and lane i + d/2 as 2i + 1. The other architectures' files keep PyTorch's order.
"""
from __future__ import annotations

import sys

import numpy

# The types of models whose Q and K GGUF files hold permuted, and those whose order is PyTorch's.
PERMUTED = ("llama", "mistral", "smollm3", "granite", "granitemoe", "arcee")
UNPERMUTED = ("qwen2", "qwen3", "phi3", "qwen2_moe", "qwen3_moe", "mixtral", "gpt_oss", "gemma2", "gemma3_text", "olmo2",
              "olmo3", "olmoe", "exaone4", "glm4", "glm4_moe", "seed_oss", "starcoder2", "minimax_m2")
HEADS_FIRST = ("gemma3_text", "exaone4")  # their norms of q and k read (heads, tokens, channels of a head)
# Names within a layer in execution order, with the submodule whose output (>) or first input (<) each is, or several of
# which a model has one. A name whose submodule a model lacks is left out.
OF_LAYERS = {
    "attn_norm": (">", "input_layernorm"),
    "q": (">", "self_attn.q_proj"),
    "k": (">", "self_attn.k_proj"),
    "v": (">", "self_attn.v_proj"),
    "q_norm": (">", "self_attn.q_norm"),
    "k_norm": (">", "self_attn.k_norm"),
    "q_rope": None,   # see Transformers.wrap_rotary
    "k_rope": None,
    "kq_soft": None,  # the attention's second output
    "kqv": ("<", "self_attn.o_proj"),
    "attn_out": (">", "self_attn.o_proj"),
    "attn_post_norm": (">", "post_self_attn_layernorm"),
    "attn_residual": ("<", "post_attention_layernorm"),
    "ffn_norm": (">", "post_attention_layernorm"),
    "router": (">", "mlp.gate", "mlp.router", "block_sparse_moe.router"),
    "routing_ids": None,      # the router's other outputs
    "routing_weights": None,
    "experts": (">", "mlp.experts", "block_sparse_moe.experts"),
    "shared_gate": (">", "mlp.shared_expert.gate_proj", "mlp.shared_experts.gate_proj"),
    "shared_up": (">", "mlp.shared_expert.up_proj", "mlp.shared_experts.up_proj"),
    "shared_act": ("<", "mlp.shared_expert.down_proj", "mlp.shared_experts.down_proj"),
    "shared_down": (">", "mlp.shared_expert.down_proj", "mlp.shared_experts.down_proj"),
    "shared_router": (">", "mlp.shared_expert_gate"),
    "gate": (">", "mlp.gate_proj"),
    "up": (">", "mlp.up_proj", "mlp.c_fc"),
    "act": ("<", "mlp.down_proj", "mlp.c_proj"),
    "down": (">", "mlp.down_proj", "mlp.c_proj"),
    "ffn_post_norm": (">", "post_feedforward_layernorm", "post_mlp_layernorm"),
    "out": (">", ""),
}
# Where there is a norm after the feed-forward part, the one after attention is of its result alone.
POST_NORMED = {"attn_post_norm": (">", "post_attention_layernorm"),
               "attn_residual": ("<", "pre_feedforward_layernorm", "mlp"),
               "ffn_norm": (">", "pre_feedforward_layernorm")}
# Submodules that give several values side by side.
FUSED = {"self_attn.qkv_proj": ("q", "k", "v"), "mlp.gate_up_proj": ("gate", "up")}
OF_THE_WHOLE = {"out_norm": "model.norm", "logits": "lm_head"}
# Fields of the configuration that change what the embedding or the head give, and the results' names; gemma's classes
# scale the embedding without a field.
EMBEDDING_SCALES = ("embedding_multiplier",)
SCALED_EMBEDDINGS = ("gemma2", "gemma3_text")
HEADS = {"final_logit_softcapping": "logits_capped", "logits_scaling": "logits_scaled"}


def has_module(layer, path):
    try:
        layer.get_submodule(path)
        return True
    except AttributeError:
        return False


def places(layer):
    """{name: (side, submodule)} of a layer, in execution order; None for what no submodule has, () where it is missing."""
    found = OF_LAYERS | (POST_NORMED if has_module(layer, "post_feedforward_layernorm") else {})

    def choose(side, *paths):
        return next(((side, path) for path in paths if has_module(layer, path)), ())

    chosen = {name: where and choose(*where) for name, where in found.items()}
    if not chosen["router"]:
        del chosen["routing_ids"], chosen["routing_weights"]
    return chosen


def widths(config, path):
    """How wide the parts of a fused product are, in the order of FUSED."""
    if path == "mlp.gate_up_proj":
        return [config.intermediate_size] * 2
    return [config.num_attention_heads * head_width(config)] + [config.num_key_value_heads * head_width(config)] * 2


def head_width(config):
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def is_permuted(config):
    return config.model_type in PERMUTED


def scales_embedding(config):
    return config.model_type in SCALED_EMBEDDINGS or any(getattr(config, one, 1) != 1 for one in EMBEDDING_SCALES)


def last_logits(config):
    """The name of what the logits are made to at last, if they are."""
    return [name for field, name in HEADS.items() if getattr(config, field, None) not in (None, 1, 1.0)]


def neighbours(array, head):
    """From PyTorch's order of lanes to the GGUF file's, in the last dimension: i -> 2i, i + head/2 -> 2i + 1."""
    halves = array.reshape(*array.shape[:-1], -1, 2, head // 2)
    return halves.swapaxes(-1, -2).reshape(array.shape).copy()


def lanes_of(config):
    """What is to be done with Q and K, or None."""
    return (lambda array: neighbours(array, head_width(config))) if is_permuted(config) else None


def first(output):
    return output[0] if isinstance(output, (tuple, list)) else output


def tokens_first(tensor):
    """(…, heads, tokens, lanes) as (…, tokens, heads, lanes)."""
    return tensor.transpose(-3, -2)


def argument(arguments, named, name=""):
    """The first argument of a call, by its place or its name."""
    return arguments[0] if arguments else named.get(name, next(iter(named.values())))


class Transformers:
    """Classes that are built as LlamaForCausalLM is."""

    @staticmethod
    def root(model):
        return model

    @staticmethod
    def order(model):
        config = model.config

        def expected(layer):
            fused = {name for path, parts in FUSED.items() if has_module(layer, path) for name in parts}
            return [name for name, where in places(layer).items() if where or where is None or name in fused]

        return ["embd", *(["embd_scaled"] if scales_embedding(config) else []),
                *(f"blk.{i}.{name}" for i, layer in enumerate(model.model.layers) for name in expected(layer)),
                "out_norm", "logits", *last_logits(config)]

    def attach(self, recorder):
        model, config = recorder.model, recorder.model.config
        self._layer = ""

        def looked_up(arguments, named):
            recorder.keep("embd", model.model.embed_tokens.weight[argument(arguments, named)])

        recorder.pre_hook(model.model.embed_tokens, looked_up)
        if scales_embedding(config):
            recorder.pre_hook(model.model.layers[0], lambda arguments, named: recorder.keep(
                "embd_scaled", argument(arguments, named, "hidden_states")))
        for name, path in OF_THE_WHOLE.items():
            self._output(recorder, name, model.get_submodule(path))
        for name in last_logits(config):
            recorder.hook(model, lambda _, __, output, name=name: recorder.keep(name, output.logits))
        for i, layer in enumerate(model.model.layers):
            self._attach_layer(recorder, config, f"blk.{i}.", layer)
        self.wrap_rotary(recorder, config, model.model.layers[0].self_attn)

    @staticmethod
    def _output(recorder, name, module, change=None):
        recorder.hook(module, lambda _, __, output: recorder.keep(name, first(output), change))

    def _attach_layer(self, recorder, config, prefix, layer):
        change = {"q": lanes_of(config), "k": lanes_of(config)}
        split = set()
        for path, parts in FUSED.items():
            if has_module(layer, path):
                split.update(parts)
                self._split(recorder, prefix, parts, layer.get_submodule(path), widths(config, path), change)
        for name, where in places(layer).items():
            if not where or name in split:
                continue
            side, path = where
            module = layer.get_submodule(path)
            if side == "<":
                recorder.pre_hook(module, lambda arguments, named, name=name: recorder.keep(
                    prefix + name, argument(arguments, named, "hidden_states")))
            elif name == "router":
                self._router(recorder, prefix, module)
            elif name in ("q_norm", "k_norm") and config.model_type in HEADS_FIRST:
                recorder.hook(module, lambda _, __, output, name=name: recorder.keep(prefix + name, tokens_first(output)))
            else:
                self._output(recorder, prefix + name, module, change.get(name))

        def begin(*_):
            self._layer = prefix

        def end(_, __, output):
            if isinstance(output, tuple) and len(output) > 1 and output[1] is not None:  # (1, heads, tokens, keys)
                recorder.keep(prefix + "kq_soft", tokens_first(output[1]))

        recorder.pre_hook(layer.self_attn, begin)
        recorder.hook(layer.self_attn, end)

    @staticmethod
    def _split(recorder, prefix, names, module, parts, change):
        def hook(_, __, output):
            begin = 0
            for name, width in zip(names, parts):
                recorder.keep(prefix + name, first(output)[..., begin:begin + width], change.get(name))
                begin += width
        recorder.hook(module, hook)

    @staticmethod
    def _router(recorder, prefix, module):
        """Its logits, the weights and the ids of the chosen."""
        def hook(_, __, output):
            recorder.keep(prefix + "router", first(output))
            if isinstance(output, tuple) and len(output) == 3:
                recorder.keep(prefix + "routing_ids", output[2], lambda ids: ids.astype(numpy.float32))
                recorder.keep(prefix + "routing_weights", output[1])
        recorder.hook(module, hook)

    def wrap_rotary(self, recorder, config, attention):
        module = sys.modules[type(attention).__module__]
        rotate = module.apply_rotary_pos_emb

        def rotary(*arguments, **named):
            rotated = rotate(*arguments, **named)
            for name, tensor in zip(("q_rope", "k_rope"), rotated):  # (1, heads, tokens, head_dim)
                recorder.keep(self._layer + name, tokens_first(tensor), lanes_of(config))
            return rotated

        module.apply_rotary_pos_emb = rotary
        recorder.undo(setattr, module, "apply_rotary_pos_emb", rotate)


class Serving:
    """The classes of vLLM and SGLang that are built as their LlamaForCausalLM is.

    Products give (values, bias). A norm that is given the residual, too, adds first and gives both: its second result
    is the sum. Rows are the tokens of the step, without a dimension for sequences. The logits come from the module
    `logits_processor`, after the call of the model.
    """
    # As OF_LAYERS; with the sum that the norm makes.
    OF_LAYERS = {
        "attn_norm": "input_layernorm",
        "q_norm": "self_attn.q_norm",
        "k_norm": "self_attn.k_norm",
        "kqv": "self_attn.attn",
        "attn_out": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "router": "mlp.gate",
        "experts": "mlp.experts",
        "up": "mlp.gate_up_proj",  # gate and up: the reader of traces splits them
        "act": "mlp.act_fn",
        "down": "mlp.down_proj",
    }
    POST_NORMED = {"attn_post_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
                   "ffn_post_norm": "post_feedforward_layernorm"}

    @staticmethod
    def root(model):
        return model.get_submodule("model") if has_module(model, "model") else model

    @classmethod
    def order(cls, model):
        layers = len(cls.root(model).layers)
        inner = ("attn_norm", "q", "k", "v", "q_norm", "k_norm", "q_rope", "k_rope", "kqv", "attn_out", "attn_post_norm",
                 "attn_residual", "ffn_norm", "router", "experts", "up", "act", "down", "ffn_post_norm", "out")
        return ["embd", "embd_scaled", *(f"blk.{i}.{name}" for i in range(layers) for name in inner), "out_norm", "logits"]

    def attach(self, recorder):
        model = recorder.model
        inner, config = self.root(model), model.config
        self._layer = ""
        lanes = lanes_of(config)
        recorder.hook(inner.embed_tokens, lambda _, __, output: recorder.keep("embd", output))
        # The sum that a norm makes is the block's output for the next block's first norm, and for the last norm.
        for i, layer in enumerate(inner.layers):
            self._attach_layer(recorder, i, layer, lanes)
        self._norm(recorder, "out_norm", f"blk.{len(inner.layers) - 1}.out", inner.norm)
        rotaries = {id(layer.self_attn.rotary_emb): layer.self_attn.rotary_emb for layer in inner.layers
                    if has_module(layer, "self_attn.rotary_emb")}  # layers share them
        for rotary in rotaries.values():
            def rotated(_, __, output):
                for name, tensor in zip(("q_rope", "k_rope"), output):
                    recorder.keep(self._layer + name, tensor, lanes)
            recorder.hook(rotary, rotated)
        if has_module(model, "logits_processor"):
            recorder.hook(model.logits_processor, lambda _, __, output: self.keep_logits(recorder, output))

    @staticmethod
    def keep_logits(recorder, output):
        """Of vLLM a tensor, of SGLang an object that holds one."""
        logits = getattr(output, "next_token_logits", output)
        if logits is not None:
            recorder.keep("logits", logits)

    @staticmethod
    def _norm(recorder, name, sum_name, module):
        def hook(_, __, output):
            recorder.keep(name, first(output))
            if isinstance(output, (tuple, list)) and sum_name:
                recorder.keep(sum_name, output[1])
        recorder.hook(module, hook)

    def _attach_layer(self, recorder, number, layer, lanes):
        prefix = f"blk.{number}."
        post_normed = has_module(layer, "pre_feedforward_layernorm")
        sums = {"attn_norm": f"blk.{number - 1}.out" if number else "", "ffn_norm": prefix + "attn_residual"}
        for name, path in (self.OF_LAYERS | (self.POST_NORMED if post_normed else {})).items():
            if not has_module(layer, path):
                continue
            module = layer.get_submodule(path)
            if name in sums:
                self._norm(recorder, prefix + name, sums[name], module)
            else:
                recorder.hook(module, lambda _, __, output, name=name: recorder.keep(prefix + name, first(output)))
        attention = layer.self_attn

        def begin(*_):
            self._layer = prefix

        def products(_, __, output):
            begin = 0
            for name, width in (("q", attention.q_size), ("k", attention.kv_size), ("v", attention.kv_size)):
                recorder.keep(prefix + name, first(output)[..., begin:begin + width], lanes if name != "v" else None)
                begin += width

        recorder.pre_hook(attention, begin)
        if has_module(attention, "qkv_proj"):
            recorder.hook(attention.qkv_proj, products)


def known(model):
    """The tree that the model's modules are, or None."""
    package = type(model).__module__.split(".")[0]
    kind = getattr(getattr(model, "config", None), "model_type", None)
    if kind not in PERMUTED + UNPERMUTED:
        return None
    if package in ("vllm", "sglang"):
        return Serving()
    return Transformers() if has_module(model, "model.layers") and has_module(model, "lm_head") else None
