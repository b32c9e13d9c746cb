#!/usr/bin/env python3
"""Runs the parts of `make test`, prints the time each may take, and counts.

The last line is `N passed, N failed, N skipped` over all parts. A part is one line of PARTS.
Where CI=true and ../shared/data is there, a test skipped for want of data or of the model has failed.
"""
import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOTAL_BUDGET = 58 * 60
VENV = ROOT / ".venv/bin/python"  # has the packages of requirements.txt
PYTHON = str(VENV) if VENV.exists() else sys.executable
JOBS = str(os.cpu_count() or 2)


@dataclasses.dataclass
class Part:
    name: str
    kind: str           # step: counts only when it fails; check: one test; ctest, unittest: many
    command: list
    budget: int         # seconds on 2 cores, cold
    needs: str = ""     # the part without which this one cannot run


def build(preset, *options):
    configure = f"test -f build/{preset}/build.ninja || {shlex.join(['cmake', '--preset', preset, *options])}"
    return ["bash", "-c", f"({configure}) && cmake --build --preset {preset}"]


def ctest(preset, *options):
    return ["ctest", "--test-dir", f"build/{preset}", "--no-tests=error", "--output-on-failure",
            "-j", JOBS, *options]


def unittest(folder):
    """Verbose: only then are the reasons of skips printed, which count_unittest reads."""
    return [PYTHON, "-m", "unittest", "discover", "-v", "-s", folder, "-p", "*_test.py"]


# Code for one GPU, and PTX for all others: the six of the preset cost nvcc a minute more, and no GPU is needed here.
FEW_GPUS = "-DASSAY_CUDA_ARCHITECTURES=90-real;80-virtual"

# The budgets add up to less than TOTAL_BUDGET, with what `install` may take (see main).
PARTS = [
    Part("model", "step", [PYTHON, "scripts/fetch_model.py"], 40),
    Part("release build", "step", build("release", FEW_GPUS), 1000),
    Part("release tests", "ctest", ctest("release"), 450, "release build"),
    Part("asan build", "step", build("asan"), 480),
    # Without the widest sweeps of shapes: smaller tests launch the same kernels (Kernels.AllAreLaunched).
    Part("asan tests", "ctest", ctest("asan", "-L", "^(gguf|text|quant|jinja|fuzz|hostile|gpu|device/emulated)$", "-E",
                                      r"^(Experts\.HaveTheBitsOfLoops|Experts\.OfEveryFormat.*|Route\.HasTheBitsOfLoops|"
                                      r"Paging\.AnyPages.*)$"), 210, "asan build"),
    Part("format", "check", [PYTHON, "scripts/format.py", "--check"], 15),
    Part("command line", "unittest", unittest("tests/cli"), 280, "release build"),
    Part("hostile files", "unittest", unittest("tests/hostile"), 25, "release build"),
    Part("templates", "check", [PYTHON, "tests/templates.py", "tests/jinja/templates"], 25, "release build"),
    Part("python tests", "unittest", unittest("tests/scripts"), 20),
    Part("msl-check", "unittest", unittest("tests/msl"), 20),
    Part("capture", "unittest", unittest("tests/python"), 20),
    Part("models", "unittest", unittest("tests/torch"), 150, "release build"),
    Part("foreign", "unittest", unittest("tests/foreign"), 220, "release build"),
    Part("metal-cross", "unittest", unittest("tests/metal_cross"), 280),
]
INSTALL_BUDGET = 240
# `make test-all` adds these; it has no total.
SLOW_PARTS = [
    Part("tsan build", "step", build("tsan"), 600),
    Part("tsan tests", "ctest", ctest("tsan", "-L", "^(cpu|gpu|device/emulated)$"), 3600, "tsan build"),
    Part("keys of llama.cpp", "check", [PYTHON, "tests/keys/make_logits.py", "--check"], 300, "release tests"),
    Part("tokens of llama.cpp", "check", [PYTHON, "tests/text/llama_tokens.py", "compare", "../shared/data/tokenizers"], 900,
         "release build"),
    *[Part(f"faults on {device}", "step", [PYTHON, "tests/faults_table.py", "--device", device, "--seeds", "1,2,3"], 3600,
           "release build") for device in ("cpu", "emulated")],
    Part("faults at real sizes", "step", [PYTHON, "tests/faults_table.py", "--limits"], 1200, "release build"),
    Part("settings of transformers", "check",
         ["bash", "-c", "scripts/install.sh torch && .venv-torch/bin/python tests/torch/sweep.py --seeds 2:14"], 3600, "release build"),
    Part("fuzzing", "step", [PYTHON, "scripts/fuzz.py", "--seconds", "60"], 900),
    Part("mutations", "step", [PYTHON, "scripts/mutate.py"], 5400),
]


