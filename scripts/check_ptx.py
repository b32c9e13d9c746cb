#!/usr/bin/env python3
"""Checks the PTX of the kernels for what would break One Answer (docs/numbers.md) on NVIDIA GPUs.

    check_ptx.py FILE...

In PTX an addition or product without a rounding mode may be contracted to a fused one, and .ftz, .approx and .full are
other functions than IEEE's. Compiled with the flags of cmake/cuda.cmake, every f32 operation says .rn. The integer
instructions that kernels rely on must be there: a kernel that lost its tiles would be slow, and still right.
"""
import pathlib
import re
import sys

INSTRUCTION = re.compile(r"^\s*(?:@!?%p\d+\s+)?([a-z][\w]*(?:\.[\w:]+)+)\s", re.MULTILINE)
ROUNDED = {"add", "sub", "mul", "div", "sqrt", "fma"}
UNROUNDED = {"mad", "rcp", "rsqrt", "sin", "cos", "ex2", "lg2", "tanh"}  # functions that no contract names
WORDS = {"k_fma": "fma.rn.f32", "k_div": "div.rn.f32", "k_sqrt": "sqrt.rn.f32", "k_dot4_i8": "dp4a.s32.s32",
         "tile_mma_32": "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32",
         "tile_mma_16": "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32"}


def fault_of(instruction):
    """Why an instruction may not stand in a kernel; None where it may."""
    operation, *parts = instruction.split(".")
    types = [part for part in parts if re.fullmatch(r"(f|bf|tf)\d+(x2)?", part)]
    if "ftz" in parts or "approx" in parts or "full" in parts:
        return "flushes or approximates"
    if not types or operation in ("mov", "ld", "st", "cvt", "shfl"):
        return None
    if any(part != "f32" for part in types):
        return "computes in another type than f32"
    if operation in UNROUNDED:
        return "is no IEEE operation"
    if operation in ROUNDED and "rn" not in parts:
        return "may be contracted: it states no rounding"
    return None


def errors_of(text):
    """One sentence for each kind of instruction that may not be there, and each that is missing."""
    counts = {}
    for instruction in INSTRUCTION.findall(text):
        counts[instruction] = counts.get(instruction, 0) + 1
    errors = [f"{name} ({count} times) {fault_of(name)}"
              for name, count in sorted(counts.items()) if fault_of(name)]
    return errors + [f"no kernel has {instruction}, which {word} is compiled to"
                     for word, instruction in WORDS.items() if instruction not in counts]


def main(arguments):
    if not arguments:
        print("ptx: no file given", file=sys.stderr)
        return 2
    failed = False
    for name in arguments:
        for error in errors_of(pathlib.Path(name).read_text()):
            print(f"{name}: {error}")
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
