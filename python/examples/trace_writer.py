"""Writes what an engine computed as a trace (docs/trace-format.md). Copy write_trace into your engine.

python3 trace_writer.py FILE
"""
import json
import sys

import numpy


def write_trace(path, engine, tokens, tensors):
    """One step's tensors: [(name, values (tokens, width))] in execution order, named as in docs/trace-format.md."""
    header = {"__metadata__": {"format": "assay.trace/1", "engine": engine, "tokens": json.dumps(tokens)}}
    data = b""
    for i, (name, values) in enumerate(tensors):
        values = numpy.asarray(values, "<f4")
        header[f"{i:06d}.{name}"] = {"dtype": "F32", "shape": list(values.shape),
                                     "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


if __name__ == "__main__":
    write_trace(sys.argv[1], "example 1.0", [504, 3575],
                [("embd", [[0.5, -1, 2, 0], [1, 0.25, -3, 8]]), ("logits", [[1, 2, 3], [-1, 0, 1.5]])])
