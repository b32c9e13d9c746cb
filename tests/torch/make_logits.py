#!/usr/bin/env python3
"""Makes tests/data/torch/NAME.safetensors: the logits of transformers in float64 for the cases of models.py.

    make_logits.py [NAME...]     # all cases where no name is given; runs in .venv-torch (`make test-torch` makes it)

transformers' code runs as it is, with one difference: where it asks for float32 (norms, softmax, RoPE's angles) it gets
float64. An angle in f32 is wrong by some 1e-4 rad at position 5,000. A file holds `logits` (positions, vocabulary) F64
and `positions` I32; its metadata holds the configuration, the hash of the weights and the versions.
"""
import json
import sys

import numpy
import torch
import transformers
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import models

CLASSES = {"llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
           "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
           "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
           "phi3": (transformers.Phi3Config, transformers.Phi3ForCausalLM)}
CHUNK = 512  # tokens a call: the attention's matrix of a long prompt would take gigabytes


class Double(TorchFunctionMode):
    """Gives float64 to whoever asks for float32."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.float:
            return args[0].double()
        args = tuple(torch.float64 if value is torch.float32 else value for value in args)
        kwargs = {key: torch.float64 if value is torch.float32 else value for key, value in (kwargs or {}).items()}
        return function(*args, **kwargs)


class NoSingle(TorchDispatchMode):
    """Raises where an operation makes float32 after all."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(value, torch.Tensor) and value.dtype in (torch.float32, torch.float16, torch.bfloat16):
                raise AssertionError(f"{function} made {value.dtype}")
        return result


def fix_rope(rotary, case):
    """Computes the frequencies again, in float64, and keeps them for the whole sequence.

    transformers chooses long or short factors anew in every call, by the positions of that call. Here the context
    limit of the sequence chooses, so that the cut of a prompt changes nothing.
    """
    kind = case.rope["rope_type"]
    if kind == "default":
        frequencies, scale = rotary.compute_default_rope_parameters(rotary.config)
    else:
        compute = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS[kind]
        frequencies, scale = compute(rotary.config, None, seq_len=case.context)
    assert frequencies.dtype == torch.float64 and frequencies.shape == (case.rotated // 2,)

    def forward(x, position_ids):
        angles = position_ids[..., None].double() * frequencies
        both = torch.cat((angles, angles), dim=-1)
        return both.cos() * scale, both.sin() * scale

    rotary.forward = forward


def logits(case, weights):
    """Logits of the stored positions, (positions, vocabulary) float64."""
    configuration, model_class = CLASSES[case.architecture]
    torch.set_default_dtype(torch.float64)
    with torch.no_grad(), Double():
        model = model_class._from_config(configuration(**case.config), attn_implementation="eager",
                                         dtype=torch.float64).eval()
        state = {name: torch.from_numpy(array.astype(numpy.float64)) for name, array in weights.items()}
        lost = model.load_state_dict(state, strict=False)
        tied = ["lm_head.weight"] if case.config["tie_word_embeddings"] else []
        assert not lost.unexpected_keys and lost.missing_keys in ([], tied), lost
        fix_rope(model.model.rotary_emb, case)
        tokens = torch.from_numpy(models.tokens(case).astype(numpy.int64))[None]
        cache, rows = transformers.DynamicCache(config=model.config), []
        chosen = numpy.array(models.positions(case))
        with NoSingle():
            for begin in range(0, case.tokens, CHUNK):
                part = model(input_ids=tokens[:, begin:begin + CHUNK], cache=cache, use_cache=True).logits[0]
                rows.append(part[chosen[(chosen >= begin) & (chosen < begin + CHUNK)] - begin].numpy())
    return numpy.concatenate(rows)


def write(path, case, weights, values):
    models.write_safetensors(
        path, {"logits": values.astype("<f8"), "positions": numpy.array(models.positions(case), "<i4")},
        {"architecture": case.architecture, "seed": str(case.seed), "tokens": str(case.tokens),
         "limit": str(case.context), "config": json.dumps(case.config, sort_keys=True),
         "weights_sha256": models.hash_of(weights), "notes": case.notes,
         "torch": torch.__version__.split("+")[0], "transformers": transformers.__version__,
         "numpy": numpy.__version__})


def main(names):
    models.STORED.mkdir(parents=True, exist_ok=True)
    for name in names or models.CASES:
        case = models.CASES[name]
        weights = models.draw(case)
        path = models.STORED / f"{name}.safetensors"
        write(path, case, weights, logits(case, weights))
        print(f"{name}: {path.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
