#!/usr/bin/env python3
"""Writes src/quant/codebooks_data.cpp: the codebooks of the IQ1, IQ2 and IQ3 formats, from PyPI's package `gguf`.

    make_codebooks.py [-o FILE]

Numbers only: an entry is 8 values of 2 bits or 4 of 3, each an index into the format's magnitudes, the first lowest.
Exit code 77: the package `gguf` is not there.
"""
import argparse
import pathlib
import sys

try:
    import gguf.quants as quants
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}", file=sys.stderr)
    sys.exit(77)

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "src/quant/codebooks_data.cpp"
BOOKS = {"iq2_xxs": "IQ2_XXS", "iq2_xs": "IQ2_XS", "iq2_s": "IQ2_S", "iq3_xxs": "IQ3_XXS", "iq3_s": "IQ3_S",
         "iq1": "IQ1_S"}
HEAD = """// Made by scripts/make_codebooks.py from the numbers of PyPI's package gguf.
// clang-format off
#include "quant/codebooks.h"

namespace assay::quant {
"""


def words(kind):
    """The entries as whole numbers."""
    kind.init_grid()
    indices = np.searchsorted(np.array(kind.grid_map), kind.grid.reshape(kind.grid_shape))
    bits = 16 // kind.grid_shape[1] if kind.grid_shape[1] == 8 else 3
    return [sum(int(index) << bits * lane for lane, index in enumerate(entry)) for entry in indices]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=OUTPUT)
    text = HEAD
    for name, kind in BOOKS.items():
        entries = words(getattr(quants, kind))
        text += f"\nconst uint16_t {name}_codebook[{len(entries)}] = {{\n"
        for first in range(0, len(entries), 14):
            text += "  " + "".join(f"0x{entry:04x}," for entry in entries[first:first + 14]) + "\n"
        text += "};\n"
    parser.parse_args().output.write_text(text + "\n}  // namespace assay::quant\n", encoding="utf-8")


main()
