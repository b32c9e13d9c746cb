#!/usr/bin/env python3
"""`make test-torch`: makes transformers' logits again and compares them with the stored ones and with assay's.

    live.py [--only REGEX] [--started SECONDS_SINCE_1970]

Three checks a case of models.py: fresh and stored logits are equal within 1e-12; assay on `reference` and on `cpu` is
within its limit of the fresh ones. Of families.py the first check; families_test.py compares assay with the stored ones.
record_live.py records four families and lets assay judge them.
The last line is `N passed, N failed, N skipped`.
"""
import argparse
import pathlib
import re
import sys
import tempfile
import time

import compare
import families
import models
import record_live

SAME = 1e-12     # of the norm of a row: f64 sums in another order
BUDGET = 20 * 60  # seconds, with the installation


class Counts:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def note(self, verdict, text):
        setattr(self, verdict, getattr(self, verdict) + 1)
        print(f"{verdict:<8}{text}", flush=True)

    def judge(self, name, error, limit):
        good = error <= limit  # NaN is not
        self.note("passed" if good else "failed", f"{name:<26}{error:.1e} (at most {limit:.0e})")


def check(name, case, counts, logits):
    weights = models.draw(case)
    fresh = logits(case, weights)
    file = compare.stored(name)
    if file.metadata["weights_sha256"] != models.hash_of(weights):
        counts.note("failed", f"{name + ' stored':<26}the weights are drawn differently from those of the stored file")
    else:
        counts.judge(f"{name} stored", models.error(file.tensors["logits"], fresh), SAME)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"{name}.gguf"
        models.write_gguf(path, case, weights)
        for device, limit in compare.LIMITS.items():
            try:
                counts.judge(f"{name} {device}", compare.error(case, path, device, fresh), limit)
            except compare.Refused as refused:
                counts.note("skipped" if refused.unsupported else "failed", f"{name + ' ' + device:<26}{refused}")


def check_family(name, case, counts, build):
    config, shapes, _, fresh = build(case)
    stored = families.stored(name)
    if (config, shapes) != (stored.config, stored.shapes):
        counts.note("failed", f"{name + ' stored':<26}transformers saves another configuration or other weights")
    else:
        counts.judge(f"{name} stored", models.error(stored.logits, fresh), SAME)


def check_recorded(name, _, counts, __):
    record_live.check(name, counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=".", help="only the cases whose name matches this expression")
    parser.add_argument("--started", type=float, default=time.time(), help="when installing began")
    options = parser.parse_args()
    counts = Counts()
    try:
        from make_families import build  # torch takes a while to load
        from make_logits import logits
        checks = [(check, name, case, logits) for name, case in models.CASES.items()]
        checks += [(check_family, name, case, build) for name, case in families.CASES.items()]
        checks += [(check_recorded, name, families.CASES[name], None) for name in record_live.CASES]
        for run, name, case, make in checks:
            if not re.search(options.only, name):
                continue
            try:
                run(name, case, counts, make)
            except Exception as wrong:  # the other cases are still worth a run
                counts.note("failed", f"{name:<26}{type(wrong).__name__}: {wrong}")
    except ImportError as missing:
        counts.note("failed", f"torch and transformers cannot be loaded: {missing}")
    used = time.time() - options.started
    print(f"used {used:.0f} s of {BUDGET} s")
    if used > BUDGET:
        counts.note("failed", "the time limit")
    if counts.passed + counts.failed + counts.skipped == 0:
        counts.note("failed", "no case has this name")
    print(f"{counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped", flush=True)
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
