"""assay's Python side: traces of other engines, in the format of docs/trace-format.md.

    with assay.record(model, "FILE.safetensors"):   # any PyTorch module: record.py
        model(ids)
"""


def record(model, path, **options):
    """A context that records the calls of a PyTorch module; see assay.recorder.record."""
    from assay import recorder  # needs numpy, which `python -m assay.capture` must be able to say
    return recorder.record(model, path, **options)
