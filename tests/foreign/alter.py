"""Altered copies of a GGUF file: one tensor's bytes or one number is another.

    alter.py MODEL.gguf OUT.gguf NAME [LAYER]
"""
import sys

import gguf
import numpy as np


def rows(tensor):
    """A view of the file's bytes, one line a row."""
    return tensor.data.reshape(-1, tensor.data.shape[-1]).view(np.uint8)


class File:
    def __init__(self, path):
        self.reader = gguf.GGUFReader(path, "r+")
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}

    def of(self, layer, name):
        return rows(self.tensors[f"blk.{layer}.{name}.weight"])

    def set(self, key, value):
        field = self.reader.get_field(key)
        field.parts[field.data[0]][0] = value


def permute(view, heads):
    """Each head's rows as another engine pairs them: halves instead of neighbours."""
    view[:] = view.reshape(heads, -1, 2, view.shape[1]).swapaxes(1, 2).reshape(view.shape).copy()


def permuted_q(file, layer):
    permute(file.of(layer, "attn_q"), int(file.reader.get_field("llama.attention.head_count").contents()))


def permuted_k(file, layer):
    permute(file.of(layer, "attn_k"), int(file.reader.get_field("llama.attention.head_count_kv").contents()))


def swapped(file, layer, one, other):
    a, b = file.of(layer, one), file.of(layer, other)
    a[:], b[:] = b.copy(), a.copy()


def transposed(file, layer, name="attn_output"):
    """Decoded, turned, and quantised again."""
    tensor = file.tensors[f"blk.{layer}.{name}.weight"]
    values = gguf.dequantize(tensor.data, tensor.tensor_type)
    rows(tensor)[:] = gguf.quantize(np.ascontiguousarray(values.T), tensor.tensor_type).view(np.uint8)


def scaled_norm(file, layer):
    file.tensors[f"blk.{layer}.ffn_norm.weight"].data[:] *= np.float32(1.25)


def shifted_blocks(file, layer):
    data = file.tensors[f"blk.{layer}.ffn_up.weight"].data.reshape(-1).view(np.uint8)
    kind = file.tensors[f"blk.{layer}.ffn_up.weight"].tensor_type
    size = gguf.GGML_QUANT_SIZES[kind][1]
    data[:] = np.concatenate([data[size:], np.zeros(size, np.uint8)])


def other_layer(file, layer):
    layers = int(file.reader.get_field("llama.block_count").contents())
    target = file.of(layer, "attn_v")
    source = next(file.of((layer + step) % layers, "attn_v") for step in range(1, layers)
                  if file.of((layer + step) % layers, "attn_v").shape == target.shape)
    target[:] = source.copy()


def one_row(file, layer):
    view = file.of(layer, "ffn_down")
    view[9] = view[200].copy()


def eps(file, layer):
    file.set("llama.attention.layer_norm_rms_epsilon", 1e-3)


def rope_base(file, layer):
    file.set("llama.rope.freq_base", 54321.0)


# name: what alters, the operation that shows it (of the layer, or where none of "blk.N." stands as it is), its cause
ALTERATIONS = {
    "permuted-q": (permuted_q, "q", "weight-permuted"),
    "permuted-k": (permuted_k, "k", "weight-permuted"),
    "swapped-gate-up": (lambda file, layer: swapped(file, layer, "ffn_gate", "ffn_up"), "gate", "weight-other"),
    "swapped-q-output": (lambda file, layer: swapped(file, layer, "attn_q", "attn_output"), "q", "weight-other"),
    "transposed-output": (transposed, "attn_out", "weight-transposed"),
    "transposed-q": (lambda file, layer: transposed(file, layer, "attn_q"), "q", "weight-transposed"),
    "scaled-norm": (scaled_norm, "ffn_norm", "scaled"),
    "shifted-blocks": (shifted_blocks, "up", "weight-block-shift"),
    "other-layer": (other_layer, "v", "weight-other"),
    "one-row": (one_row, "down", "weight-rows-permuted"),
    "eps": (eps, "blk.0.attn_norm", "norm-eps"),
    "rope-base": (rope_base, "blk.0.q_rope", "rope-base"),
}


def alter(model, path, name, layer):
    with open(model, "rb") as source, open(path, "wb") as target:
        target.write(source.read())
    file = File(path)
    ALTERATIONS[name][0](file, layer)
    file.reader.data.flush()


def alter_somewhere(model, path, name, layers):
    """As `alter`, in the first of these layers that it fits, which is returned; None: it fits none. A model's matrices may be
    of many types, and PyPI's gguf quantises to some of them only."""
    for layer in layers:
        try:
            alter(model, path, name, layer)
            return layer
        except (ValueError, StopIteration, NotImplementedError):
            continue
    return None


if __name__ == "__main__":
    alter(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 0)
