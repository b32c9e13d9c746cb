"""Small GGUF files of random weights, one for each sort of operation that architectures differ by. Needs numpy alone.

    tiny_models.MODELS["gpt-oss"].write(path)

Four heads on two, a vocabulary of 96; matrices are Q8_0, all else F32.
"""
import dataclasses
import struct
import zlib

import numpy

WIDTH, HEADS, KV, HEAD, FFN, EXPERT, WORDS, CONTEXT = 64, 4, 2, 32, 96, 64, 96, 512
F32, Q8_0 = 0, 8
TYPES = {bool: 7, int: 4, float: 6, str: 8}


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def field(value):
    """A value with its type: bool, u32, f32, a string, or a list of one of them."""
    if isinstance(value, list):
        kind = TYPES[type(value[0])]
        return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(field(one)[4:] for one in value)
    data = text(value) if isinstance(value, str) else struct.pack({bool: "<?", int: "<I", float: "<f"}[type(value)], value)
    return struct.pack("<I", TYPES[type(value)]) + data


def quantised(matrix):
    """Q8_0: blocks of 32 with an f16 scale."""
    blocks = matrix.reshape(-1, 32)
    scale = (numpy.abs(blocks).max(axis=1) / 127).astype("<f2")
    codes = numpy.rint(blocks / numpy.maximum(scale.astype(numpy.float32), 1e-8)[:, None]).clip(-127, 127).astype("i1")
    return numpy.concatenate([scale.view("u1").reshape(-1, 2), codes.view("u1")], axis=1).tobytes()


def write(path, keys, tensors):
    """tensors: {name: (type, dims with the row length first, bytes)}"""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))
    head += b"".join(text(key) + field(value) for key, value in keys.items())
    data = b""
    for name, (kind, dims, stored) in tensors.items():
        head += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(data))
        data += stored + bytes(-len(stored) % 32)
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % 32) + data)


def drawn(name, shape):
    """Numbers of [-1, 1) by the name alone."""
    random = numpy.random.Generator(numpy.random.PCG64(zlib.crc32(name.encode())))
    return random.random(shape, numpy.float32) * 2 - 1


@dataclasses.dataclass
class Model:
    """`layer`: {name within a block: shape}; vectors are norms around 1 if "norm" is in their name, else biases."""
    architecture: str
    keys: dict
    layer: dict
    ends: dict = dataclasses.field(default_factory=dict)
    layers: int = 3
    whole: dict = dataclasses.field(default_factory=dict)  # keys without the architecture's name
    norm: str = "rms"   # or "layer", "none"
    lead: dict = dataclasses.field(default_factory=dict)   # names that only block 0 has
    rest: dict = dataclasses.field(default_factory=dict)   # names that it doesn't have
    fixed: dict = dataclasses.field(default_factory=dict)  # {whole name: a function of the drawn numbers}

    def tensors(self):
        shapes = {"token_embd.weight": (WORDS, WIDTH), "output.weight": (WORDS, WIDTH)}
        if self.norm != "none":
            shapes["output_norm.weight"] = (WIDTH,)
        if self.norm == "layer":
            shapes["output_norm.bias"] = (WIDTH,)
        shapes.update(self.ends)
        for block in range(self.layers):
            shapes.update({f"blk.{block}.{name}": shape
                           for name, shape in {**self.layer, **(self.rest if block else self.lead)}.items()})
        tensors = {}
        for name, shape in shapes.items():
            if shape is None:
                continue
            values = drawn(f"{self.architecture} {name}", shape)
            if name == "token_embd.weight":
                values *= 1.7
            elif "norm" in name and name.endswith("weight"):
                values = 1 + 0.4 * values
            elif name.endswith(".scale"):
                values = 1.25 + 0.5 * values
            elif len(shape) == 1 or name.endswith(".bias"):
                values *= 0.5
            else:
                # scores that spread by a few
                gain = 1.6 if any(part in name for part in ("attn_q.", "attn_k.", "attn_qkv.", "gate_inp")) else 1.0
                values *= gain * (3.0 / shape[-1]) ** 0.5
            if name in self.fixed:
                values = self.fixed[name](values)
            plain = len(shape) == 1 or shape[-1] % 32 or any(part in name for part in ("gate_inp", "position", ".bias"))
            tensors[name] = ((F32, shape[::-1], values.astype("<f4").tobytes()) if plain
                             else (Q8_0, shape[::-1], quantised(values)))
        return tensors

    def write(self, path):
        keys = {"block_count": self.layers, "context_length": CONTEXT, "embedding_length": WIDTH,
                "feed_forward_length": FFN, "attention.head_count": HEADS, "attention.head_count_kv": KV,
                "attention.key_length": HEAD, "attention.value_length": HEAD, "vocab_size": WORDS,
                "attention.layer_norm_epsilon" if self.norm != "rms" else "attention.layer_norm_rms_epsilon": 1e-5,
                **self.keys}
        keys = {f"{self.architecture}.{key}": value for key, value in keys.items() if value is not None}
        write(path, {"general.architecture": self.architecture, "tokenizer.ggml.model": "none", **keys, **self.whole},
              self.tensors())


