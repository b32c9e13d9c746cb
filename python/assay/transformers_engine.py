"""Captures what Hugging Face's transformers compute, by forward hooks on a LlamaForCausalLM or its like, in float32.

Known are the classes of PERMUTED and UNPERMUTED. A fused product (qkv_proj, gate_up_proj) is split into its parts.

Attention is eager, so that `kq_soft` exists; `q_rope` and `k_rope` are the results of apply_rotary_pos_emb, which
is wrapped while the model runs. `kq` is not seen, nor what single experts compute: their weights are no modules.
PyTorch rotates lane i of a head of d lanes with lane i + d/2. GGUF's llama rotates neighbours: its Q and K come out in
the GGUF file's order, lane i as 2i and lane i + d/2 as 2i + 1. The other architectures' files keep PyTorch's order.
"""
from __future__ import annotations

import contextlib
import os
import pathlib
import sys

import numpy

from assay import install
from assay.captured import Captured, CaptureError, difference

# The architectures whose Q and K GGUF files hold permuted, and those whose order is PyTorch's.
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
    "q_rope": None,   # see rotary
    "k_rope": None,
    "kq_soft": None,  # the attention's second output
    "kqv": ("<", "self_attn.o_proj"),
    "attn_out": (">", "self_attn.o_proj"),
    "attn_post_norm": (">", "post_self_attn_layernorm"),
    "attn_residual": ("<", "post_attention_layernorm"),
    "ffn_norm": (">", "post_attention_layernorm"),
    "router": (">", "mlp.gate", "mlp.router", "block_sparse_moe.router"),
    "routing": None,  # the router's other outputs
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


