#!/usr/bin/env python3
"""Writes DIR/encoded_<NAME>.bin for every format that src/quant/encode.cpp writes: f32 weights, then the blocks that others make of them.

    make_encoded.py DIR [--seed N] [--ggml libggml-base.so]      N = 1 gives the committed files of tests/golden

File: n·block_size f32 | n blocks of the format's bytes, little-endian. The blocks are those of PyPI's `gguf`. It cannot write IQ4_NL and the
K formats: their blocks are ggml's, and without --ggml their files are left alone. With --ggml, the two are compared where both can.
Exit code 77: the package `gguf` is not there.
"""
import argparse
import ctypes
import hashlib
import pathlib
import sys

try:
    import gguf
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}", file=sys.stderr)
    sys.exit(77)

FORMATS = {"F16": 1, "BF16": 1, "Q8_0": 32, "Q4_0": 32, "Q4_1": 32, "Q5_0": 32, "Q5_1": 32, "IQ4_NL": 32, "Q4_K": 256, "Q5_K": 256, "Q6_K": 256}
ONLY_GGML = ("IQ4_NL", "Q4_K", "Q5_K", "Q6_K")
BLOCKS = 48


def weights(seed):
    """(BLOCKS, 32) f32: bell-shaped at scales from 2^-20 to 2^6, then blocks where rounding is decided by a detail."""
    words = np.frombuffer(hashlib.shake_256(f"encoded {seed}".encode()).digest(BLOCKS * 32 * 8), "<u2").reshape(BLOCKS, 32, 4)
    bell = (words.astype(np.float64).sum(axis=2) - 2 * 65535) / 65535  # the sum of four uniform numbers
    scales = 2.0 ** (np.arange(BLOCKS) % 27 - 20)
    blocks = (bell * scales[:, None]).astype(np.float32)
    blocks[0] = 0  # not -0: there gguf and ggml make scales of unlike sign
    blocks[2] = 1.5  # all equal: no range
    blocks[3] = np.arange(32) - 16  # codes on the grid, and halves between
    blocks[4] = (np.arange(32) - 16) / 2 + 0.25
    blocks[5, 0], blocks[5, 1] = 3.0, -3.0  # two extremes of one magnitude: the first counts
    blocks[6] = np.where(np.arange(32) == 31, 1.0, 1e-6)  # one large weight
    blocks[7] = 2e-36  # its scale is below f16, though not so far that 1 / scale overflows
    blocks[8] = -np.abs(blocks[8])  # one sign
    blocks[9] = np.linspace(-127, 127, 32, dtype=np.float32) + np.float32(0.5)
    return blocks


def super_blocks(seed):
    """(12, 256) f32: the blocks above side by side, then rows of one scale, and one with an outlier in a group."""
    words = np.frombuffer(hashlib.shake_256(f"super {seed}".encode()).digest(6 * 256 * 8), "<u2").reshape(6, 256, 4)
    bell = (words.astype(np.float64).sum(axis=2) - 2 * 65535) / 65535
    rows = (bell * 2.0 ** np.array([-12, -6, -3, 0, 0, 3])[:, None]).astype(np.float32)
    rows[4] += np.float32(0.75)  # all groups far from zero
    rows[3, 100] = 40.0
    return np.concatenate([weights(seed).reshape(6, 256), rows])


def ggml_blocks(library, name, blocks):
    rows, columns = blocks.shape
    out = np.zeros(rows * gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]][1], np.uint8)
    quantize = ctypes.CDLL(library).ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    size = quantize(ctypes.c_int(int(gguf.GGMLQuantizationType[name])), blocks.ctypes.data_as(ctypes.c_void_p),
                    out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(0), ctypes.c_int64(rows), ctypes.c_int64(columns), None)
    assert size == out.size
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ggml")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    for name, size in FORMATS.items():
        blocks = super_blocks(options.seed) if size == 256 else weights(options.seed)
        if name in ONLY_GGML:
            if not options.ggml:
                continue
            encoded = ggml_blocks(options.ggml, name, blocks)
        else:
            with np.errstate(all="ignore"):
                encoded = gguf.quantize(blocks, gguf.GGMLQuantizationType[name]).view(np.uint8).ravel()
            if options.ggml and size > 1:
                differ = (encoded != ggml_blocks(options.ggml, name, blocks)).reshape(BLOCKS, -1).any(axis=1)
                print(f"{name}: blocks where ggml differs: {np.flatnonzero(differ).tolist()}")
        (options.directory / f"encoded_{name}.bin").write_bytes(blocks.astype("<f4").tobytes() + encoded.tobytes())


main()