@dataclasses.dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list = dataclasses.field(default_factory=list)


def wants_missing_files(text):
    """True where a skip says that shared data or the model is not there; slow sweeps skip by choice."""
    words = r"shared[ /_]?data|ASSAY_SHARED_DATA|\bmodel\b|\.gguf\b|ASSAY_CACHE"
    return "ASSAY_SLOW" not in text and re.search(words, text, re.IGNORECASE) is not None


def count_ctest(junit, strict):
    """Counts of a ctest --output-junit file. A skipped test is one that ran GTEST_SKIP."""
    counts = Counts()
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        name, status = case.get("name"), case.get("status")
        output = case.findtext("system-out") or ""
        if case.find("failure") is not None or status == "fail":
            counts.failed += 1
            counts.notes.append(f"failed: {name}")
        elif status == "run":
            counts.passed += 1
        elif "[  SKIPPED ]" in output and strict and wants_missing_files(output):
            counts.failed += 1
            counts.notes.append(f"failed: {name} was skipped, though CI has the data")
        elif "[  SKIPPED ]" in output or status == "disabled":
            counts.skipped += 1
            counts.notes.append(f"skipped: {name}")
        else:  # not built, or could not start
            counts.failed += 1
            counts.notes.append(f"failed: {name} did not run")
    return counts


def count_unittest(text, code, strict):
    """Counts of what `python -m unittest -v` printed."""
    ran = re.search(r"^Ran (\d+) tests?", text, re.MULTILINE)
    if not ran:
        return Counts(failed=1, notes=["failed: unittest did not run"])
    numbers = {key: int(value) for key, value in re.findall(
        r"(failures|errors|skipped|unexpected successes)=(\d+)", text.rsplit("Ran ", 1)[1])}
    skipped = numbers.pop("skipped", 0)
    failed = sum(numbers.values())
    if code != 0 and failed == 0:
        failed = 1
    counts = Counts(max(0, int(ran.group(1)) - failed - skipped), failed, skipped)
    # "test_name (module.Class) ... skipped 'reason'"; the name's docstring may stand on a line between.
    for reason in re.findall(r"\.\.\. skipped (.*)$", text, re.MULTILINE):
        if strict and wants_missing_files(reason):
            counts.failed, counts.skipped = counts.failed + 1, max(0, counts.skipped - 1)
            counts.notes.append(f"failed: a test was skipped, though CI has the data: {reason}")
        else:
            counts.notes.append(f"skipped: {reason}")
    return counts


