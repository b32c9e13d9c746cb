#!/usr/bin/env python3
"""Mutation testing: breaks one line of src/ at a time; the named tests must notice.

tests/mutations/list.txt holds blocks of `key: value` lines, divided by empty lines; # starts a comment line.
    file: src/quant/q4_1.h              what is changed
    old: block[4 + i] & 15u             text that stands in the file exactly once (any white space is like any other)
    new: block[4 + i] & 7u              what takes its place
    tests: quant Q4_1.*:Formats.Golden  program test_quant, and a GoogleTest filter; at least one must fail
    survivor: why no test can see it    optional: this one is expected to survive
Works on a copy of the tree in build/mutate, with one build directory, so a mutant rebuilds what it touches.
"""
import argparse
import collections
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "tests" / "mutations" / "list.txt"
WORK = ROOT / "build" / "mutate"
COPIED = ("CMakeLists.txt", "HACKING.md", "cmake", "src", "cli", "tools", "bench", "tests", "scripts", "docs")
KEYS = ("file", "old", "new", "tests", "survivor")
LEAST, LEAST_PER_FOLDER = 40, 2
TEST_SECONDS = 180  # a mutant that loops is stopped, and counts as killed


@dataclasses.dataclass
class Mutation:
    line: int
    file: str
    old: str
    new: str
    program: str
    filter: str
    survivor: str = ""


def parse(text):
    """The mutations of a list file; ValueError names the line of a malformed block."""
    mutations, block, first = [], {}, 0
    for number, line in enumerate(text.splitlines() + [""], 1):
        if line.startswith("#"):
            continue
        if line.strip():
            key, colon, value = line.partition(":")
            if not colon or key not in KEYS or key in block:
                raise ValueError(f"line {number}: '{line}' is no `key: value` of {', '.join(KEYS)}")
            first = first or number
            block[key] = value[1:] if value.startswith(" ") else value
        elif block:
            missing = [key for key in KEYS[:4] if key not in block]
            folder, _, test_filter = block.get("tests", "").strip().partition(" ")
            if missing or not test_filter or block["old"] == block["new"]:
                raise ValueError(f"line {first}: a block needs file, old, new (another) and tests "
                                 "(`folder filter`)")
            mutations.append(Mutation(first, block["file"], block["old"], block["new"],
                                      f"test_{folder}", test_filter.strip(), block.get("survivor", "")))
            block, first = {}, 0
    return mutations


def mutated(text, mutation):
    """The file's text with the mutation applied; ValueError unless `old` stands in it exactly once.

    Runs of white space match each other, so that a line which clang-format wraps is still found.
    """
    pattern = re.compile(r"\s+".join(re.escape(word) for word in re.split(r"\s+", mutation.old)))
    found = list(pattern.finditer(text))
    if len(found) != 1:
        raise ValueError(f"list.txt:{mutation.line}: `{mutation.old}` stands {len(found)} times in {mutation.file}")
    return text[:found[0].start()] + mutation.new + text[found[0].end():]


def coverage_errors(mutations, source):
    """Where the list is too short: in all, or for a folder of src/."""
    folders = collections.Counter(mutation.file.split("/")[1] for mutation in mutations)
    errors = []
    if len(mutations) < LEAST:
        errors.append(f"{len(mutations)} mutations, at least {LEAST} are wanted")
    for folder in sorted(path.name for path in source.iterdir() if path.is_dir() and any(path.iterdir())):
        if folders[folder] < LEAST_PER_FOLDER:
            errors.append(f"src/{folder} has {folders[folder]} mutations, at least {LEAST_PER_FOLDER} are wanted")
    return errors


def synchronise(source, target):
    """Makes `target` equal to `source`, leaving equal files alone so that nothing rebuilds for them."""
    wanted = {path.relative_to(source) for path in source.rglob("*")
              if path.is_file() and "__pycache__" not in path.parts}
    for path in list(target.rglob("*")) if target.exists() else []:
        if path.is_file() and path.relative_to(target) not in wanted:
            path.unlink()
    for path in wanted:
        write_if_other(target / path, (source / path).read_bytes())


def write_if_other(path, content):
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def copy_tree(tree):
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            synchronise(source, tree / name)
        elif source.exists():
            write_if_other(tree / name, source.read_bytes())
    # Tests look for the shared data beside the tree, which the copy does not have.
    os.environ.setdefault("ASSAY_SHARED_DATA", str(ROOT.parent / "shared" / "data"))


