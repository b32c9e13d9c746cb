"""A small engine for llama models, written with numpy, that has one mistake. docs/tutorial.md finds it.

    python engine.py MODEL.gguf 504,3575,282,4649,314 [-n 16] [--trace FILE [--only NAME,NAME]] [--bf16]

Prints the text that follows the token ids. --trace writes what the prompt's pass computed, for `assay diff`. --bf16 computes as PyTorch
does in bfloat16: sums are in float32, and whatever an operation gives is rounded.
"""
import argparse

import gguf
import numpy as np


def read(path):
    """The numbers, the decoded weights and the tokens' bytes of a GGUF file."""
    reader = gguf.GGUFReader(path)

    def number(key):
        return reader.get_field("llama." + key).contents()

    weights = {t.name: gguf.dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors}
    return {"layers": number("block_count"), "heads": number("attention.head_count"),
            "kv_heads": number("attention.head_count_kv"), "eps": number("attention.layer_norm_rms_epsilon"),
            "base": number("rope.freq_base"), "tokens": reader.get_field("tokenizer.ggml.tokens").contents()}, weights


def bf16(x):
    """The nearest bfloat16 of each value, ties to even, as float32."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + (0x7FFF + (bits >> 16 & 1))) & 0xFFFF0000).view(np.float32)


def as_it_is(x):
    return x


def rms_norm(x, weight, eps, rounded):
    return rounded(rounded(x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(eps))) * weight)


def rope(x, base, rounded):
    """Rotates the pairs of each head by position × frequency. x: (tokens, heads, dim)."""
    tokens, _, dim = x.shape
    angle = np.outer(np.arange(tokens), base ** (-np.arange(0, dim, 2) / dim))[:, None, :]
    cos, sin = rounded(np.cos(angle).astype(np.float32)), rounded(np.sin(angle).astype(np.float32))
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = rounded(even * cos) - rounded(odd * sin), rounded(even * sin) + rounded(odd * cos)
    return rounded(np.stack(turned, axis=-1).reshape(x.shape))


def attention(q, k, v, rounded):
    """Causal attention; several heads of q share one of k and v. q: (tokens, heads, dim)."""
    tokens, heads, dim = q.shape
    k, v = (np.tile(x, (1, heads // x.shape[1], 1)) for x in (k, v))
    scores = rounded(rounded(np.einsum("ihd,jhd->hij", q, k)) / np.sqrt(np.float32(dim)))
    scores[:, np.arange(tokens)[:, None] < np.arange(tokens)[None, :]] = -np.inf
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = rounded(scores / scores.sum(axis=-1, keepdims=True))
    return rounded(np.einsum("hij,jhd->ihd", weights, v).reshape(tokens, heads * dim))


def forward(model, weights, tokens, rounded=as_it_is, keep=lambda name, values: None):
    """Logits of all tokens. Hands every value to keep, by the name that docs/trace-format.md gives it."""
    x = weights["token_embd.weight"][tokens]
    keep("embd", x)
    for layer in range(model["layers"]):
        w = {name: weights[f"blk.{layer}.{name}.weight"] for name in
             ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")}
        mine = {}

        def note(name, values):
            mine[name] = values
            keep(f"blk.{layer}.{name}", values.reshape(len(tokens), -1))
            return values

        h = note("attn_norm", rms_norm(x, w["attn_norm"], model["eps"], rounded))
        q, k, v = (note(name, rounded(h @ w["attn_" + name].T)).reshape(len(tokens), heads, -1)
                   for name, heads in (("q", model["heads"]), ("k", model["kv_heads"]), ("v", model["kv_heads"])))
        q, k = note("q_rope", rope(q, model["base"], rounded)), note("k_rope", rope(k, model["base"], rounded))
        h = note("attn_out", rounded(note("kqv", attention(q, k, v, rounded)) @ w["attn_output"].T))
        x = note("attn_residual", rounded(x + h))
        h = note("ffn_norm", rms_norm(x, w["ffn_norm"], model["eps"], rounded))
        gate, up = note("gate", rounded(h @ w["ffn_gate"].T)), note("up", rounded(h @ w["ffn_up"].T))
        h = note("act", rounded(rounded(gate / (1 + np.exp(-gate))) * up))
        x = note("out", rounded(x + note("down", rounded(h @ w["ffn_down"].T))))
    x = rms_norm(x, weights["output_norm.weight"], model["eps"], rounded)
    keep("out_norm", x)
    logits = rounded(x @ weights.get("output.weight", weights["token_embd.weight"]).T)
    keep("logits", logits)
    return logits


def text_of(model, tokens):
    """Byte-level BPE writes each byte of a text as one printable character; this goes back."""
    plain = [b for b in range(256) if chr(b).isprintable() and not chr(b).isspace() and b != 0xAD]
    byte = {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(sorted(set(range(256)) - set(plain)))}
    return bytes(byte[c] for t in tokens for c in model["tokens"][t] if c in byte).decode(errors="replace")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("tokens", type=lambda text: [int(t) for t in text.split(",")])
    parser.add_argument("-n", type=int, default=16, help="tokens to generate")
    parser.add_argument("--trace")
    parser.add_argument("--only", help="of the trace: these outputs alone, as blk.*.out,logits")
    parser.add_argument("--bf16", action="store_true", help="round weights and results to bfloat16")
    args = parser.parse_args()
    model, weights = read(args.model)
    rounded = bf16 if args.bf16 else as_it_is
    weights = {name: rounded(values) for name, values in weights.items()}
    if args.trace:
        from assay.only import Only  # needs PYTHONPATH=python
        from assay.trace import TraceWriter
        writer = TraceWriter("my engine", tokens=args.tokens, **({"contract": "bf16"} if args.bf16 else {}))
        only = Only(args.only)
        forward(model, weights, args.tokens, rounded, lambda name, values: only.wants(name) and writer.add(name, values))
        writer.write(args.trace)
    tokens = list(args.tokens)
    while len(tokens) < len(args.tokens) + args.n:
        tokens.append(int(np.argmax(forward(model, weights, tokens, rounded)[-1])))
    print(text_of(model, tokens[len(args.tokens):]))


if __name__ == "__main__":
    main()