def attention(value=HEAD, kv=KV):
    return {"attn_q.weight": (HEADS * HEAD, WIDTH), "attn_k.weight": (kv * HEAD, WIDTH), "attn_v.weight": (kv * value, WIDTH),
            "attn_output.weight": (WIDTH, HEADS * value)}


def norms(*names):
    return {f"{name}.weight": (WIDTH,) for name in names or ("attn_norm", "ffn_norm")}


def biased(shapes):
    """The same with a bias for each."""
    return {**shapes, **{name.replace(".weight", ".bias"): shape[:1] for name, shape in shapes.items()}}


def dense(gate=True):
    return {**({"ffn_gate.weight": (FFN, WIDTH)} if gate else {}), "ffn_up.weight": (FFN, WIDTH),
            "ffn_down.weight": (WIDTH, FFN)}


def experts(count, gate=True):
    return {"ffn_gate_inp.weight": (count, WIDTH),
            **({"ffn_gate_exps.weight": (count, EXPERT, WIDTH)} if gate else {}),
            "ffn_up_exps.weight": (count, EXPERT, WIDTH), "ffn_down_exps.weight": (count, WIDTH, EXPERT)}


def chosen(count, used, **more):
    return {"expert_count": count, "expert_used_count": used, "expert_feed_forward_length": EXPERT,
            **{f"expert_{key}": value for key, value in more.items()}}


def one_large(values):
    """So large that a sum of some of them is beyond f16."""
    values[5] = 30000
    return values


ALIBI = {"attention.key_length": None, "attention.value_length": None, "attention.head_count_kv": HEADS}
FUSED = biased({"attn_qkv.weight": (3 * WIDTH, WIDTH), "attn_output.weight": (WIDTH, WIDTH)})
SHARED = {"ffn_gate_shexp.weight": (EXPERT, WIDTH), "ffn_up_shexp.weight": (EXPERT, WIDTH),
          "ffn_down_shexp.weight": (WIDTH, EXPERT)}

QWEN2 = {**norms(), **biased({name: shape for name, shape in attention().items() if "output" not in name}),
         "attn_output.weight": (WIDTH, HEADS * HEAD), **dense()}

