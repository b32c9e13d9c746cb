#!/usr/bin/env python3
"""Checks that kernels are legal Metal Shading Language, without a Mac.

    msl_check.py [FILE…]        default: every file of src/kernel with a K_KERNEL

Each file is flattened as Metal gets it, compiled by clang (16 or newer, C++14 and C++17) with address spaces over
tests/msl/metal_stdlib, and its tokens and syntax tree are read for what clang allows and Metal does not
(scripts/msl_rules.py). Exit: 0 all legal, with the count of kernels; 1 mistakes, as file:line: message; 2 no clang.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import flatten_kernels
import msl_rules

ROOT = pathlib.Path(__file__).resolve().parent.parent
STAND_IN = "tests/msl/metal_stdlib"
OLDEST_CLANG = 16
# As strict as Metal, for its data model; what the kernels leave unused is no mistake.
FLAGS = ["--target=arm64-apple-macosx13", "-x", "c++", "-nostdinc", "-fno-exceptions", "-fno-rtti", "-fsyntax-only",
         "-Wall", "-Wextra", "-Wpedantic", "-Wvla", "-Werror", "-Wno-unused-function", "-Wno-unused-parameter",
         "-Wno-unused-const-variable", "-Wno-unknown-attributes", "-fno-caret-diagnostics", "-ferror-limit=0"]
# Metal copies a plain struct out of any address space; clang must be told, struct by struct.
STRUCT = re.compile(r"^( *struct (\w+)(?:<[^>{]*>)? \{)", re.MULTILINE)
COPIES = ("#define K_COPIES(X) X() = default; X(const X&) = default; X(const device X&) = default; "
          "X(const constant X&) = default; X(const threadgroup X&) = default; X& operator=(const X&) = default;\n")
# Metal declares the group's memory in the entry; plain clang has no such variable without a storage class.
SHARED = ("threadgroup Shared s;", "extern threadgroup Shared name##_shared; threadgroup Shared& s = name##_shared;")
# What clang's words mean for who writes a kernel.
MEANINGS = (
    (r"^(cannot initialize a |assigning to |cannot bind |reinterpret_cast ).*\b(address.space|K_(DEV|CONST|GROUP)\b)",
     "an implicit or forbidden cast between address spaces"),
    (r"automatic variable qualified with an address space",
     "a threadgroup variable outside a kernel's entry; make it a field of Shared"),
    (r"(cannot initialize object parameter|'this' argument to member function|no matching member function|"
     r"no viable overloaded '=')", "a method on an object that is not the thread's own"),
    (r"^constructor cannot be redeclared", msl_rules.CONSTRUCTORS),
)


def find_clang():
    """The program, or None: ASSAY_CLANG, clang++-N, clang++ or Homebrew's."""
    names = [os.environ.get("ASSAY_CLANG", ""), *(f"clang++-{n}" for n in range(24, OLDEST_CLANG - 1, -1)), "clang++",
             "/opt/homebrew/opt/llvm/bin/clang++", "/usr/local/opt/llvm/bin/clang++"]
    for program in filter(None, map(shutil.which, filter(None, names))):
        version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
        found = re.search(r"clang version (\d+)", version)
        # Apple's own numbers are those of Xcode.
        if found and int(found.group(1)) >= OLDEST_CLANG and "Apple" not in version:
            return program
    return None


def text_for_clang(flattened):
    """The flattened kernel with the stand-in in place of Metal's library, as one text: a place is an offset."""
    stand_in = f'#line 1 "{STAND_IN}"\n' + (ROOT / STAND_IN).read_text() + COPIES
    text = flattened.replace("#include <metal_stdlib>\n", stand_in, 1).replace(*SHARED)
    head, body = text[:len(stand_in)], text[len(stand_in):]
    return head + STRUCT.sub(r"\1 K_COPIES(\2)", body)


def clang_errors(stderr):
    errors = set()
    for file, line, message in re.findall(r"^(.+?):(\d+):\d+: (?:fatal )?error: (.*)$", stderr, re.MULTILINE):
        for pattern, meaning in MEANINGS:
            if re.search(pattern, message):
                message = f"{meaning} (clang: {message})"
        errors.add((file, int(line), message))
    return errors


def check_file(clang, path):
    """(errors, {kernel: its place}) of one kernel file."""
    sys.setrecursionlimit(20000)      # clang's tree is as deep as its expressions
    try:
        flattened = flatten_kernels.flatten(path)
    except (flatten_kernels.CannotFlatten, OSError, UnicodeDecodeError) as error:
        return {str(error)}, {}
    text = text_for_clang(flattened)
    lines = msl_rules.Lines.of(text.encode())
    errors = msl_rules.token_errors(text, lines, {STAND_IN, flatten_kernels.WORDS, ""})
    with tempfile.TemporaryDirectory() as folder:
        source, tree = pathlib.Path(folder) / "kernel.cpp", pathlib.Path(folder) / "tree.json"
        source.write_text(text)
        for standard in ("c++17", "c++14"):       # Metal 4.0, and all before it
            command = [clang, *FLAGS, f"-std={standard}", str(source)]
            if standard == "c++14":
                command += ["-Xclang", "-ast-dump=json"]
            with open(tree, "wb") as output:
                done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, errors="replace")
            found = clang_errors(done.stderr)
            if done.returncode != 0 and not found:
                return {f"{path}: clang failed: {done.stderr.strip()[:300]}"}, {}
            errors |= found
        whole = json.loads(tree.read_bytes())
    found, kernels = msl_rules.tree_errors(whole, lines, {STAND_IN, ""})
    # One line is told once by clang or the tree: where clang refuses, its tree is not sound.
    refused = {(file, line) for file, line, _ in errors}
    errors |= {error for error in found if error[:2] not in refused}
    return {f"{file}:{line}: {message}" for file, line, message in errors}, kernels


def kernel_files():
    return [path for path in sorted((ROOT / "src/kernel").glob("*.h"))
            if "K_KERNEL(" in path.read_text()]


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    options = parser.parse_args(arguments)
    clang = find_clang()
    if clang is None:
        print(f"msl-check: no clang {OLDEST_CLANG} or newer; run scripts/install.sh test, or set ASSAY_CLANG",
              file=sys.stderr)
        return 2
    files = options.files or kernel_files()
    errors, kernels = set(), {}
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        for found, names in pool.map(check_file, [clang] * len(files), files):
            errors |= found
            for name, (file, line) in names.items():
                first = kernels.setdefault(name, (file, line))
                if first != (file, line):
                    errors.add(f"{file}:{line}: '{name}' is a kernel of {first[0]}:{first[1]}, too")
    for error in sorted(errors):
        print(error)
    if errors:
        print(f"msl-check: {len(errors)} mistakes")
        return 1
    print(f"msl-check: {len(kernels)} kernels of {len(files)} files are legal Metal")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
