"""Every fault of src/fault in every sort of operation that can have it, on one device: is it named?

    python3 tests/faults_table.py [--device cpu|emulated|cuda] [--seeds 1,2] [--assay build/release/assay]

For each small model (tiny_models.py, and tests/data/kjv), each fault and each sort of operation of the model that can have it, a run
with the fault is recorded on the device and compared with the cpu's run of the same tokens by `assay diff`. A line of the table is
a fault in a kind of operation: found, operation, side and cause, each as how many of how many. Then the faults that only a device's
queue can have. Exit code 1 where one is not named, or a fault is seeded nowhere. Needs Python and numpy, and an assay built with
ASSAY_FAULTS.

On the cpu an operation with the fault, and all others, are the plain loops of src/fault; on a device all others are the device's.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy

import tiny_models

ROOT = pathlib.Path(__file__).resolve().parents[1]
KJV = ROOT / "tests/data/kjv/kjv.gguf"
# Where the model "loud" has large values: what needs them is seeded there, and nothing else.
LOUD = {"f16-overflow": ("blk.2.gate", "blk.2.up", "blk.2.act"), "value-sums-f16": ("blk.1.kqv",),
        "f16-scale-overflow": ("blk.1.down",)}

COMMON = ("matmul", "embed", "add", "rms_norm")
# At the sizes where real engines had them: model, fault, tokens of the step, operation, cause.
LIMITS = [("words", "row-wraps:rows=65536,at=logits", 13, "logits", "row-wraps"),
          ("parts", "split-columns:parts=8,at=blk.0.down", 13, "blk.0.down", "k-tail"),
          ("tokens", "grid-limit:limit=65534,at=blk.0.ffn_norm", 65535, "blk.0.ffn_norm", "unwritten")]


class Table:
    def __init__(self, options, folder):
        self.options, self.folder = options, pathlib.Path(folder)

    def assay(self, *arguments):
        return subprocess.run([self.options.assay, *map(str, arguments)], capture_output=True, text=True, timeout=600,
                              stdin=subprocess.DEVNULL)

    def record(self, name, path, steps, *more):
        """A trace of steps of these tokens each, but for the last one's."""
        batch, tokens = steps
        words = min(self.words[name], 2048) - 1
        ids = ",".join(str(1 + 131 * i % words) for i in range(tokens))
        done = self.assay("trace", "record", self.models[name], "--tokens", ids, "-b", batch, "-c", max(256, tokens), "-o", path,
                          *more)
        if done.returncode:
            raise RuntimeError(f"{name} {more}: {done.stderr.strip().splitlines()[-1]}")

    def right(self, name, steps):
        path = self.folder / f"{name}-{steps[0]}-{steps[1]}"
        if not path.exists():
            self.record(name, path, steps, "--device", "cpu", "-t", 1)
        return path

    def diff(self, wrong, right, name):
        done = self.assay("diff", wrong, right, "-m", self.models[name], "--runs", 0, "--json")
        if not done.stdout:
            raise RuntimeError(f"{name}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def prepare(self):
        self.models, self.words, self.seeded = {"kjv": KJV}, {"kjv": 2048}, []
        for name, model in tiny_models.MODELS.items():
            # 65,535 ids fit one argument if each has one digit
            self.models[name], self.words[name] = self.folder / f"{name}.gguf", 10
            model.write(self.models[name])
        done = set()
        for name in self.models:
            if self.options.models and name not in self.options.models:
                continue
            for seed in self.options.seeds:
                found = self.assay("inspect", self.models[name], "--faults", seed)
                if found.returncode:
                    raise RuntimeError(f"{name}: {found.stderr.strip()}")
                for fault in json.loads(found.stdout):
                    loud = fault["operation"] in LOUD.get(fault["name"], ())
                    if (name == "loud") != loud or (fault["large_values"] and not loud):
                        continue
                    place = self.place_of(name, seed, fault)
                    if place not in done and (not self.options.faults or fault["name"] in self.options.faults):
                        done |= {place, (seed, fault["name"], re.sub(r"^blk\.\d+\.", "", fault["operation"]))}
                        self.seeded.append((name, fault))
        # One after another, so that no two make the same file.
        for name, steps in sorted({(name, self.steps_of(fault)) for name, fault in self.seeded}):
            self.right(name, steps)

    def place_of(self, name, seed, fault):
        """What one line of a model's list stands for: kjv's and those of COMMON kinds, once in all models by their name."""
        if name == "kjv" or self.options.all or fault["kind"] not in COMMON:
            return name, fault["fault"]
        return seed, fault["name"], re.sub(r"^blk\.\d+\.", "", fault["operation"])

    @staticmethod
    def steps_of(fault):
        """A prompt and a step of one token, or steps of one token alone."""
        if fault["decode_steps"] > 1:
            return 1, 6
        prompt = max(13, fault["tokens"])
        return prompt, prompt + 1

    def run(self, place):
        """(operation, side, cause) as the diff has them, None where it finds nothing."""
        number, (name, fault) = place
        if number % 100 == 0:
            print(f"{number} of {len(self.seeded)}", file=sys.stderr, flush=True)
        steps, wrong = self.steps_of(fault), self.folder / f"wrong-{number}"
        # A queue's own fault goes before one of the same name; with a place it is the operation's.
        self.record(name, wrong, steps, "--device", self.options.device, "--fault", fault["fault"], "-t", 1)
        report = self.diff(wrong, self.right(name, steps), name)
        wrong.unlink()
        return self.first(report)

    @staticmethod
    def first(report):
        return report["first"] and (report["first"]["operation"], report["first"]["side"], report["cause"]["id"])

    def executor(self):
        lines, missed = collections.defaultdict(lambda: [0] * 5), []
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            found = list(pool.map(self.run, enumerate(self.seeded)))
        for (name, fault), first in zip(self.seeded, found):
            line = lines[fault["row"], fault["name"], fault["kind"]]
            operation, side, cause = first or (None, None, None)
            if fault["benign"]:  # right is to find nothing
                marks = [first is None] * 4
            else:
                marks = [first is not None, operation == fault["operation"], side == "a", cause == fault["cause"]]
            for i, mark in enumerate([True, *marks]):
                line[i] += mark
            if not all(marks):
                missed.append(f"{name} {fault['fault']}: wanted {fault['operation']}, {fault['cause']}; got {first}")
        print(f"{'row':>3}  {'fault':<26}{'kind':<16}{'seeded':>7}{'found':>7}{'operation':>11}{'side':>6}{'cause':>7}")
        for (row, name, kind), (seeded, *marks) in sorted(lines.items()):
            print(f"{row or '–':>3}  {name:<26}{kind:<16}{seeded:>7}{marks[0]:>7}{marks[1]:>11}{marks[2]:>6}{marks[3]:>7}")
        return missed, {name for _, name, _ in lines}

    def lost_keys(self):
        """What four queries get that see 32,772 keys, of which a column index of 16 bits loses the last: `assay check`'s cause."""
        keys, width, held = 32772, 16, 32768
        random = numpy.random.Generator(numpy.random.PCG64(1))
        q, k, v = ((random.random((rows, width)) * 2 - 1).astype("f2").astype("f4") for rows in (4, keys, keys))
        k[held:], v[held:] = (8 * q.mean(0)).astype("f2"), 10  # what is lost counts
        y = []
        for token, query in enumerate(q.astype("f8")):
            scores = k[:min(held, keys - 3 + token)].astype("f8") @ query / width ** 0.5
            p = numpy.exp(scores - scores.max())
            y.append(p @ v[:len(p)] / p.sum())
        arrays = {"q": q, "k": k, "v": v, "y": numpy.array(y).astype("f4")}
        for name, array in arrays.items():
            numpy.save(self.folder / f"{name}.npy", array)
        inputs = [part for name in "qkv" for part in ("--input", self.folder / f"{name}.npy")]
        done = self.assay("check", "--op", "attention", "--heads", 1, "--dim", width, "--contract", "assay/1", *inputs,
                          "--output", self.folder / "y.npy", "--json")
        return json.loads(done.stdout)["cause"]["id"]

    def limits(self):
        missed = []
        if not self.options.faults or "keys-lost" in self.options.faults:
            cause = self.lost_keys()
            print(f"limit: {'keys-lost from key 32768 on, by check':<42} {cause}", flush=True)
            missed += [] if cause == "keys-lost" else [f"keys-lost: {cause}"]
        for name, fault, tokens, operation, cause in LIMITS:
            if self.options.faults and fault.split(":")[0] not in self.options.faults:
                continue
            # 65,535 ids fit one argument if each has one digit
            self.models[name], self.words[name] = self.folder / f"{name}.gguf", 10
            tiny_models.LARGE[name].write(self.models[name])
            wrong, right = self.folder / "wrong", self.folder / "right"
            self.record(name, wrong, (tokens, tokens), "--device", self.options.device, "--fault", fault)
            self.record(name, right, (tokens, tokens), "--device", "cpu")
            first = self.first(self.diff(wrong, right, name))
            good = first == (operation, "a", cause)
            print(f"limit: {fault:<42} {first} {'' if good else 'MISSED'}", flush=True)
            if not good:
                missed.append(f"{name} {fault}: {first}")
        return missed

    def queue(self):
        """Faults that only a device's queue can have; each is the first launch of its kernel, or its step."""
        missed, name = [], "kjv"
        for fault, operation, batch, tokens in (("matmul-path", "blk.0.q", 9, 12), ("fast-math", "blk.0.act", 9, 12),
                                                ("stale-input", "embd", 4, 12), ("race", "blk.0.attn_norm", 256, 201)):
            wrong, right = self.folder / "wrong", self.folder / "right"
            of_device = ("--device", self.options.device, "--fault", fault)
            first = None
            for seed in range(2, 6):  # a race shows when it does
                seeds = (("--fault-seed", seed),) * 2 if self.options.device == "emulated" else ((), ())
                self.record(name, wrong, (batch, tokens), *of_device, *seeds[0])
                self.record(name, right, (batch, tokens), *(
                    (*of_device, *(("--fault-seed", 1) if seeds[0] else ())) if fault == "race" else ("--device", "cpu")))
                first = self.first(self.diff(wrong, right, name))
                if first or fault != "race":
                    break
            good = first is not None and first[2] == fault and (fault == "race" or first[:2] == (operation, "a"))
            print(f"queue: {fault:<14} {first} {'' if good else 'MISSED'}")
            if not good:
                missed.append(f"queue {fault}: {first}")
        return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", default="1", type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--assay", default=str(ROOT / "build/release/assay"))
    parser.add_argument("--models", default="", type=lambda text: text.split(",") if text else [])
    parser.add_argument("--faults", default="", type=lambda text: text.split(",") if text else [])
    parser.add_argument("--limits", action="store_true", help="only the faults at the sizes where real engines had them")
    parser.add_argument("--all", action="store_true", help="what all architectures have alike in each model, too")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = Table(options, folder)
        if options.limits:
            table.models, table.words = {}, {}
            return 1 if table.limits() else 0
        table.prepare()
        missed, seeded = table.executor()
        if options.device != "cpu" and not options.faults:
            missed += table.queue()
        known = table.assay("trace", "record", KJV, "--tokens", "1", "-o", table.folder / "none", "--fault", "?").stderr
        names = set(known.strip().split("known: ")[1].split(", "))
        if not options.models and not options.faults:
            missed += [f"{name} is seeded nowhere" for name in sorted(names - seeded)]
    print(f"{len(table.seeded)} seeded on {options.device}, {len(missed)} missed")
    print("\n".join(missed), file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
