#!/usr/bin/env python3
"""The text of every kernel file of src/kernel/list.h as one C++ source: what a build with Metal carries.

    embed_kernels.py OUTPUT.cpp

A file's text is that of flatten_kernels.py, with contraction off: Metal's safe mathematics still fuse a·b + c.
"""
import pathlib
import re
import sys

import flatten_kernels

ROOT = flatten_kernels.ROOT
FIRST_LINE = "#include <metal_stdlib>\n"
# Apple's name for the pragma, and clang's, which older compilers know.
NO_CONTRACTION = "#pragma METAL fp contract(off)\n#pragma clang fp contract(off)\n"
KERNEL = re.compile(r"^K_KERNEL\((\w+),", re.MULTILINE)
INCLUDE = re.compile(r'^#include "(kernel/\w+\.h)"', re.MULTILINE)
LONGEST_LITERAL = 16000  # characters; compilers promise 65,536 bytes


class CannotEmbed(Exception):
    pass


def kernel_files(root=ROOT):
    """{"kernel/norm.h": the names of the kernels that it defines itself} of list.h, in its order."""
    listed = INCLUDE.findall((root / "src/kernel/list.h").read_text(encoding="utf-8"))
    files = {name: KERNEL.findall((root / "src" / name).read_text(encoding="utf-8")) for name in listed}
    names = [kernel for kernels in files.values() for kernel in kernels]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CannotEmbed(f"the kernel {twice[0]} is defined twice")
    if not names:
        raise CannotEmbed("src/kernel/list.h lists no kernel")
    return {name: kernels for name, kernels in files.items() if kernels}


def metal_text(name, root=ROOT):
    text = flatten_kernels.flatten(root / "src" / name, root)
    if not text.startswith(FIRST_LINE):
        raise CannotEmbed(f"the text of {name} does not begin with {FIRST_LINE.strip()}")
    return FIRST_LINE + NO_CONTRACTION + text[len(FIRST_LINE):]


def literal(text):
    """Raw string literals, cut at ends of lines."""
    pieces, piece = [], ""
    for line in text.splitlines(keepends=True):
        if len(piece) + len(line) > LONGEST_LITERAL:
            pieces.append(piece)
            piece = ""
        piece += line
    return "\n".join(f'R"metal({piece})metal"' for piece in [*pieces, piece])


def source(root=ROOT):
    out = ["// Made by scripts/embed_kernels.py.", '#include "device/metal/sources.h"', "",
           "namespace assay::metal {", "namespace {", ""]
    entries = []
    for index, (name, kernels) in enumerate(kernel_files(root).items()):
        quoted = ", ".join(f'"{kernel}"' for kernel in kernels)
        out += [f"constexpr std::string_view names_{index}[] = {{{quoted}}};",
                f"constexpr std::string_view text_{index} =", f"{literal(metal_text(name, root))};", ""]
        entries.append(f'    {{"{name}", text_{index}, names_{index}}},')
    out += ["constexpr KernelFile files[] = {", *entries, "};", "", "}  // namespace", "",
            "std::span<const KernelFile> kernel_files() {", "  return files;", "}", "",
            "}  // namespace assay::metal", ""]
    return "\n".join(out)


def main(arguments):
    if len(arguments) != 1:
        print("usage: embed_kernels.py OUTPUT.cpp", file=sys.stderr)
        return 2
    try:
        output = pathlib.Path(arguments[0])
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(source(), encoding="utf-8")
    except (CannotEmbed, flatten_kernels.CannotFlatten, OSError, UnicodeDecodeError) as error:
        print(f"embed: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
