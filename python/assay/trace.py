"""Writes and reads traces: safetensors files as docs/trace-format.md describes them.

    writer = TraceWriter("my engine 1.0", tokens=[504, 3575])
    writer.add("embd", embeddings)       # (tokens, width), in execution order
    writer.write("my.safetensors")

A safetensors file is an 8-byte little-endian length, that many bytes of JSON, then the values. The JSON gives
each tensor's dtype, shape and data_offsets, which count bytes from the end of the JSON; values are little-endian,
row by row.
"""
from __future__ import annotations

import dataclasses
import json
import os
import pathlib

import numpy

FORMAT = "assay.trace/1"
# BF16 is there, too; numpy has no type for it.
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}
NAMES = {numpy.dtype(code): name for name, code in TYPES.items()}
LONGEST_HEADER = 100 << 20  # bytes; the safetensors library refuses more
MOST_TENSORS = 1_000_000    # six digits


class TraceError(ValueError):
    """What is wrong with a trace, in one sentence."""


class TraceWriter:
    """Collects one run's tensors, then writes them.

    `tokens`: the ids of a run of one step. `steps` instead: a list of {"tokens": [], "positions": [], "selected": []},
    where all but `tokens` may be left out. Further keywords are metadata (contract, kv, model, model_sha256 ...),
    stored as strings; None is left out.
    """

    def __init__(self, engine, tokens=None, steps=None, **metadata):
        if (tokens is None) == (steps is None):
            raise TraceError("a trace has either tokens or steps")
        whole = [{"tokens": tokens}] if steps is None else steps
        whole = [{key: [int(one) for one in values] for key, values in step.items()} for step in whole]
        if not whole or not all(step["tokens"] for step in whole):
            raise TraceError("each step of a trace has at least one token")
        self._metadata = {"format": FORMAT, "engine": engine}
        if steps is None:
            self._metadata["tokens"] = json.dumps(whole[0]["tokens"])
        else:
            self._metadata["steps"] = json.dumps(whole)
        self._metadata.update({key: str(value) for key, value in metadata.items() if value is not None})
        self._tensors = []                # of (key, type, array)
        self._of_step = [0] * len(whole)  # how many of them belong to each step

    def add(self, name, array, step=0, bfloat16=False):
        """Adds the next operation's output: (tokens, width) of float32, float16 or float64. The values are copied.

        `bfloat16`: the float32 values are bfloat16's, and are stored so. Raises TraceError: another type; values that
        are none of bfloat16; no elements; a step that is not there, or that comes after a later one.
        """
        array = numpy.array(array, order="C")
        if array.dtype.kind != "f" or array.dtype.newbyteorder("<") not in NAMES:
            raise TraceError(f"tensor '{name}' is {array.dtype}; a trace holds float32, float16 or float64")
        if array.ndim == 0 or array.size == 0:
            raise TraceError(f"tensor '{name}' is empty")
        if not 0 <= step < len(self._of_step) or any(self._of_step[step + 1:]):
            raise TraceError(f"tensor '{name}' comes with step {step} of {len(self._of_step)}, out of order")
        if len(self._tensors) >= MOST_TENSORS:
            raise TraceError(f"a trace holds at most {MOST_TENSORS} tensors")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        kind = NAMES[array.dtype]
        if bfloat16:
            bits = array.view("<u4") if kind == "F32" else None
            if bits is None or (bits & 0xFFFF).any():
                raise TraceError(f"tensor '{name}' holds values that are not bfloat16's")
            kind, array = "BF16", (bits >> 16).astype("<u2")
        self._tensors.append((f"{len(self._tensors):06d}.{name}", kind, array))
        self._of_step[step] += 1

    def write(self, path):
        """Writes the file under a temporary name beside `path`, then renames it. Raises OSError."""
        metadata = dict(self._metadata)
        if len(self._of_step) > 1:
            metadata["order"] = json.dumps(self._of_step)
        header, offset = {"__metadata__": metadata}, 0
        for key, kind, array in self._tensors:
            header[key] = {"dtype": kind, "shape": list(array.shape),
                           "data_offsets": [offset, offset + array.nbytes]}
            offset += array.nbytes
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # so that the values are aligned
        path = pathlib.Path(path)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with open(part, "wb") as file:
                file.write(len(text).to_bytes(8, "little") + text)
                for _, _, array in self._tensors:
                    file.write(array.data)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


@dataclasses.dataclass
class Trace:
    metadata: dict  # of strings
    tensors: dict   # key as the file has it -> array

    def steps(self):
        """[{"tokens", "positions", "selected"}], with what the file leaves out filled in. Raises TraceError."""
        text = self.metadata.get("steps") or '[{"tokens":' + self.metadata.get("tokens", "") + "}]"
        try:
            steps, position = json.loads(text), 0
            for step in steps:
                count = len(step["tokens"])
                step.setdefault("positions", list(range(position, position + count)))
                step.setdefault("selected", list(range(count)))
                position = step["positions"][-1] + 1
            return steps
        except (ValueError, KeyError, IndexError, TypeError) as wrong:
            raise TraceError("this is not a trace: its metadata has neither good tokens nor good steps") from wrong

    def of_step(self, step=0):
        """{name: array} of one step, in execution order; the names are the keys without their numbers.

        Of equal names (llama.cpp's "norm-3.RMS_NORM") the last one is there.
        """
        keys = sorted(key for key in self.tensors if key[:6].isdigit() and key[6:7] == ".")
        steps = len(self.steps())
        counts = json.loads(self.metadata["order"]) if "order" in self.metadata else [len(keys) // steps] * steps
        begin = sum(counts[:step])
        return {key[7:]: self.tensors[key] for key in keys[begin:begin + counts[step]]}


def read(path):
    """Trace of a file; BF16 comes as float32. Raises OSError, and TraceError where it is no safetensors file."""
    data = pathlib.Path(path).read_bytes()

    def refuse(what):
        return TraceError(f"{path}: this is no safetensors file: {what}")

    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, LONGEST_HEADER):
        raise refuse("its header does not fit into it")
    try:
        header = json.loads(data[8:8 + length])
        metadata = header.pop("__metadata__", {})
        tensors = {key: _tensor(data, 8 + length, entry) for key, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise refuse("its header is damaged") from wrong
    return Trace(metadata, tensors)


def _tensor(data, begin, entry):
    """Array of one entry of the header. Raises ValueError, KeyError or TypeError where the entry is wrong."""
    first, last = entry["data_offsets"]
    shape = tuple(entry["shape"])
    kind = "<u2" if entry["dtype"] == "BF16" else TYPES[entry["dtype"]]
    elements = 1
    for extent in shape:
        elements *= int(extent)
    if not 0 <= first <= last <= len(data) - begin or min(shape, default=0) < 0 or \
            elements * numpy.dtype(kind).itemsize != last - first:
        raise ValueError("a tensor's place in the file")
    array = numpy.frombuffer(data, kind, elements, begin + first).reshape(shape)
    if entry["dtype"] == "BF16":
        array = (array.astype("<u4") << 16).view("<f4")
    return array

