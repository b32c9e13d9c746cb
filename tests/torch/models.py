"""Small models with random weights, the same for transformers and for assay.

    weights = models.draw(models.CASES["qwen3"])         # {transformers' name: float32 array}
    models.write_gguf("qwen3.gguf", models.CASES["qwen3"], weights)

Nothing but logits has to be stored for them: the weights follow from a seed. They come from the raw words of PCG64,
which numpy keeps stable, and are rounded to f16, so that an F16 file holds them exactly. Names, layout and keys of
the GGUF file are those that llama.cpp's converter writes for the same model. Needs numpy and gguf.
"""
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import sys

import gguf
import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
STORED = ROOT / "tests/data/torch"
VOCABULARY = 300

sys.path.insert(0, str(ROOT / "python"))
from assay import trace  # noqa: E402

read_safetensors = trace.read


@dataclasses.dataclass(frozen=True)
class Case:
    """One model and one sequence of tokens.

    `config` is the keyword arguments of transformers' configuration class. `limit` is the context limit of the
    sequence, None for the model's own; it decides between long and short RoPE factors.
    """
    architecture: str
    config: dict
    seed: int
    tokens: int
    limit: int | None = None
    notes: str = ""

    @property
    def head(self):
        return self.config.get("head_dim") or self.config["hidden_size"] // self.config["num_attention_heads"]

    @property
    def rope(self):
        return self.config["rope_parameters"]

    @property
    def rotated(self):
        """Dimensions of a head that RoPE turns."""
        return int(self.head * self.rope.get("partial_rotary_factor", 1.0))

    @property
    def context(self):
        return self.limit or self.config["max_position_embeddings"]


def factors(count, low, high):
    """RoPE factors that rise from low to high; multiples of 1/64, which f32 holds exactly."""
    return [round((low + (high - low) * i / (count - 1)) * 64) / 64 for i in range(count)]


