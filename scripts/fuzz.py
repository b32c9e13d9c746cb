#!/usr/bin/env python3
"""Builds the libFuzzer targets of tests/fuzz with clang and runs each for some seconds.

Prints executions, coverage and corpus a target. A find is kept in build/fuzz-finds and makes the exit code 1: make it a
named test, and move the file to tests/fuzz/finds/TARGET, where `make test` replays it for ever."""
import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FUZZ = ROOT / "tests/fuzz"
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in FUZZ.glob("fuzz_*.cpp"))


def run(target, seconds, binary_folder):
    """One row of the table: name, executions, edges covered, inputs kept, finds."""
    work, finds = ROOT / "build/fuzz-corpus" / target, ROOT / "build/fuzz-finds"
    work.mkdir(parents=True, exist_ok=True)
    finds.mkdir(parents=True, exist_ok=True)
    before = set(finds.glob(f"{target}-*"))
    command = [binary_folder / f"fuzz_{target}", f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
               "-max_len=32768" if target == "gguf" else "-max_len=4096", f"-dict={FUZZ / target}.dict",
               f"-artifact_prefix={finds}/{target}-", "-print_final_stats=1", work, FUZZ / "corpus" / target]
    folder = FUZZ / "finds" / target
    done = subprocess.run([*map(str, command), *([str(folder)] if folder.is_dir() else [])], cwd=ROOT, text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, errors="replace")
    executions = re.search(r"stat::number_of_executed_units:\s+(\d+)", done.stderr)
    coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", done.stderr)
    found = sorted(set(finds.glob(f"{target}-*")) - before)
    if done.returncode != 0:
        print(done.stderr[-6000:], file=sys.stderr)
    return (target, int(executions[1]) if executions else 0, int(coverage[-1][0]) if coverage else 0,
            int(coverage[-1][2]) if coverage else 0, found, done.returncode)


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="a target (default: 60)")
    parser.add_argument("--only", choices=TARGETS)
    options = parser.parse_args(arguments)
    subprocess.run(["cmake", "--preset", "fuzz"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", "--preset", "fuzz"], cwd=ROOT, check=True)
    bad = False
    print(f"{'target':<14}{'executions':>12}{'edges':>8}{'inputs':>8}  finds")
    for target in TARGETS:
        if options.only and target != options.only:
            continue
        name, executions, edges, inputs, found, code = run(target, options.seconds, ROOT / "build/fuzz")
        print(f"{name:<14}{executions:>12}{edges:>8}{inputs:>8}  {len(found)}", flush=True)
        for path in found:
            print(f"  {path.relative_to(ROOT)}")
        bad |= bool(found) or code != 0 or executions == 0
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
