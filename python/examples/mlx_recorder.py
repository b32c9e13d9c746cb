"""Records what a model of MLX computes (docs/recorders.md). MLX has no hooks: while a Recorder is there, every call of a
module goes through it.

    with record(model, "FILE.safetensors"):
        model(mx.array([[1, 2, 3]]))

Names are the modules' paths, PATH for what a module gave and PATH.in for what it was given; `assay trace names FILE -m
FOLDER` proposes what they are. Needs assay's Python side beside MLX (python/README.md).
"""
import contextlib

import mlx.core as mx
import mlx.nn as nn
import numpy

from assay.trace import TraceWriter

CONTRACTS = {mx.float32: "f32", mx.bfloat16: "bf16", mx.float16: "f16"}


class Recorder:
    def __init__(self, model):
        self.model, self.steps = model, []
        self._paths = {id(module): path or "output" for path, module in model.named_modules()}
        self._seen = {}  # arrays of this step that were kept, by id

    def _keep(self, name, value):
        if isinstance(value, (tuple, list)):
            for one in value:
                self._keep(name, one)
        elif isinstance(value, mx.array) and value.dtype in CONTRACTS and id(value) not in self._seen:
            self._seen[id(value)] = value
            bfloat16 = value.dtype == mx.bfloat16
            array = numpy.array(value.astype(mx.float32) if bfloat16 else value)
            self.steps[-1]["tensors"].append((name, array[0] if array.ndim > 2 else array, bfloat16))

    def call(self, module, function, arguments, named):
        path = self._paths.get(id(module))
        if module is self.model:
            self._begin(arguments, named)
        if path is None or not self.steps:
            return function(module, *arguments, **named)
        self._keep(path + ".in", list(arguments))
        output = function(module, *arguments, **named)
        self._keep(path, output)
        return output

    def _begin(self, arguments, named):
        tokens = numpy.array(next(one for one in (*arguments, *named.values()) if isinstance(one, mx.array))).reshape(-1).tolist()
        # mlx_lm gives a list of caches, one for each layer.
        cache = named.get("cache", arguments[1] if len(arguments) > 1 else None)
        first = int(cache[0].offset) if cache else 0
        self.steps.append({"tokens": tokens, "positions": list(range(first, first + len(tokens))), "tensors": []})
        self._seen = {}

    def write(self, path, engine=None, **metadata):
        kinds = {value.dtype for _, value in nn.utils.tree_flatten(self.model.parameters())}
        contract = CONTRACTS.get(kinds.pop()) if len(kinds) == 1 else None
        steps = [{key: step[key] for key in ("tokens", "positions")} for step in self.steps]
        logits = [step["tensors"][-1][1] for step in self.steps]  # what the model gave
        for step, rows in zip(steps, logits):
            if rows.shape[0] < len(step["tokens"]):
                step["selected"] = list(range(len(step["tokens"]) - rows.shape[0], len(step["tokens"])))
        writer = TraceWriter(engine or f"mlx {mx.__version__}", steps=steps, **{"contract": contract, "kv": contract, **metadata})
        for number, step in enumerate(self.steps):
            counts = {}
            for name, array, bfloat16 in step["tensors"]:
                counts[name] = counts.get(name, 0) + 1
                writer.add(name if counts[name] == 1 else f"{name}#{counts[name]}", array, number, bfloat16)
        writer.write(path)


@contextlib.contextmanager
def record(model, path, **options):
    recorder = Recorder(model)
    # Python looks __call__ up in the class, so that is where it is replaced.
    classes = {kind for _, module in model.named_modules() for kind in [type(module)]}
    own = {kind: kind.__dict__.get("__call__") for kind in classes}
    for kind in classes:
        def call(module, *arguments, function=kind.__call__, **named):
            return recorder.call(module, function, arguments, named)
        kind.__call__ = call
    try:
        yield recorder
    finally:
        for kind, function in own.items():
            if function is None:
                del kind.__call__
            else:
                kind.__call__ = function
    recorder.write(path, **options)
