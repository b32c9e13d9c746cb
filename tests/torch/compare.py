"""Runs assay on a case of models.py and compares its logits with those that transformers gave."""
import os
import pathlib
import subprocess
import tempfile

import models

BINARY = os.environ.get("ASSAY_BINARY", str(models.ROOT / "build/release/assay"))
# Of the relative error of a row of logits. The reference sums in f64 and stores keys, values and logits in f32: it is
# within 1e-7. The cpu sums in f32.
LIMITS = {"reference": 1e-5, "cpu": 1e-4}


class Refused(Exception):
    """assay does not run the file; `unsupported` where it names the attention window, which it does not support yet."""

    def __init__(self, sentence, unsupported):
        super().__init__(sentence)
        self.unsupported = unsupported


def stored(name):
    """Trace of a stored file: metadata, and tensors `logits` and `positions`."""
    return models.read_safetensors(models.STORED / f"{name}.safetensors")


def run(case, path, device, limit=None, count=None):
    """assay's logits of the stored positions, of those below `count` where it is given. Raises Refused."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "logits.safetensors"
        command = [BINARY, "logits", str(path), "--tokens", ",".join(map(str, models.tokens(case)[:count])), "--device", device,
                   "--kv", "f32", "-c", str(limit or case.context), "-o", str(out)]
        if device == "reference":
            command += ["--contract", "exact"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
        if done.returncode:
            sentence = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            windowed = case.config.get("sliding_window") and "sliding_window" in sentence
            raise Refused(sentence, bool(windowed))
        wanted = [position for position in models.positions(case) if count is None or position < count]
        return models.read_safetensors(out).tensors["logits"][wanted]


def error(case, path, device, truth, limit=None):
    return models.error(run(case, path, device, limit), truth)