def load(path):
    """(torch, transformers, model in float32 on the CPU). `path`: a folder, or a GGUF file. Raises CaptureError."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # a path that is none must not be looked up elsewhere
    try:
        import torch
        import transformers
    except ImportError as missing:
        raise CaptureError(f"transformers cannot be imported ({missing}); to install it: "
                           + install.command(*install.PACKAGES["transformers"])) from None
    dtype = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
    model = open_pretrained(transformers.AutoModelForCausalLM, path, **{dtype: torch.float32},
                            attn_implementation="eager")
    if model.config.model_type not in PERMUTED + UNPERMUTED:
        raise CaptureError(f"'{path}' is of type {model.config.model_type}; the order of Q's and K's lanes is known "
                           f"for {', '.join(PERMUTED + UNPERMUTED)} only")
    if any(parameter.dtype != torch.float32 for parameter in model.parameters()):
        raise CaptureError(f"'{path}' was not loaded in float32")
    return torch, transformers, model.eval()


def open_pretrained(kind, path, **named):
    """`kind` (a model or a tokenizer) from a folder or a GGUF file. Raises CaptureError."""
    path = pathlib.Path(path)
    where = (str(path), {}) if path.is_dir() else (str(path.parent), {"gguf_file": path.name})
    try:
        return kind.from_pretrained(where[0], **where[1], **named)
    except (OSError, ValueError, KeyError, ImportError) as wrong:
        reason = str(wrong).splitlines()[0].split(". ")[0]  # they go on with long lists
        raise CaptureError(f"transformers cannot load '{path}': {reason}") from None


def rows(tensor):
    """(1, tokens, ...), or (tokens, width) of what experts read and give, as an array (tokens, width)."""
    array = tensor.detach().numpy()
    return array.reshape(array.shape[0 if array.ndim == 2 else 1], -1).copy()


def places(layer):
    """{name: (side, submodule)} of a layer, in execution order; None for what no submodule has, () where it is missing."""
    found = OF_LAYERS | (POST_NORMED if has_module(layer, "post_feedforward_layernorm") else {})

    def choose(side, *paths):
        return next(((side, path) for path in paths if has_module(layer, path)), ())

    chosen = {name: where and choose(*where) for name, where in found.items()}
    if not chosen["router"]:
        del chosen["routing"]
    return chosen


def widths(config, path):
    """How wide the parts of a fused product are, in the order of FUSED."""
    if path == "mlp.gate_up_proj":
        return [config.intermediate_size] * 2
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return [config.num_attention_heads * head] + [config.num_key_value_heads * head] * 2


def rope_limit(config):
    """The context up to which the short RoPE factors hold; None for a model without such factors."""
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if "longrope" not in (rope.get("rope_type"), rope.get("type")):
        return None
    return rope.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", None)


def scales_embedding(config):
    return config.model_type in SCALED_EMBEDDINGS or any(getattr(config, one, 1) != 1 for one in EMBEDDING_SCALES)


def last_logits(config):
    """The name of what the logits are made to at last, if they are."""
    return [name for field, name in HEADS.items() if getattr(config, field, None) not in (None, 1, 1.0)]


def has_module(layer, path):
    try:
        layer.get_submodule(path)
        return True
    except AttributeError:
        return False


def neighbours(array, head_dim):
    """(tokens, heads*head_dim) from PyTorch's order of lanes to the GGUF file's: i -> 2i, i + head_dim/2 -> 2i + 1."""
    halves = array.reshape(len(array), -1, 2, head_dim // 2)
    return halves.swapaxes(2, 3).reshape(len(array), -1).copy()


class Recorder:
    """Hooks that keep each module's values, until it is closed."""

    def __init__(self, model):
        """Raises CaptureError: the model has not the modules of a Llama."""
        self.seen = {}  # name -> array, of one step
        self._permuted = model.config.model_type in PERMUTED
        self._config = model.config
        self._hooks = contextlib.ExitStack()
        try:
            self._hook_ends(model)
            for name, module in OF_THE_WHOLE.items():
                self._output(name, model.get_submodule(module))
            for i, layer in enumerate(model.model.layers):
                self._hook_layer(f"blk.{i}.", layer)
            self._wrap_rotary(model.model.layers[0].self_attn)
        except AttributeError as missing:
            self.close()
            raise CaptureError(f"{type(model).__name__} is not built as a Llama is: {missing}") from None

    def close(self):
        self._hooks.close()

    def _keep(self, name, array):
        if name in self.seen:
            raise CaptureError(f"'{name}' is computed twice in one step")
        self.seen[name] = array

    def _output(self, name, module, convert=lambda array: array, heads_first=False):
        def hook(_, __, output):
            values = output[0] if isinstance(output, tuple) else output
            self._keep(name, convert(rows(values.transpose(1, 2) if heads_first else values)))
        self._hooks.callback(module.register_forward_hook(hook).remove)

    def _hook_ends(self, model):
        """The embedding's rows, what the first layer reads where that is another, and the logits as they are at last."""
        config, table = model.config, model.model.embed_tokens

        def looked_up(module, arguments):
            self._keep("embd", rows(module.weight[arguments[0]]))
        self._hooks.callback(table.register_forward_pre_hook(looked_up).remove)
        if scales_embedding(config):
            self._input("embd_scaled", model.model.layers[0])
        for name in last_logits(config):
            def finished(_, __, output, name=name):
                self._keep(name, rows(output.logits))
            self._hooks.callback(model.register_forward_hook(finished).remove)

    def _router(self, prefix, module):
        """Its logits, the weights and the ids of the chosen."""
        def hook(_, __, output):
            logits, weights, ids = output
            self._keep(prefix + "router", rows(logits))
            self._keep(prefix + "routing", numpy.concatenate([rows(ids).astype("f4"), rows(weights)], axis=1))
        self._hooks.callback(module.register_forward_hook(hook).remove)

    def _split(self, prefix, names, module, parts):
        def hook(_, __, output):
            array, first = rows(output), 0
            for name, width in zip(names, parts):
                self._keep(prefix + name, array[:, first:first + width].copy())
                first += width
        self._hooks.callback(module.register_forward_hook(hook).remove)

    def _input(self, name, module):
        def hook(_, arguments):
            self._keep(name, rows(arguments[0]))
        self._hooks.callback(module.register_forward_pre_hook(hook).remove)

    def _hook_layer(self, prefix, layer):
        attention = layer.self_attn

        def to_file(array):
            return neighbours(array, attention.head_dim) if self._permuted else array

        fused = {path: parts for path, parts in FUSED.items() if has_module(layer, path)}
        for path, parts in fused.items():
            self._split(prefix, parts, layer.get_submodule(path), widths(self._config, path))
        split = {name for parts in fused.values() for name in parts}
        for name, where in places(layer).items():
            if not where or name in split:
                continue
            side, path = where
            module = layer.get_submodule(path)
            if side == "<":
                self._input(prefix + name, module)
            elif name == "router":
                self._router(prefix, module)
            elif name in ("q_norm", "k_norm"):
                self._output(prefix + name, module, heads_first=self._config.model_type in HEADS_FIRST)
            else:
                self._output(prefix + name, module, *([to_file] if name in ("q", "k") else []))

        def begin(*_):
            self._layer = prefix

        def end(_, __, output):
            if output[1] is not None:  # (1, heads, tokens, keys)
                self._keep(prefix + "kq_soft", rows(output[1].transpose(1, 2)))

        self._hooks.callback(attention.register_forward_pre_hook(begin).remove)
        self._hooks.callback(attention.register_forward_hook(end).remove)

    def _wrap_rotary(self, attention):
        module = sys.modules[type(attention).__module__]
        rotate = module.apply_rotary_pos_emb

        def rotary(*arguments, **named):
            rotated = rotate(*arguments, **named)
            for name, tensor in zip(("q_rope", "k_rope"), rotated):  # (1, heads, tokens, head_dim)
                array = rows(tensor.transpose(1, 2))
                self._keep(self._layer + name, neighbours(array, tensor.shape[-1]) if self._permuted else array)
            return rotated

        module.apply_rotary_pos_emb = rotary
        self._hooks.callback(setattr, module, "apply_rotary_pos_emb", rotate)


