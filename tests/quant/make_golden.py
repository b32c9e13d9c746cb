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

# name: (block size, block bytes, the f16 fields, range of the small integer scales). A field is an offset, or the
# (byte, shift) of its four nibbles, the lowest first.
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
    "IQ4_XS": (256, 136, [0], range(2, 8)),
    "MXFP4": (32, 17, [], range(0, 1)),
    "NVFP4": (64, 36, [], range(0, 4)),
    "IQ3_S": (256, 110, [0], range(106, 110)),
    "IQ3_XXS": (256, 98, [0], range(66, 98)),
    "IQ2_S": (256, 82, [0], range(74, 82)),
    "IQ2_XS": (256, 74, [0], range(66, 74)),
    "IQ2_XXS": (256, 66, [0], range(0)),
    "IQ1_M": (256, 56, [((49, 4), (51, 4), (53, 4), (55, 4))], range(0)),
    "IQ1_S": (256, 50, [0], range(34, 50)),
    "TQ1_0": (256, 54, [52], range(0)),
    "TQ2_0": (256, 66, [64], range(0)),
}


def random_bytes(label, seed, count):
    """A stream that no library's version changes."""
    return np.frombuffer(hashlib.shake_256(f"{label} {seed}".encode()).digest(count), np.uint8).copy()


def nibbles_of(field):
    return field if isinstance(field, tuple) else ((field, 0), (field, 4), (field + 1, 0), (field + 1, 4))


def put_f16(block, field, bits):
    for byte, shift in nibbles_of(field):
        block[byte] = (int(block[byte]) & ~(15 << shift)) | ((bits & 15) << shift)
        bits >>= 4


def in_a_field(byte, fields):
    return any(byte == at for field in fields for at, _ in nibbles_of(field))


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
    codes = [i for i in range(size) if i not in scales and not in_a_field(i, fields)]
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
    return np.concatenate([blocks, more_blocks(name, blocks[row + 3:row + 4])])


def more_blocks(name, like):
    """Blocks with every scale of a byte (MXFP4, NVFP4), or every entry of a codebook (IQ): `like` another one."""
    count, places = {"MXFP4": (256, [0]), "NVFP4": (256, range(4)), "IQ2_XXS": (256, range(32)), "IQ2_XS": (512, range(32)),
                     "IQ2_S": (1024, range(32)), "IQ3_XXS": (256, range(64)), "IQ3_S": (512, range(64)),
                     "IQ1_S": (2048, range(32))}.get(name, (0, [0]))
    blocks = np.repeat(like, count // len(places), axis=0)
    for value in range(count):
        block, place = blocks[value // len(places)], places[value % len(places)]
        low, high = value & 255, value >> 8
        if name == "IQ2_XXS":
            block[2 + place // 4 * 8 + place % 4] = low
        elif name == "IQ2_XS":
            block[2 + 2 * place] = low
            block[3 + 2 * place] = (int(block[3 + 2 * place]) & 0xFE) | high
        elif name in ("IQ2_S", "IQ3_S"):
            bits, at = (2, 66 + place // 4) if name == "IQ2_S" else (1, 66 + place // 8)
            shift = place % (8 // bits) * bits
            block[2 + place] = low
            block[at] = (int(block[at]) & ~((1 << bits) - 1 << shift)) | high << shift
        elif name == "IQ1_S":
            word = block[34 + place // 4 * 2:][:2].view("<u2")
            block[2 + place] = low
            word[0] = (int(word[0]) & ~(7 << 3 * (place % 4))) | high << 3 * (place % 4)
        else:
            block[place + (2 if name == "IQ3_XXS" else 0)] = low
    return blocks


def without_tiny_scales(name, blocks, weights):
    """A block of MXFP4 whose scale 2^(e - 127) is below 2^-100 counts as zeros (docs/numbers.md)."""
    if name == "MXFP4":
        tiny = blocks[:, 0] < 27
        weights[tiny] = np.copysign(np.float32(0), weights[tiny])
    return weights


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
        weights = without_tiny_scales(name, blocks, weights)
        weights[np.isnan(weights)] = np.nan
        bits = weights.view("<u4").copy()
        bits[np.isnan(weights)] = 0x7FC00000
        (options.directory / f"quant_{name}.bin").write_bytes(blocks.tobytes() + bits.tobytes())


main()
