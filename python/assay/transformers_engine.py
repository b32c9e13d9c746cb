"""Captures what Hugging Face's transformers compute, by forward hooks on a LlamaForCausalLM or its like, in float32.

Known are Llama, Mistral, Qwen2, Qwen3 and Phi3. A fused product (qkv_proj, gate_up_proj) is split into its parts.

Attention is eager, so that `kq_soft` exists; `q_rope` and `k_rope` are the results of apply_rotary_pos_emb, which
is wrapped while the model runs. `kq` is not seen. PyTorch rotates lane i of a head of d lanes with lane i + d/2.
GGUF's llama rotates neighbours: its Q and K come out in the GGUF file's order, lane i as 2i and lane i + d/2 as 2i + 1.
The other architectures' files keep PyTorch's order.
"""
from __future__ import annotations

import contextlib
import os
import pathlib
import sys

from assay import install
from assay.captured import Captured, CaptureError, difference

# The architectures whose Q and K GGUF files hold permuted, and those whose order is PyTorch's.
PERMUTED = ("llama", "mistral")
UNPERMUTED = ("qwen2", "qwen3", "phi3")
# Names within a layer in execution order, with the submodule whose output (>) or first input (<) each is. A name
# whose submodule a model lacks is left out, if it is one of OPTIONAL or a part of FUSED.
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
    "attn_residual": ("<", "post_attention_layernorm"),
    "ffn_norm": (">", "post_attention_layernorm"),
    "gate": (">", "mlp.gate_proj"),
    "up": (">", "mlp.up_proj"),
    "act": ("<", "mlp.down_proj"),
    "down": (">", "mlp.down_proj"),
    "out": (">", ""),
}
OPTIONAL = ("q_norm", "k_norm")
# Submodules that give several values side by side.
FUSED = {"self_attn.qkv_proj": ("q", "k", "v"), "mlp.gate_up_proj": ("gate", "up")}
OF_THE_WHOLE = {"embd": "model.embed_tokens", "out_norm": "model.norm", "logits": "lm_head"}


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
    """(1, tokens, ...) as an array (tokens, width)."""
    array = tensor.detach().numpy()
    return array.reshape(array.shape[1], -1).copy()


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

    def _output(self, name, module, convert=lambda array: array):
        def hook(_, __, output):
            self._keep(name, convert(rows(output[0] if isinstance(output, tuple) else output)))
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
        for name, where in OF_LAYERS.items():
            if where is None or name in split or (name in OPTIONAL and not has_module(layer, where[1])):
                continue
            side, path = where
            module = layer.get_submodule(path)
            if side == "<":
                self._input(prefix + name, module)
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


def names(layers, without=()):
    """All names in execution order, but those of a layer that are in `without`."""
    return ["embd", *(f"blk.{i}.{name}" for i in range(layers) for name in OF_LAYERS if name not in without),
            "out_norm", "logits"]


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
    layer = model.model.layers[0]
    order = names(len(model.model.layers), [name for name in OPTIONAL if not has_module(layer, OF_LAYERS[name][1])])
    missing = sorted({name for step in seen for name in order if name not in step})
    tensors = [[(name, step[name]) for name in order if name in step] for step in seen]
    engine = f"transformers {transformers.__version__} torch {torch.__version__} CPU"
    total = sum(map(len, steps))
    original = rope_limit(model.config)
    if original and len(steps[0]) <= original < total:
        raise CaptureError(f"the prompt is within the original context of {original} and its continuation beyond: "
                           "transformers changes the RoPE factors between them")
    return engine, Captured(steps, tensors, missing, effect, "f32", "CPU", total)