def names(config, layers):
    """All names in execution order."""
    def expected(layer):
        fused = {name for path, parts in FUSED.items() if has_module(layer, path) for name in parts}
        return [name for name, where in places(layer).items() if where or where is None or name in fused]

    return ["embd", *(["embd_scaled"] if scales_embedding(config) else []),
            *(f"blk.{i}.{name}" for i, layer in enumerate(layers) for name in expected(layer)),
            "out_norm", "logits", *last_logits(config)]


def run(torch, cache, model, steps, recorder=None):
    """(logits of each step, {name: array} of each step). A step that is None is the greedy token and is filled in.

    `cache` is an empty one of transformers.
    """
    logits, seen = [], []
    for i, tokens in enumerate(steps):
        if tokens is None:
            tokens = steps[i] = [int(logits[-1][-1].argmax())]
        if recorder:
            recorder.seen = {}
        with torch.no_grad():
            output = model(input_ids=torch.tensor([tokens]), past_key_values=cache, use_cache=True,
                           output_attentions=True)
        logits.append(rows(output.logits))
        seen.append(recorder.seen if recorder else {})
    return logits, seen


def capture(path, tokens=None, text=None, decode=0, threads=1, special=True):
    """(engine's name, Captured) of one prompt and its greedy continuation. Raises CaptureError."""
    torch, transformers, model = load(path)
    torch.set_num_threads(threads)
    if tokens is None:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise CaptureError("the prompt is not UTF-8, and transformers takes no other text; give --tokens") from None
        tokenizer = open_pretrained(transformers.AutoTokenizer, path)
        tokens = tokenizer(text, add_special_tokens=special)["input_ids"]
    if not tokens or min(tokens) < 0 or max(tokens) >= model.config.vocab_size:
        raise CaptureError(f"no tokens, or one is not below the vocabulary's {model.config.vocab_size}")
    steps = [list(tokens)] + [None] * decode
    recorder = Recorder(model)
    try:
        logits, seen = run(torch, transformers.DynamicCache(), model, steps, recorder)
    finally:
        recorder.close()
    effect = difference(logits, run(torch, transformers.DynamicCache(), model, steps)[0])
    order = names(model.config, model.model.layers)
    missing = sorted({name for step in seen for name in order if name not in step})
    tensors = [[(name, step[name]) for name in order if name in step] for step in seen]
    engine = f"transformers {transformers.__version__} torch {torch.__version__} CPU"
    total = sum(map(len, steps))
    original = rope_limit(model.config)
    if original and len(steps[0]) <= original < total:
        raise CaptureError(f"the prompt is within the original context of {original} and its continuation beyond: "
                           "transformers changes the RoPE factors between them")
    return engine, Captured(steps, tensors, missing, effect, "f32", "CPU", total)