MODELS = {
    # biases of queries, keys and values
    "qwen2": Model("qwen2", {}, QWEN2),
    # large values
    "loud": Model("qwen2", {}, QWEN2, fixed={"blk.1.attn_v.bias": one_large, "blk.1.ffn_norm.weight": lambda w: 1e5 * w,
                                         "blk.2.ffn_norm.weight": lambda w: 1e5 * w}),
    # sinks, windows, YaRN, a softmax of the chosen, experts with biases, clamped SwiGLU
    "gpt-oss": Model("gpt-oss", {
        **chosen(8, 3), "attention.sliding_window": 20, "rope.scaling.type": "yarn", "rope.scaling.factor": 8.0,
        "rope.scaling.original_context_length": 64, "rope.freq_base": 150000.0},
        {**norms("attn_norm", "post_attention_norm"), **biased(attention()), "attn_sinks.weight": (HEADS,),
         **experts(8), "ffn_gate_inp.bias": (8,), "ffn_gate_exps.bias": (8, EXPERT), "ffn_up_exps.bias": (8, EXPERT),
         "ffn_down_exps.bias": (8, WIDTH)}),
    # caps of scores and logits, factors, GELU, windows, norms after the branches
    "gemma2": Model("gemma2", {"attention.sliding_window": 20, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0},
                    {**norms("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"), **attention(), **dense()},
                    {"output.weight": None}),
    # two RoPE tables, norms per head
    "gemma3": Model("gemma3", {"attention.sliding_window": 20, "rope.freq_base": 1000000.0},
                    {**norms("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"), **attention(),
                     "attn_q_norm.weight": (HEAD,), "attn_k_norm.weight": (HEAD,), **dense()}, {"output.weight": None}, 7),
    # softmax over all, then over the sum; experts with a factor
    "qwen3moe": Model("qwen3moe", chosen(8, 3), {**norms(), **attention(), "attn_q_norm.weight": (HEAD,),
                                                 "attn_k_norm.weight": (HEAD,), **experts(8),
                                                 "ffn_down_exps.scale": (8,)}),
    # softmax over all, a shared expert with a gate
    "qwen2moe": Model("qwen2moe", {**chosen(8, 3), "expert_shared_feed_forward_length": EXPERT},
                      {**norms(), **attention(), **experts(8), **SHARED, "ffn_gate_inp_shexp.weight": (WIDTH,)}),
    # sigmoids in groups, a bias that only chooses, a scale, a shared expert
    "bailingmoe2": Model("bailingmoe2", {
        **chosen(16, 4, group_count=4, group_used_count=2, gating_func=2, weights_norm=True, weights_scale=2.5,
                 shared_count=1), "leading_dense_block_count": 1, "expert_shared_feed_forward_length": EXPERT},
        {**norms(), "attn_qkv.weight": ((HEADS + 2 * KV) * HEAD, WIDTH), "attn_output.weight": (WIDTH, HEADS * HEAD),
         "attn_q_norm.weight": (HEAD,), "attn_k_norm.weight": (HEAD,)},
        lead=dense(), rest={**experts(16), "exp_probs_b.bias": (16,), **SHARED}),
    # weights that meet the input, chunks, no RoPE and a temperature in every fourth block
    "llama4": Model("llama4", {**chosen(4, 1), "interleave_moe_layer_step": 1, "attention.sliding_window": 16,
                               "attention.temperature_length": 8, "attention.temperature_scale": 0.3},
                    {**norms(), **attention(), **experts(4), **SHARED}, layers=4),
    # ALiBi, LayerNorm, GELU without a gate
    "bloom": Model("bloom", ALIBI, {**biased(norms()), **FUSED, **biased(dense(False))},
                   biased({"token_embd_norm.weight": (WIDTH,)}), norm="layer"),
    # a table of positions
    "gpt2": Model("gpt2", ALIBI, {**biased(norms()), **FUSED, **biased(dense(False))},
                  {"position_embd.weight": (CONTEXT, WIDTH)}, norm="layer"),
    # clamped queries, keys and values, norms without weights
    "olmo": Model("olmo", {"attention.clamp_kqv": 1.2}, {**attention(), **dense()}, norm="none"),
    # values narrower than keys, windows
    "mimo2": Model("mimo2", {
        **chosen(8, 3, gating_func=2, weights_norm=True), "attention.value_length": 16, "attention.sliding_window": 20,
        "attention.sliding_window_pattern": [False, True, True], "rope.dimension_count": 16},
        {**norms(), **attention(16)}, lead=dense(),
        rest={**experts(8), "exp_probs_b.bias": (8,)}),
    # a gate for each head
    "laguna": Model("laguna", {**chosen(8, 3, gating_func=2, weights_norm=True, shared_count=1),
                               "leading_dense_block_count": 1, "expert_shared_feed_forward_length": EXPERT},
                    {**norms(), **attention(), "attn_q_norm.weight": (HEAD,), "attn_k_norm.weight": (HEAD,),
                     "attn_gate.weight": (HEADS, WIDTH)},
                    lead=dense(), rest={**experts(8), "exp_probs_b.bias": (8,), **SHARED}),
    # xIELU
    "apertus": Model("apertus", {},
                     {**norms(), **attention(), "attn_q_norm.weight": (HEAD,), "attn_k_norm.weight": (HEAD,), **dense(False)},
                     whole={f"xielu.{name}": [value] * 3 for name, value in
                            {"alpha_p": 0.8, "alpha_n": 1.3, "beta": 0.5, "eps": -1e-6}.items()}),
    # factors everywhere
    "granite": Model("granite", {"embedding_scale": 6.0, "residual_scale": 0.4, "attention.scale": 0.2, "logit_scale": 4.0},
                     {**norms(), **attention(), **dense()}),
    # a parallel block, no RoPE in every fourth
    "cohere2": Model("cohere2", {"attention.sliding_window": 20, "logit_scale": 0.25},
                     {**norms("attn_norm"), **attention(), **dense()}, {"output.weight": None, "output_norm.bias": None}, 4, norm="layer"),
}

ONE_HEAD = {"attn_q.weight": (16, WIDTH), "attn_k.weight": (16, WIDTH), "attn_v.weight": (16, WIDTH),
            "attn_output.weight": (WIDTH, 16)}
LONG = {"context_length": 70000, "attention.head_count": 1, "attention.head_count_kv": 1, "attention.key_length": 16,
        "attention.value_length": 16, "rope.dimension_count": 16}

# Shapes at which faults of real engines show.
LARGE = {
    # rows past 65,536
    "words": Model("llama", {"vocab_size": 262144, "rope.dimension_count": HEAD}, {**norms(), **attention(), **dense()},
                   {"token_embd.weight": (262144, WIDTH), "output.weight": (262144, WIDTH)}, 1),
    # rows of which an eighth is no multiple of 32
    "parts": Model("llama", {"feed_forward_length": 2880, "rope.dimension_count": HEAD},
                   {**norms(), **attention(), "ffn_gate.weight": (2880, WIDTH), "ffn_up.weight": (2880, WIDTH),
                    "ffn_down.weight": (WIDTH, 2880)}, layers=1),
    # 65,535 tokens in one step, the most that it may have; they see few keys
    "tokens": Model("starcoder2", {**LONG, "attention.sliding_window": 8},
                    {**biased(norms()), **ONE_HEAD, **dense(False)}, layers=1, norm="layer"),
}
