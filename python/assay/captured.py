"""What a capture of any engine comes to."""
from __future__ import annotations

import dataclasses

import numpy


class CaptureError(Exception):
    """Why there is no trace, in one sentence."""


@dataclasses.dataclass
class Captured:
    steps: list           # token ids of each step
    tensors: list         # of each step, [(name, array)] in execution order
    missing: list         # names that were expected and not seen
    observer_effect: str  # "none", or the largest difference of a logit
    contract: str | None  # name of the arithmetic; None where it is not known
    backend: str          # "CPU", "CUDA"
    context: int          # limit of positions, which chooses between long and short RoPE factors
    graph: list | None = None  # of each tensor, what it reads (docs/trace-format.md)


def difference(seen, unseen):
    """"none" where the logits of all steps are equal in every bit, else their largest difference in a sentence."""
    if all(a.tobytes() == b.tobytes() for a, b in zip(seen, unseen, strict=True)):
        return "none"
    largest = max(float(numpy.abs(a.astype("f8") - b).max()) for a, b in zip(seen, unseen))
    return f"logits differ by up to {largest:.3g} when observed"
