#!/usr/bin/env python3
"""Random configurations of each class through `assay convert`, against transformers in float64.

    sweep.py [--only REGEX] [--seeds FIRST:LAST]      # runs in .venv-torch

A folder gives the logits of transformers, or is refused in a sentence about a setting of REFUSALS that it has.
The last line is `N passed, N failed, N skipped`.
"""
import argparse
import pathlib
import re
import sys
import tempfile

import compare
import draws
import families
import families_test
import models


def rope_of(config):
    return config["rope_parameters"].get("full_attention", config["rope_parameters"])


def activation(config):
    return config.get("hidden_act") or config.get("hidden_activation")


# What may be refused: a part of the sentence, and which configurations it is right for.
REFUSALS = [
    ("the rope_type 'dynamic' is not supported", lambda family, c: rope_of(c)["rope_type"] == "dynamic"),
    ("'hidden_act", lambda family, c: activation(c) not in (None, "silu")),
    ("'attention_factor' is for layers without a window",
     lambda family, c: family in draws.GELU and rope_of(c)["rope_type"] in ("yarn", "longrope")),
    ("an odd number", lambda family, c: rope_of(c).get("partial_rotary_factor") == 0.3),
    ("'attention_bias' is false", lambda family, c: family == "GptOss" and not c["attention_bias"]),
    ("'clip_qkv' is 1.5", lambda family, c: c.get("clip_qkv")),
    ("'use_bias' is true", lambda family, c: family.startswith("Ernie") and c.get("use_bias")),
    ("'moe_layer_end_index' is not the last block",
     lambda family, c: c.get("moe_layer_end_index", -1) not in (-1, c["num_hidden_layers"] - 1)),
]


def may_be_refused(case, sentence):
    return any(part in sentence and right(case.family, case.config) for part, right in REFUSALS)


def error_of(folder, case, truth):
    """The reference's: other devices are compared with it elsewhere."""
    tokens = ",".join(map(str, families.tokens(case)))
    done = families_test.run("logits", folder / "model.gguf", "--tokens", tokens, "--device", "reference", "--contract", "exact",
                             "--kv", "f32", "-c", case.tokens, "-o", folder / "logits.safetensors")
    if done.returncode:
        raise RuntimeError(families_test.last_line(done))
    return models.error(models.read_safetensors(folder / "logits.safetensors").tensors["logits"][families.positions(case)], truth)


def check(case, counts, build):
    config, shapes, fixed, truth = build(case)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        families.write_folder(folder, config, families.draw(shapes, fixed, case.seed))
        done = families_test.run("convert", folder, "-o", folder / "model.gguf")
        line = families_test.last_line(done)
        if done.returncode:
            right = done.returncode == 2 and may_be_refused(case, line)
            counts.note("passed" if right else "failed", f"{case.name:<26}{line.replace(str(folder), 'DIR')}")
            return
        counts.judge(case.name, error_of(folder, case, truth), compare.LIMITS["reference"])


def run(counts, build, seeds, only="."):
    for name in draws.FAMILIES:
        for seed in seeds:
            case = draws.draw(name, seed)
            if not re.search(only, case.name):
                continue
            try:
                check(case, counts, build)
            except Exception as wrong:  # the other cases are still worth a run
                counts.note("failed", f"{case.name:<26}{type(wrong).__name__}: {wrong}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=".", help="only the cases whose name matches this expression")
    parser.add_argument("--seeds", default="0:4", help="FIRST:LAST, without the last")
    options = parser.parse_args()
    from live import Counts
    from make_families import build  # torch takes a while to load
    counts = Counts()
    run(counts, build, range(*map(int, options.seeds.split(":"))), options.only)
    counts.end()
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
