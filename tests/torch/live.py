#!/usr/bin/env python3
"""`make test-torch`: makes transformers' logits again and compares them with the stored ones and with assay's.

    live.py [--only REGEX] [--started SECONDS_SINCE_1970]

Three checks a case of models.py: fresh and stored logits are equal within 1e-12; assay on `reference` and on `cpu` is
within its limit of the fresh ones. Of families.py the first check; families_test.py compares assay with the stored ones;
of some families what python/assay captures is judged, operation by operation; record_live.py records four of them. Then
random configurations (sweep.py).
The last line is `N passed, N failed, N skipped`.
"""
import argparse
import contextlib
import io
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import compare
import families
import models
import record_live
import sweep

sys.path.insert(0, str(models.ROOT / "python"))

SEEDS = range(2)  # of each class's random configurations; `make test-all` draws more
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

    def end(self):
        if self.passed + self.failed + self.skipped == 0:
            self.note("failed", "no case has this name")
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)


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


# Families whose capture is judged operation by operation; what no module shows, the judge computes.
CAPTURED = ("Llama", "Mistral", "Qwen2", "Qwen3", "Phi3", "Gemma2", "Gemma3Text", "Olmo2", "Olmo3", "Glm4", "SmolLM3", "Exaone4",
            "Starcoder2", "Granite", "Qwen3Moe", "GptOss", "Glm4Moe", "Qwen2Moe")


def check_capture(name, case, counts, capture):
    """assay judges what transformers' modules give: nothing is wrong, and all that is seen is judged."""
    stored = families.stored(name)
    with tempfile.TemporaryDirectory() as folder:
        source, model, trace = (pathlib.Path(folder, part) for part in ("hub", "model.gguf", "trace"))
        source.mkdir()
        families.write_folder(source, stored.config, families.draw(stored.shapes, stored.fixed, case.seed))
        subprocess.run([compare.BINARY, "convert", source, "-o", model], check=True, capture_output=True)
        tokens = ",".join(map(str, families.tokens(case)[:100]))
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            code = capture.main(["transformers", str(source), "--tokens", tokens, "-o", str(trace)])
        if code:
            return counts.note("failed", f"{name + ' captured':<26}{errors.getvalue()}")
        done = subprocess.run([compare.BINARY, "diff", trace, "-m", model, "--json", "--runs", "0"], capture_output=True, text=True)
        report = json.loads(done.stdout)
        good = (report["verdict"] == "PASS" and report["coverage"]["compared"] == len(report["operations"])
                and not report["coverage"]["unknown"])
        counts.note("passed" if good else "failed", f"{name + ' captured':<26}{report['sentence']}")


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
        from assay import capture
        checks += [(check_capture, name, families.CASES[name], capture) for name in CAPTURED]
        checks += [(check_recorded, name, families.CASES[name], None) for name in record_live.CASES]
        for run, name, case, make in checks:
            if not re.search(options.only, name):
                continue
            try:
                run(name, case, counts, make)
            except Exception as wrong:  # the other cases are still worth a run
                counts.note("failed", f"{name:<26}{type(wrong).__name__}: {wrong}")
        sweep.run(counts, build, SEEDS, options.only)
    except ImportError as missing:
        counts.note("failed", f"torch and transformers cannot be loaded: {missing}")
    used = time.time() - options.started
    print(f"used {used:.0f} s of {BUDGET} s")
    if used > BUDGET:
        counts.note("failed", "the time limit")
    counts.end()
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
