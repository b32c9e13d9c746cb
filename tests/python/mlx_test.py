"""The example that records MLX, on a small Llama of MLX's own modules; skipped where MLX is not installed."""
import pathlib
import sys
import tempfile
import unittest

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "python/examples"), str(pathlib.Path(__file__).parent)]
try:
    import mlx.core as mx
    import mlx.nn as nn
except ImportError as missing:
    raise unittest.SkipTest(f"{missing}") from None

import assay  # noqa: E402
import mlx_recorder  # noqa: E402
import record_test  # noqa: E402
import torch_stand_in as stand_in  # noqa: E402
from assay import trace  # noqa: E402


class Attention(nn.Module):
    def __init__(self, facts):
        super().__init__()
        self.facts = facts
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(1, 1, bias=False))
        self.rope = nn.RoPE(facts.head, traditional=False, base=facts.base)

    def __call__(self, x):
        q, k, v = (getattr(self, name)(x).reshape(1, x.shape[1], -1, self.facts.head).transpose(0, 2, 1, 3)
                   for name in ("q_proj", "k_proj", "v_proj"))
        y = mx.fast.scaled_dot_product_attention(self.rope(q), self.rope(k), v, scale=self.facts.head ** -0.5, mask="causal")
        return self.o_proj(y.transpose(0, 2, 1, 3).reshape(1, x.shape[1], -1))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("gate_proj", "up_proj", "down_proj"):
            setattr(self, name, nn.Linear(1, 1, bias=False))

    def __call__(self, x):
        return self.down_proj(nn.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, facts):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(1, facts.eps)
        self.self_attn = Attention(facts)
        self.post_attention_layernorm = nn.RMSNorm(1, facts.eps)
        self.mlp = Mlp()

    def __call__(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, facts, dtype=mx.float32):
        super().__init__()
        self.embed_tokens = nn.Embedding(1, 1)
        self.layers = [Block(facts) for _ in range(facts.layers)]
        self.norm = nn.RMSNorm(1, facts.eps)
        self.lm_head = nn.Linear(1, 1, bias=False)
        weights = stand_in.Weights(facts, "float32")

        def take(module, name):
            module.weight = mx.array(weights[name].numpy()).astype(dtype)

        take(self.embed_tokens, "token_embd")
        take(self.norm, "output_norm")
        take(self.lm_head, "output" if "output.weight" in facts else "token_embd")
        for i, layer in enumerate(self.layers):
            take(layer.input_layernorm, f"blk.{i}.attn_norm")
            take(layer.post_attention_layernorm, f"blk.{i}.ffn_norm")
            for own, name in (("q_proj", "attn_q"), ("k_proj", "attn_k"), ("v_proj", "attn_v"), ("o_proj", "attn_output")):
                take(getattr(layer.self_attn, own), f"blk.{i}.{name}")
            for own, name in (("gate_proj", "ffn_gate"), ("up_proj", "ffn_up"), ("down_proj", "ffn_down")):
                take(getattr(layer.mlp, own), f"blk.{i}.{name}")

    def __call__(self, ids):
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x)
        return self.lm_head(self.norm(x))


class Records(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "x.safetensors"

    def test_values_are_those_of_another_engine(self):
        facts = record_test.Facts()
        model, other = Llama(facts), stand_in.Llama(facts, transformers=False)
        with mlx_recorder.record(model, self.path):
            model(mx.array([[3, 7, 5]]))
        mine = trace.read(self.path)
        self.assertEqual(mine.steps(), [{"tokens": [3, 7, 5], "positions": [0, 1, 2], "selected": [0, 1, 2]}])
        self.assertEqual(mine.metadata["contract"], "f32")
        with assay.record(other, self.path):
            other(stand_in.ids(3, 7, 5))
        theirs = trace.read(self.path).of_step()
        for own, name in (("embed_tokens", "body.embed_tokens"), ("layers.0.self_attn.o_proj.in", "body.layers.0.mix.merge.in"),
                          ("layers.1.mlp.down_proj.in", "body.layers.1.feed.w2.in"), ("layers.1", "body.layers.1"),
                          ("lm_head", "to_words")):
            np.testing.assert_allclose(mine.of_step()[own], theirs[name], rtol=1e-4, atol=1e-5, err_msg=own)

    def test_bfloat16_is_written_as_it_is_and_the_classes_come_back(self):
        before = {kind: kind.__call__ for kind in (nn.Linear, Attention, Llama)}
        model = Llama(record_test.Facts(), mx.bfloat16)
        with mlx_recorder.record(model, self.path):
            self.assertIsNot(nn.Linear.__call__, before[nn.Linear])
            model(mx.array([[3, 7, 5]]))
        self.assertEqual({kind: kind.__call__ for kind in before}, before)
        self.assertIn(b'"dtype":"BF16"', self.path.read_bytes())
        self.assertEqual(trace.read(self.path).metadata["contract"], "bf16")


if __name__ == "__main__":
    unittest.main()