def run_unittest(part, limit, strict):
    """Runs each file of the part's folder by itself, as many at a time as there are cores."""
    *command, folder, _, pattern = part.command
    end = time.time() + limit if limit else None

    def run(file):
        left = None if end is None else max(0.1, end - time.time())
        try:
            done = subprocess.run([*command, folder, "-p", file.name], cwd=ROOT, timeout=left, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except subprocess.TimeoutExpired:
            return Counts(failed=1, notes=[f"failed: {part.name}, {file.name} was stopped after {limit:.0f} s"])
        print(done.stdout, flush=True)
        return count_unittest(done.stdout, done.returncode, strict)

    counts = Counts()
    with concurrent.futures.ThreadPoolExecutor(int(JOBS)) as pool:
        for one in pool.map(run, sorted((ROOT / folder).glob(pattern))):
            for key in ("passed", "failed", "skipped", "notes"):
                setattr(counts, key, getattr(counts, key) + getattr(one, key))
    return counts


def run_part(part, limit, strict):
    """Runs one part for at most `limit` seconds."""
    if part.kind == "unittest":
        return run_unittest(part, limit, strict)
    command = list(part.command)
    junit = ROOT / "build" / f"junit-{part.name.replace(' ', '-')}.xml"
    if part.kind == "ctest":
        junit.unlink(missing_ok=True)
        command += ["--output-junit", str(junit)]
    try:
        done = subprocess.run(command, cwd=ROOT, timeout=limit)
    except subprocess.TimeoutExpired:
        return Counts(failed=1, notes=[f"failed: {part.name} was stopped after {limit:.0f} s"])
    if part.kind == "ctest":
        if not junit.exists():
            return Counts(failed=1, notes=[f"failed: {part.name} left no results"])
        counts = count_ctest(junit, strict)
        if done.returncode != 0 and counts.failed == 0:
            counts.failed, counts.notes = 1, [f"failed: {part.name}, ctest exit {done.returncode}"]
        return counts
    if done.returncode != 0:
        return Counts(failed=1, notes=[f"failed: {part.name}, exit {done.returncode}"])
    return Counts(passed=1 if part.kind == "check" else 0)


def print_table(rows, total, limit):
    print(f"\n{'part':<16}{'used s':>8}{'budget s':>10}{'passed':>8}{'failed':>8}{'skipped':>9}")
    for name, used, budget, counts in rows:
        over = "   over its budget" if used > budget else ""
        print(f"{name:<16}{used:>8.0f}{budget:>10}{counts.passed:>8}{counts.failed:>8}"
              f"{counts.skipped:>9}{over}")
    print(f"{'total':<16}{total:>8.0f}{limit if limit else '-':>10}")


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="add the slow parts; no total budget")
    parser.add_argument("--only", help="only the parts whose name matches this expression")
    parser.add_argument("--started", type=float, help="when installing began, seconds since 1970")
    options = parser.parse_args(arguments)
    start = options.started or time.time()
    limit = None if options.all else TOTAL_BUDGET
    strict = os.environ.get("CI") == "true" and (ROOT / ".." / "shared" / "data").is_dir()
    (ROOT / "build").mkdir(exist_ok=True)

    rows, broken = [], set()
    if options.started:
        rows.append(("install", time.time() - start, INSTALL_BUDGET, Counts()))
    for part in PARTS + (SLOW_PARTS if options.all else []):
        if options.only and not re.search(options.only, part.name):
            continue
        begin = time.time()
        if part.needs in broken:
            counts = Counts(failed=1, notes=[f"failed: {part.name} needs {part.needs}"])
        else:
            print(f"\n== {part.name} (at most {part.budget} s)", flush=True)
            left = None if limit is None else max(1.0, limit - (begin - start))
            counts = run_part(part, left, strict)
        if counts.failed:
            broken.add(part.name)
        rows.append((part.name, time.time() - begin, part.budget, counts))

    total = time.time() - start
    print_table(rows, total, limit)
    for _, _, _, counts in rows:
        for note in counts.notes:
            print(note)
    passed, failed, skipped = (sum(getattr(row[3], key) for row in rows)
                               for key in ("passed", "failed", "skipped"))
    if limit is not None and total > limit:
        print(f"failed: the whole took {total:.0f} s, more than {limit} s")
        failed += 1
    if passed == 0 and failed == 0:
        print("failed: nothing was run")
        failed = 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
