"""One small model of each family that transformers has, as the Hugging Face folder that `assay convert` reads.

    case = families.CASES["Qwen3Moe"]
    families.write_folder(folder, families.stored("Qwen3Moe"))     # config.json and model.safetensors

A stored file (tests/data/families/NAME.safetensors) holds logits of transformers in float64 and, in its metadata, the
configuration and the names and shapes of the weights as transformers saves them. The weights themselves follow from a
seed (models.Draw) and a rule that looks only at name and shape, so that a new family is one line here.
make_families.py makes the stored files. Needs numpy.
"""
import dataclasses
import json
import math
import pathlib

import numpy

import models

STORED = models.ROOT / "tests/data/families"
VOCABULARY = models.VOCABULARY


@dataclasses.dataclass(frozen=True)
class Case:
    """A configuration (keyword arguments of the class of this name plus "Config") and a sequence of tokens."""
    name: str
    config: dict
    tokens: int
    notes: str = ""

    @property
    def family(self):
        """The name of the classes, without what follows a dash in the case's."""
        return self.name.split("-")[0]

    @property
    def seed(self):
        return 5000 + sum(ord(letter) * (i + 1) for i, letter in enumerate(self.name))


def base(heads=4, kv_heads=2, layers=4, hidden=128, ffn=192, context=2048, rope=None, **more):
    return dict(vocab_size=VOCABULARY, hidden_size=hidden, num_attention_heads=heads, num_key_value_heads=kv_heads,
                intermediate_size=ffn, num_hidden_layers=layers, max_position_embeddings=context,
                rope_parameters=rope or models.plain(10000),
                **{"tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **more})


def yarn(theta, factor, original, **more):
    return {"rope_type": "yarn", "rope_theta": float(theta), "factor": float(factor),
            "original_max_position_embeddings": original, **more}


WINDOWED = ["sliding_attention", "full_attention"] * 2
THREE_TO_ONE = ["sliding_attention"] * 3 + ["full_attention"]
TWO_BASES = {"sliding_attention": models.plain(10000), "full_attention": models.plain(1000000)}
PROPORTIONAL = {"sliding_attention": models.plain(10000),
                "full_attention": {"rope_type": "proportional", "rope_theta": 1000000.0, "partial_rotary_factor": 0.25}}
EXPERTS = dict(num_experts=8, num_experts_per_tok=3, moe_intermediate_size=96)
LOCAL_EXPERTS = dict(num_local_experts=8, num_experts_per_tok=3)

_CASES = [
    Case("Llama", base(), 300),
    Case("Llama-bias", base(attention_bias=True, mlp_bias=True, head_dim=64), 200),
    Case("Mistral", base(sliding_window=64, head_dim=64), 300, "a window of 64, crossed"),
    Case("Ministral3", base(context=8192, head_dim=64, rope=yarn(
        1000000, 16, 512, beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0,
        llama_4_scaling_beta=0.1)), 1400, "YaRN with a log multiplier, temperature by position"),
    Case("Qwen2", base(rope=models.plain(1000000)), 300),
    Case("Qwen2-window", base(use_sliding_window=True, sliding_window=48, max_window_layers=2), 200),
    Case("Qwen2Moe", base(shared_expert_intermediate_size=160, **EXPERTS), 300, "a shared expert with a gate"),
    Case("Qwen3", base(head_dim=64), 300),
    Case("Qwen3Moe", base(head_dim=64, norm_topk_prob=True, rope=models.plain(1000000), **EXPERTS), 5100,
         "positions to 5,000"),
    Case("Gemma2", base(head_dim=64, sliding_window=64, query_pre_attn_scalar=48, layer_types=WINDOWED,
                        attn_logit_softcapping=20.0, final_logit_softcapping=15.0, tie_word_embeddings=True), 300,
         "soft caps, windows of 64"),
    Case("Gemma3Text", base(head_dim=64, layers=6, sliding_window=64, query_pre_attn_scalar=64, rope=TWO_BASES,
                            layer_types=["sliding_attention"] * 5 + ["full_attention"], tie_word_embeddings=True),
         1200, "two RoPE bases"),
    Case("Gemma4Text", base(heads=2, kv_heads=1, head_dim=64, global_head_dim=128, layers=6, context=8192, sliding_window=64, rope=PROPORTIONAL,
                            layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2, num_kv_shared_layers=2,
                            hidden_size_per_layer_input=32, vocab_size_per_layer_input=VOCABULARY, final_logit_softcapping=30.0,
                            tie_word_embeddings=True), 5100,
         "an embedding for each layer, shared caches, heads of two lengths, positions to 5,000"),
    Case("Gemma4Text-experts", base(head_dim=64, global_head_dim=128, layers=6, sliding_window=64, rope=PROPORTIONAL,
                                    layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
                                    attention_k_eq_v=True, num_global_key_value_heads=1, num_kv_shared_layers=2,
                                    use_double_wide_mlp=True, hidden_size_per_layer_input=16,
                                    vocab_size_per_layer_input=VOCABULARY, enable_moe_block=True, num_experts=8,
                                    top_k_experts=3, moe_intermediate_size=96, tie_word_embeddings=True), 300,
         "experts beside the feed-forward part, values that are keys"),
    Case("GptOss", base(head_dim=64, sliding_window=64, layer_types=WINDOWED, context=16384, ffn=128,
                        rope=yarn(150000, 32, 512, beta_fast=32.0, beta_slow=1.0, truncate=False), **LOCAL_EXPERTS),
         1400, "sinks, windows, YaRN without rounded corners, clamped SwiGLU"),
    Case("Phi3", base(hidden=256, rope=models.plain(10000, partial_rotary_factor=0.75), sliding_window=64), 200),
    Case("Mixtral", base(sliding_window=None, **LOCAL_EXPERTS), 300),
    Case("Granite", base(embedding_multiplier=6.0, attention_multiplier=0.05, residual_multiplier=0.4,
                         logits_scaling=4.0), 300),
    Case("GraniteMoe", base(embedding_multiplier=6.0, attention_multiplier=0.05, residual_multiplier=0.4,
                            logits_scaling=4.0, **LOCAL_EXPERTS), 300),
    Case("Olmo2", base(), 300, "norms after the branches, norms of q and k over all heads"),
    Case("Olmo3", base(sliding_window=64, layer_types=THREE_TO_ONE, context=4096, rope=yarn(
        500000, 8, 512, beta_fast=32.0, beta_slow=1.0)), 700, "windows without YaRN beside a full layer with it"),
    Case("Olmoe", base(kv_heads=4, norm_topk_prob=False, num_experts=8, num_experts_per_tok=3), 300),
    Case("SmolLM3", base(no_rope_layer_interval=4), 300, "no RoPE in every fourth layer"),
    Case("Glm4", base(head_dim=64, attention_bias=True,
                      rope=models.plain(10000, partial_rotary_factor=0.5)), 300),
    Case("Glm4Moe", base(head_dim=64, attention_bias=True, use_qk_norm=True, moe_intermediate_size=96,
                         num_experts_per_tok=3, n_routed_experts=8, n_shared_experts=1, routed_scaling_factor=1.8,
                         first_k_dense_replace=1, norm_topk_prob=True,
                         rope=models.plain(10000, partial_rotary_factor=0.5)), 300,
         "a bias that only chooses"),
    Case("SeedOss", base(head_dim=64, attention_bias=True, attention_out_bias=False, attention_dropout=0.0,
                         residual_dropout=0.0), 300),
    Case("Exaone4", base(sliding_window=64, layer_types=THREE_TO_ONE, rope=models.plain(1000000)), 300),
    Case("Exaone4-full", base(sliding_window=None, layer_types=["full_attention"] * 4), 200),
    Case("Cohere2", base(sliding_window=64, layer_types=THREE_TO_ONE, logit_scale=0.25, tie_word_embeddings=True),
         300, "a parallel block with LayerNorm"),
    Case("Ernie4_5", base(head_dim=64), 300),
    Case("Ernie4_5_Moe", base(moe_intermediate_size=96, moe_k=3, moe_num_experts=8, moe_num_shared_experts=2,
                              moe_layer_start_index=1, moe_layer_interval=1), 300),
    Case("HunYuanDenseV1", base(head_dim=32), 300, "norms of q and k after RoPE"),
    Case("StableLm", base(use_qkv_bias=True, rope=models.plain(10000, partial_rotary_factor=0.25)), 300),
    Case("StableLm-parallel", base(use_parallel_residual=True, qk_layernorm=True,
                                   rope=models.plain(10000, partial_rotary_factor=0.25)), 200),
    Case("Starcoder2", base(sliding_window=64, use_bias=True, residual_dropout=0.0, embedding_dropout=0.0,
                            tie_word_embeddings=True), 300),
    Case("Arcee", base(), 300, "relu² without a gate"),
    Case("MiniMaxM2", base(head_dim=64, rope=models.plain(5000000, partial_rotary_factor=0.5), **LOCAL_EXPERTS), 300),
    Case("Apertus", base(rope={"rope_type": "llama3", "rope_theta": 12000000.0, "factor": 8.0, "low_freq_factor": 1.0,
                               "high_freq_factor": 4.0, "original_max_position_embeddings": 512}), 700, "xIELU"),
]
CASES = {case.name: case for case in _CASES}


@dataclasses.dataclass(frozen=True)
class Stored:
    """What a stored file holds."""
    case: Case
    config: dict   # config.json
    shapes: dict   # {name: shape} of model.safetensors
    fixed: dict    # {name: values} of weights that are the model's own constants
    logits: numpy.ndarray
    positions: list


def stored(name):
    file = models.read_safetensors(str(STORED / f"{name}.safetensors"))
    about = file.metadata
    return Stored(CASES[name], json.loads(about["config"]), json.loads(about["shapes"]), json.loads(about["fixed"]),
                  file.tensors["logits"], file.tensors["positions"].tolist())


def tokens(case):
    return models.Draw(case.seed + 1000).integers(case.tokens, case.config["vocab_size"]).astype(numpy.int32)


def positions(case):
    return models.positions(case)


def weight(source, name, shape):
    """One weight by its name and shape: norms around 1, scores of attention and routers that spread by a few."""
    kind = name.rsplit(".", 1)[-1]
    if "sinks" in name:
        return source.uniform(shape, -2.0, 2.0)
    if "alpha_" in name or "layer_scalar" in name or "per_expert_scale" in name or name.endswith("router.scale"):
        return source.uniform(shape, 0.5, 1.0)
    if "correction_bias" in name:
        return source.uniform(shape, -0.2, 0.2)
    if kind == "bias" or kind.endswith("_bias"):
        return source.uniform(shape, -0.3, 0.3)
    if len(shape) < 2 or "norm" in name or "layernorm" in name:
        return source.uniform(shape, 0.75, 1.25)
    if "embed_tokens" in name:
        return source.uniform(shape, -1.0, 1.0)
    gain = 1.75 if "q_proj" in name or "k_proj" in name else 3.0 if "gate.weight" in name or "router" in name else 1.0
    bound = gain * math.sqrt(3.0 / shape[-1])
    return source.uniform(shape, -bound, bound)


def draw(shapes, fixed, seed):
    source = models.Draw(seed)
    drawn = {name: weight(source, name, shape) for name, shape in sorted(shapes.items())}
    for name, values in fixed.items():
        drawn[name] = numpy.array(values, numpy.float32).reshape(shapes[name])
    return drawn


def write_folder(folder, config, weights):
    folder = pathlib.Path(folder)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    models.write_safetensors(folder / "model.safetensors", weights)


def unpacked(blocks, scales):
    """MXFP4's values: (…, groups, 16) bytes of two E2M1 each, the first in the low nibble, times 2^(scale − 127)."""
    e2m1 = numpy.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], numpy.float32)
    codes = numpy.stack([blocks & 15, blocks >> 4], axis=-1).reshape(*blocks.shape[:-1], 32)
    values = numpy.where(codes & 8, -e2m1[codes & 7], e2m1[codes & 7])
    return numpy.ldexp(values, scales.astype(numpy.int32)[..., None] - 127).reshape(*blocks.shape[:-2], -1)
