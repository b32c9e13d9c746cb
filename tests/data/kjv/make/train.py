"""Tokens to weights: train.py FOLDER reads FOLDER/ids.npy and writes FOLDER/kjv.npz (bfloat16 bits, GGUF's names).

Six layers of Llama, 5.8 million weights, 1500 steps of 64 x 512 tokens. Needs torch and a GPU: 31 s on an H200. Another
GPU or version of torch gives other weights."""
import math
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

VOCABULARY, WIDTH, LAYERS, HEADS, KV_HEADS, FEED_FORWARD, CONTEXT = 2048, 256, 6, 4, 2, 768, 512
HEAD = WIDTH // HEADS
STEPS, BATCH, DROPOUT, RATE = 1500, 64, 0.2, 2e-3
torch.manual_seed(1)


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


def rope(x):
    """Rotates neighbouring pairs, as GGUF's llama does.  x: (..., tokens, HEAD)"""
    position = torch.arange(x.shape[-2], device=x.device).float()
    angle = position[:, None] * 10000.0 ** (-torch.arange(0, HEAD, 2, device=x.device).float() / HEAD)
    cos, sin, even, odd = angle.cos(), angle.sin(), x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def linear(columns, rows):
    return nn.Linear(columns, rows, bias=False)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn_norm, self.ffn_norm = Norm(), Norm()
        self.attn_q, self.attn_output = linear(WIDTH, WIDTH), linear(WIDTH, WIDTH)
        self.attn_k, self.attn_v = linear(WIDTH, KV_HEADS * HEAD), linear(WIDTH, KV_HEADS * HEAD)
        self.ffn_gate, self.ffn_up = linear(WIDTH, FEED_FORWARD), linear(WIDTH, FEED_FORWARD)
        self.ffn_down = linear(FEED_FORWARD, WIDTH)

    def forward(self, x):
        batch, tokens, _ = x.shape

        def heads(y, count):
            return y.view(batch, tokens, count, HEAD).transpose(1, 2)

        h = self.attn_norm(x)
        q, k, v = heads(self.attn_q(h), HEADS), heads(self.attn_k(h), KV_HEADS), heads(self.attn_v(h), KV_HEADS)
        q, k = rope(q), rope(k)
        k, v = (y.repeat_interleave(HEADS // KV_HEADS, 1) for y in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, tokens, WIDTH)
        x = x + F.dropout(self.attn_output(mixed), DROPOUT, self.training)
        h = self.ffn_norm(x)
        return x + F.dropout(self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h)), DROPOUT, self.training)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.token_embd = nn.Embedding(VOCABULARY, WIDTH)
        self.blk = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.output_norm, self.output = Norm(), linear(WIDTH, VOCABULARY)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                into_residual = name.endswith(("attn_output.weight", "ffn_down.weight"))
                nn.init.normal_(weight, 0, 0.02 / (math.sqrt(2 * LAYERS) if into_residual else 1))

    def forward(self, ids):
        x = F.dropout(self.token_embd(ids), DROPOUT, self.training)
        for layer in self.blk:
            x = layer(x)
        return self.output(self.output_norm(x))


def main(folder):
    ids = torch.from_numpy(np.load(f"{folder}/ids.npy").astype(np.int64)).cuda()
    ids = ids[: int(len(ids) * 0.97)]  # the rest was held out to choose STEPS
    model = Model().cuda()
    decayed = [w for w in model.parameters() if w.dim() > 1]
    others = [w for w in model.parameters() if w.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0}],
                                  lr=RATE, betas=(0.9, 0.95), fused=True)
    compiled, start = torch.compile(model), time.time()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            cosine = 0.5 * (1 + math.cos(math.pi * step / STEPS))
            group["lr"] = RATE * min(1, (step + 1) / 200) * (0.05 + 0.95 * cosine)
        first = torch.randint(len(ids) - CONTEXT - 1, (BATCH,), device="cuda")
        window = ids[first[:, None] + torch.arange(CONTEXT + 1, device="cuda")]
        with torch.autocast("cuda", torch.bfloat16):
            loss = F.cross_entropy(compiled(window[:, :-1]).flatten(0, 1).float(), window[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 250 == 249:
            print(step + 1, round(loss.item(), 3), round(time.time() - start, 1), flush=True)
    np.savez(f"{folder}/kjv.npz", **{name: weight.detach().to(torch.bfloat16).view(torch.int16).cpu().numpy()
                                     for name, weight in model.state_dict().items()})


main(sys.argv[1])
