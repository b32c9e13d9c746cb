"""Captures what Hugging Face's transformers compute on the CPU, by the hooks of assay.record.

Known are the classes of module_names.py that are built as LlamaForCausalLM is. Attention is eager, so that `kq_soft`
exists; experts are, too. `kq` is not seen, nor what single experts compute: their weights are no modules.
"""
from __future__ import annotations

import os
import pathlib

from assay import install, module_names, recorder
from assay.captured import Captured, CaptureError, difference
from assay.module_names import PERMUTED, UNPERMUTED

TYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def load(path, dtype="f32"):
    """(torch, transformers, model on the CPU). `path`: a folder, or a GGUF file. Raises CaptureError."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # a path that is none must not be looked up elsewhere
    try:
        import torch
        import transformers
    except ImportError as missing:
        raise CaptureError(f"transformers cannot be imported ({missing}); to install it: "
                           + install.command(*install.PACKAGES["transformers"])) from None
    keyword = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
    wanted = getattr(torch, TYPES[dtype])
    model = open_pretrained(transformers.AutoModelForCausalLM, path, **{keyword: wanted}, attn_implementation="eager")
    if model.config.model_type not in PERMUTED + UNPERMUTED:
        raise CaptureError(f"'{path}' is of type {model.config.model_type}; the order of Q's and K's lanes is known "
                           f"for {', '.join(PERMUTED + UNPERMUTED)} only")
    if any(parameter.dtype != wanted for parameter in model.parameters()):
        raise CaptureError(f"'{path}' was not loaded in {TYPES[dtype]}")
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


def rope_limit(config):
    """The context up to which the short RoPE factors hold; None for a model without such factors."""
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if "longrope" not in (rope.get("rope_type"), rope.get("type")):
        return None
    return rope.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", None)


def run(torch, cache, model, steps):
    """The logits of each step. A step that is None is the greedy token and is filled in.

    `cache` is an empty one of transformers.
    """
    logits = []
    for i, tokens in enumerate(steps):
        if tokens is None:
            tokens = steps[i] = [int(logits[-1][-1].argmax())]
        with torch.no_grad():
            output = model(input_ids=torch.tensor([tokens]), past_key_values=cache, use_cache=True,
                           output_attentions=True)
        logits.append(recorder.array_of(output.logits[0])[0])
    return logits


def capture(path, tokens=None, text=None, decode=0, threads=1, special=True, dtype="f32", only=None):
    """(engine's name, Captured) of one prompt and its greedy continuation. `only`: which outputs. Raises CaptureError."""
    torch, transformers, model = load(path, dtype)
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
    try:
        hooks = recorder.Recorder(model, only)
    except AttributeError as missing:
        raise CaptureError(f"{type(model).__name__} is not built as a Llama is: {missing}") from None
    try:
        logits = run(torch, transformers.DynamicCache(), model, steps)
    finally:
        hooks.close()
    if unknown := hooks.only.unmatched():
        raise CaptureError(unknown)
    effect = difference(logits, run(torch, transformers.DynamicCache(), model, steps))
    order = hooks.known.order(model)
    tensors = [recorder.ordered(hooks, step) for step in hooks.steps]
    seen = [{name for name, _, _ in step} for step in tensors]
    missing = sorted({name for step in seen for name in order
                      if name not in step and (not hooks.only or hooks.only.wants(name))})
    engine = f"transformers {transformers.__version__} torch {torch.__version__} CPU"
    total = sum(map(len, steps))
    original = rope_limit(model.config)
    if original and len(steps[0]) <= original < total:
        raise CaptureError(f"the prompt is within the original context of {original} and its continuation beyond: "
                           "transformers changes the RoPE factors between them")
    return engine, Captured(steps, tensors, missing, effect, dtype, "CPU", total)
