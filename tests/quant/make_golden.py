#!/usr/bin/env python3
"""Writes DIR/quant_<NAME>.bin for every format: blocks, then the f32 weights that PyPI's `gguf` decodes from them.

    make_golden.py DIR [--seed N]      N = 1 gives the committed files of tests/golden

File: n blocks of the format's bytes | n·block_size f32, little-endian, every NaN as 7fc00000.
Exit code 77: the package `gguf` is not there.
"""
import argparse
import hashlib
import pathlib
import sys

try:
    import gguf
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}", file=sys.stderr)
    sys.exit(77)

BLOCKS = 40
# f16 patterns: ±0, least and largest subnormal, least normal, largest, ±infinity, quiet and signalling NaN.
EXTREME_F16 = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x8400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x7D01]
EXTREME_BF16 = [0x0000, 0x8000, 0x0001, 0x807F, 0x0080, 0x8080, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80, 0x7FC0, 0x7F81]
EXTREME_F32 = [0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000]

# name: (block size, block bytes, offsets of the f16 fields, range of the small integer scales)
BLOCK_FORMATS = {
    "Q8_0": (32, 34, [0], range(0)),
    "Q4_0": (32, 18, [0], range(0)),
    "Q4_1": (32, 20, [0, 2], range(0)),
    "Q5_0": (32, 22, [0], range(0)),
    "Q5_1": (32, 24, [0, 2], range(0)),
    "Q2_K": (256, 84, [80, 82], range(0, 16)),
    "Q3_K": (256, 110, [108], range(96, 108)),
    "Q4_K": (256, 144, [0, 2], range(4, 16)),
    "Q5_K": (256, 176, [0, 2], range(4, 16)),
    "Q6_K": (256, 210, [208], range(192, 208)),
    "IQ4_NL": (32, 18, [0], range(0)),
}


def random_bytes(label, seed, count):
    """A stream that no library's version changes."""
    return np.frombuffer(hashlib.shake_256(f"{label} {seed}".encode()).digest(count), np.uint8).copy()


def put_f16(block, offset, bits):
    block[offset], block[offset + 1] = bits & 0xFF, bits >> 8


def block_inputs(name, seed):
    """(BLOCKS, block bytes): one block an extreme value of each f16 field, extreme codes and scales, then random."""
    _, size, fields, scales = BLOCK_FORMATS[name]
    blocks = random_bytes(name, seed, BLOCKS * size).reshape(BLOCKS, size)
    ordinary = random_bytes(name + " scales", seed, BLOCKS * 4).view("<u2").reshape(BLOCKS, 2)
    for row in range(BLOCKS - 2):  # the last two keep their random scales, NaN and infinity among them
        for offset, bits in zip(fields, ordinary[row]):
            put_f16(blocks[row], offset, (int(bits) & 0x83FF) | (0x1800 + (int(bits) >> 3 & 0x0C00)))  # 2^-9 … 2^-6
    row = 0
    for offset in fields:
        for bits in EXTREME_F16[:: len(fields)] if len(fields) > 1 else EXTREME_F16:
            put_f16(blocks[row], offset, bits)
            row += 1
    codes = [i for i in range(size) if i not in scales and not any(i in (f, f + 1) for f in fields)]
    for fill in (0x00, 0xFF, 0x7F, 0x80, 0x0F, 0xF0):
        blocks[row, codes] = fill
        row += 1
    if len(scales):
        for fill in (0x00, 0xFF, 0x7F, 0x80, 0x3F, 0xC0):
            blocks[row, list(scales)] = fill
            row += 1
    blocks[row] = 0
    blocks[row + 1] = 0  # infinity times the code 0 (and −infinity as the minimum): NaN
    for offset, bits in zip(fields, (0x7C00, 0xFC00)):
        put_f16(blocks[row + 1], offset, bits)
    for offset in fields:  # −0 scales with the largest codes: the sign of zero
        put_f16(blocks[row + 2], offset, 0x8000)
    assert row + 3 <= BLOCKS - 4
    return blocks


def inputs(name, seed):
    if name == "F32":
        return np.concatenate([np.array(EXTREME_F32, "<u4").view(np.uint8), random_bytes(name, seed, 4 * 200)]).reshape(-1, 4)
    if name == "F16":
        return np.concatenate([np.array(EXTREME_F16, "<u2").view(np.uint8), random_bytes(name, seed, 2 * 400)]).reshape(-1, 2)
    if name == "BF16":
        return np.concatenate([np.array(EXTREME_BF16, "<u2").view(np.uint8), random_bytes(name, seed, 2 * 400)]).reshape(-1, 2)
    return block_inputs(name, seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    for name in ["F32", "F16", "BF16", *BLOCK_FORMATS]:
        blocks = inputs(name, options.seed)
        with np.errstate(all="ignore"):
            weights = gguf.dequantize(blocks, gguf.GGMLQuantizationType[name]).astype("<f4", copy=True)
        weights[np.isnan(weights)] = np.nan
        bits = weights.view("<u4").copy()
        bits[np.isnan(weights)] = 0x7FC00000
        (options.directory / f"quant_{name}.bin").write_bytes(blocks.tobytes() + bits.tobytes())


main()
