#!/usr/bin/env python3
"""Random configurations of each class through `assay convert`, against transformers in float64.

    sweep.py [--only REGEX] [--seeds FIRST:LAST]      # runs in .venv-torch

Each folder must give the logits of transformers, or be refused in a sentence that names what a table below says.
"""
import argparse
import pathlib
import re
import sys
import tempfile

import draws
import families
import families_test
import models


def logits(folder, case, device):
    tokens = ",".join(map(str, families.tokens(case)))
    more = ["--contract", "exact"] if device == "reference" else []
    done = families_test.run("logits", folder / "model.gguf", "--tokens", tokens, "--device", device, "--kv", "f32", "-c", case.tokens,
                             *more, "-o", folder / "logits.safetensors")
    if done.returncode:
        raise RuntimeError(families_test.last_line(done))
    return models.read_safetensors(folder / "logits.safetensors").tensors["logits"][families.positions(case)]


def outcome(case, build):
    """("passed" or "failed", a sentence)"""
    text, shapes, fixed, truth = build(case)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        families.write_folder(folder, text, families.draw(shapes, fixed, case.seed))
        done = families_test.run("convert", folder, "-o", folder / "model.gguf")
        line = families_test.last_line(done).replace(str(folder), "DIR")
        if done.returncode == 2:
            return "refused", line
        if done.returncode:
            return "failed", line
        error = models.error(logits(folder, case, "reference"), truth)
        return ("passed" if error <= 1e-5 else "failed"), f"{error:.1e}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=".")
    parser.add_argument("--seeds", default="0:3")
    options = parser.parse_args()
    from make_families import build
    first, last = map(int, options.seeds.split(":"))
    for family in draws.FAMILIES:
        for seed in range(first, last):
            case = draws.draw(family, seed)
            if not re.search(options.only, case.name):
                continue
            try:
                verdict, text = outcome(case, build)
            except Exception as error:
                verdict, text = "broken", f"{type(error).__name__}: {error}"
            print(f"{verdict:<8}{case.name:<22}{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