def configure(tree, build):
    command = ["cmake", "-S", str(tree), "-B", str(build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=None",
               "-DCMAKE_CXX_FLAGS=-O1"]
    if shutil.which("ccache"):
        command.append("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"cmake failed:\n{done.stdout}")


def compile_program(build, program):
    """'' when it built, else the end of the compiler's output."""
    done = subprocess.run(["ninja", "-C", str(build), program], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    return "" if done.returncode == 0 else done.stdout[-3000:]


def run_tests(build, program, test_filter):
    """(names that passed, names that failed); a program that dies or hangs has failed as a whole."""
    results = build / "mutate-results.json"
    results.unlink(missing_ok=True)
    command = [str(build / program), f"--gtest_filter={test_filter}", f"--gtest_output=json:{results}"]
    try:
        done = subprocess.run(command, cwd=build, timeout=TEST_SECONDS, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired:
        return [], ["(stopped: too slow)"]
    if not results.exists():
        return [], [f"(ended with {done.returncode})"]
    passed, failed = [], []
    for suite in json.loads(results.read_text())["testsuites"]:
        for case in suite["testsuite"]:
            name = f"{suite['name']}.{case['name']}"
            if case.get("failures"):
                failed.append(name)
            elif case.get("result") == "COMPLETED":
                passed.append(name)
    if done.returncode != 0 and not failed:
        failed.append(f"(ended with {done.returncode})")
    return passed, failed


def check_clean(build, mutations):
    """Every named test must run and pass on the unchanged tree, or a kill means nothing."""
    errors = []
    programs = sorted({mutation.program for mutation in mutations})
    for program in programs:
        output = compile_program(build, program)
        if output:
            errors.append(f"{program} does not build unchanged:\n{output}")
    if errors:
        return errors
    seen = {}
    for mutation in mutations:
        key = (mutation.program, mutation.filter)
        if key not in seen:
            seen[key] = run_tests(build, *key)
        passed, failed = seen[key]
        if failed or not passed:
            why = f"fails unchanged: {failed[0]}" if failed else "runs no test (none named so, or all skipped)"
            errors.append(f"list.txt:{mutation.line}: {mutation.program} {mutation.filter} {why}")
    return errors


def try_mutation(tree, build, mutation):
    """(verdict, detail): killed, survived or did not build."""
    path = tree / mutation.file
    original = path.read_text()
    path.write_text(mutated(original, mutation))
    try:
        output = compile_program(build, mutation.program)
        if output:
            line = next((line for line in output.splitlines() if "error:" in line), "")
            return "did not build", line.strip()
        _, failed = run_tests(build, mutation.program, mutation.filter)
        if not failed:
            return "survived", mutation.survivor
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        return "killed", failed[0] + more
    finally:
        path.write_text(original)


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="mutations whose file matches this expression")
    parser.add_argument("--check", action="store_true", help="only check that the list fits the sources")
    options = parser.parse_args(arguments)
    try:
        everything = parse(LIST.read_text())
        for mutation in everything:
            mutated((ROOT / mutation.file).read_text(), mutation)
    except (OSError, ValueError) as error:
        print(f"mutate: {error}", file=sys.stderr)
        return 2
    mutations = [m for m in everything if not options.only or re.search(options.only, m.file)]
    short = [] if options.only else coverage_errors(everything, ROOT / "src")
    if not options.check:
        bad = run_all(mutations)
    else:
        bad = 0
    for error in short:
        print(f"mutate: {error}")
    return 1 if bad or short or not mutations else 0


def run_all(mutations):
    """Prints the table; returns how many mutations end badly."""
    tree, build = WORK / "tree", WORK / "build"
    copy_tree(tree)
    configure(tree, build)
    errors = check_clean(build, mutations)
    for error in errors:
        print(f"mutate: {error}")
    if errors:
        return len(errors)
    verdicts, bad = collections.Counter(), 0
    for mutation in mutations:
        begin = time.time()
        verdict, detail = try_mutation(tree, build, mutation)
        fine = (verdict == "survived") == bool(mutation.survivor) and verdict != "did not build"
        bad += not fine
        verdicts[verdict] += 1
        print(f"{'  ' if fine else '! '}{verdict:<14}{time.time() - begin:>5.0f} s  {mutation.file}  "
              f"`{mutation.old}` → `{mutation.new}`\n{'':<24}{detail}", flush=True)
    print(", ".join(f"{verdicts[key]} {key}" for key in ("killed", "survived", "did not build")))
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