def config(hidden, heads, kv_heads, ffn, layers, context, rope, **more):
    return dict(vocab_size=VOCABULARY, hidden_size=hidden, num_attention_heads=heads, num_key_value_heads=kv_heads,
                intermediate_size=ffn, num_hidden_layers=layers, max_position_embeddings=context, rope_parameters=rope,
                hidden_act="silu", **{"rms_norm_eps": 1e-5, "tie_word_embeddings": False, "attention_dropout": 0.0,
                                      "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **more})


def plain(theta, **more):
    return {"rope_type": "default", "rope_theta": float(theta), **more}


LONGROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75,
            "original_max_position_embeddings": 4096,
            "short_factor": factors(48, 1.0, 1.5), "long_factor": factors(48, 1.0, 9.0)}
PHI3_LONGROPE = config(256, 2, 1, 256, 2, 16384, LONGROPE, tie_word_embeddings=True)
PHI3 = config(384, 4, 2, 256, 2, 2048, plain(10000, partial_rotary_factor=0.75), sliding_window=None)
QWEN2 = config(256, 4, 2, 320, 2, 2048, plain(1000000), rms_norm_eps=1e-6, tie_word_embeddings=True)

CASES = {
    "llama": Case("llama", config(128, 4, 2, 224, 3, 2048, plain(10000)), 101, 300),
    "llama-llama3": Case(
        "llama", config(128, 2, 1, 160, 2, 32768, {
            "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 4096}), 102, 5200,
        notes="rope_freqs, at positions past the original length"),
    "qwen2": Case("qwen2", QWEN2, 103, 300, notes="biases of q, k and v; tied embeddings"),
    "qwen2-yarn": Case(
        "qwen2", {**QWEN2, "rope_parameters": {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0,
                                               "original_max_position_embeddings": 512}}, 103, 700),
    "qwen3": Case("qwen3", config(128, 4, 2, 192, 2, 4096, plain(1000000), rms_norm_eps=1e-6, head_dim=128), 104, 5200,
                  limit=8192, notes="norms of q and k; heads wider than the model; positions past the trained length"),
    "phi3": Case("phi3", PHI3, 105, 300, notes="fused matrices; RoPE turns 72 of 96 dimensions"),
    "phi3-window": Case("phi3", {**PHI3, "sliding_window": 64}, 105, 200,
                        notes="a sliding window, which llama.cpp switches off"),
    "phi3-short": Case("phi3", PHI3_LONGROPE, 106, 400, limit=4096, notes="longrope, the short factors"),
    "phi3-long": Case("phi3", PHI3_LONGROPE, 106, 5200,
                      notes="longrope, the long factors, at positions past the original length"),
}


class Draw:
    """Numbers from the raw words of PCG64."""

    def __init__(self, seed):
        self.words = numpy.random.PCG64(seed)

    def uniform(self, shape, low, high):
        """Values of [low, high), rounded to f16, as float32."""
        units = (self.words.random_raw(math.prod(shape)) >> numpy.uint64(11)).astype(numpy.float64) * 2.0 ** -53
        return (low + (high - low) * units).astype(numpy.float16).astype(numpy.float32).reshape(shape)

    def integers(self, count, below):
        return (self.words.random_raw(count) >> numpy.uint64(33)).astype(numpy.int64) % below

    def matrix(self, rows, columns, gain=1.0):
        """A row times a vector of unit RMS gives about `gain`."""
        bound = gain * math.sqrt(3.0 / columns)
        return self.uniform((rows, columns), -bound, bound)

    def norm(self, width, middle=1.0):
        return self.uniform((width,), middle * 0.75, middle * 1.25)


def tokens(case):
    return Draw(case.seed + 1000).integers(case.tokens, VOCABULARY).astype(numpy.int32)


def positions(case):
    """The positions whose logits are stored: 24, from the first to the last, closer together at the end."""
    last = case.tokens - 1
    return sorted({round(last * (1.0 - (1.0 - i / 23) ** 2)) for i in range(24)})


def draw(case):
    """The weights under transformers' names. Scores of attention spread by about 3, so that it is not a mean."""
    c, source = case.config, Draw(case.seed)
    hidden, ffn = c["hidden_size"], c["intermediate_size"]
    q, kv = c["num_attention_heads"] * case.head, c["num_key_value_heads"] * case.head
    w = {"model.embed_tokens.weight": source.uniform((VOCABULARY, hidden), -1.0, 1.0)}
    for layer in range(c["num_hidden_layers"]):
        at, mlp = f"model.layers.{layer}.self_attn.", f"model.layers.{layer}.mlp."
        w[f"model.layers.{layer}.input_layernorm.weight"] = source.norm(hidden)
        w[f"model.layers.{layer}.post_attention_layernorm.weight"] = source.norm(hidden)
        parts = [source.matrix(q, hidden, 1.75), source.matrix(kv, hidden, 1.75), source.matrix(kv, hidden)]
        if case.architecture == "phi3":
            w[at + "qkv_proj.weight"] = numpy.concatenate(parts)
        else:
            for name, part in zip("qkv", parts):
                w[f"{at}{name}_proj.weight"] = part
        if case.architecture == "qwen2":
            for name, part in zip("qkv", parts):
                w[f"{at}{name}_proj.bias"] = source.uniform((len(part),), -0.5, 0.5)
        if case.architecture == "qwen3":
            w[at + "q_norm.weight"] = source.norm(case.head, 1.75)
            w[at + "k_norm.weight"] = source.norm(case.head, 1.75)
        w[at + "o_proj.weight"] = source.matrix(hidden, q)
        gate, up = source.matrix(ffn, hidden), source.matrix(ffn, hidden)
        if case.architecture == "phi3":
            w[mlp + "gate_up_proj.weight"] = numpy.concatenate([gate, up])
        else:
            w[mlp + "gate_proj.weight"], w[mlp + "up_proj.weight"] = gate, up
        w[mlp + "down_proj.weight"] = source.matrix(hidden, ffn, 2.0)
    w["model.norm.weight"] = source.norm(hidden)
    if not c["tie_word_embeddings"]:
        w["lm_head.weight"] = source.matrix(VOCABULARY, hidden)
    return w


def hash_of(weights):
    """SHA-256 over names and values, so that another draw is not taken for a wrong engine."""
    digest = hashlib.sha256()
    for name, array in weights.items():
        digest.update(name.encode() + array.astype("<f4").tobytes())
    return digest.hexdigest()


# Parts of transformers' names, and what they are called in GGUF.
NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
         "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.qkv_proj": "attn_qkv",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
         "mlp.gate_up_proj": "ffn_up"}


def gguf_name(name):
    base, kind = name.rsplit(".", 1)
    if base.startswith("model.layers."):
        layer, part = base[len("model.layers."):].split(".", 1)
        return f"blk.{layer}.{NAMES[part]}.{kind}"
    return f"{NAMES[base]}.{kind}"


def adjacent_pairs(matrix, head):
    """Rows of q or k reordered from pairs (i, i + head/2) to pairs (2i, 2i + 1), head by head."""
    order = numpy.arange(len(matrix)).reshape(-1, 2, head // 2).transpose(0, 2, 1).ravel()
    return matrix[order]


def llama3_factors(case):
    """What divides each frequency: 1 where waves are short, `factor` where they are long, and between in between."""
    rope, result = case.rope, []
    original = rope["original_max_position_embeddings"]
    for i in range(case.rotated // 2):
        waves = original * rope["rope_theta"] ** (-2.0 * i / case.rotated) / (2.0 * math.pi)  # in the original length
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        share = min(1.0, max(0.0, (waves - low) / (high - low)))
        result.append(1.0 / (share + (1.0 - share) / rope["factor"]))
    return result


def write_gguf(path, case, weights, change=None):
    """Writes the model; `change(values)` may alter {key without the architecture: value} before."""
    c, rope, tensors = case.config, case.rope, {}
    values = {"context_length": c["max_position_embeddings"], "embedding_length": c["hidden_size"],
              "block_count": c["num_hidden_layers"], "feed_forward_length": c["intermediate_size"],
              "attention.head_count": c["num_attention_heads"],
              "attention.head_count_kv": c["num_key_value_heads"],
              "attention.layer_norm_rms_epsilon": c["rms_norm_eps"], "rope.freq_base": rope["rope_theta"],
              "vocab_size": VOCABULARY}
    if case.architecture in ("llama", "phi3"):
        values["rope.dimension_count"] = case.rotated
    if "head_dim" in c:
        values["attention.key_length"] = values["attention.value_length"] = c["head_dim"]
    if case.architecture == "phi3":
        values["attention.sliding_window"] = c.get("sliding_window") or 0
        values["rope.scaling.original_context_length"] = rope.get("original_max_position_embeddings",
                                                                  c["max_position_embeddings"])
    if rope["rope_type"] == "yarn":
        values["rope.scaling.type"], values["rope.scaling.factor"] = "yarn", rope["factor"]
        values["rope.scaling.original_context_length"] = rope["original_max_position_embeddings"]
    if rope["rope_type"] == "llama3":
        tensors["rope_freqs.weight"] = numpy.array(llama3_factors(case), numpy.float32)
    if rope["rope_type"] == "longrope":
        original = rope["original_max_position_embeddings"]
        growth = c["max_position_embeddings"] / original
        values["rope.scaling.attn_factor"] = math.sqrt(1.0 + math.log(growth) / math.log(original))
        for name in ("long", "short"):
            tensors[f"rope_factors_{name}.weight"] = numpy.array(rope[f"{name}_factor"], numpy.float32)
    for name, array in weights.items():
        if case.architecture == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            array = adjacent_pairs(array, case.head)
        tensors[gguf_name(name)] = array.astype(numpy.float16) if array.ndim == 2 else array
    if change:
        change(values)
    writer = gguf.GGUFWriter(str(path), case.architecture)
    writer.add_tokenizer_model("none")
    for key, value in values.items():
        add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[type(value)]
        add(f"{case.architecture}.{key}", value)
    for name, array in tensors.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_safetensors(path, tensors, metadata=None):
    """8 bytes of length, JSON, values. The file has its name once it is whole."""
    kinds = {"f4": "F32", "f8": "F64", "i4": "I32", "u1": "U8"}
    header, at = {"__metadata__": metadata} if metadata else {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": kinds[array.dtype.str[1:]], "shape": list(array.shape),
                        "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    part = pathlib.Path(path).with_suffix(".part")
    part.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in tensors.values()))
    os.replace(part, path)


def error(ours, truth):
    """Largest ‖ours − truth‖ / ‖truth‖ of a row."""
    ours, truth = ours.astype(numpy.float64), truth.astype(numpy.float64)
    return float((numpy.linalg.norm(ours - truth, axis=1) / numpy.linalg.norm(truth, axis=1)).max())
