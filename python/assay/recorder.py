"""Records what a PyTorch module computes, by its forward hooks.

    with assay.record(model, "FILE.safetensors"):
        model(ids)

Every call of the model is a step of the trace: its ids, its positions, and what its modules gave. Where the tree of
modules is known (transformers, vLLM, SGLang: module_names.py) the names are those of docs/trace-format.md. Elsewhere
they are the modules' paths, PATH for what a module gave and PATH.in for what it was given; `assay trace names`
proposes what they are. Values are written in their own type. torch itself is not imported: what has torch's hooks
will do.
"""
from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import sys

import numpy

from assay import module_names, trace
from assay.only import Only

# What a model's call names its ids, its positions and its cache, in the order in which they are looked for.
IDS = ("input_ids", "ids", "tokens", "token_ids")
POSITIONS = ("position_ids", "positions")
CACHES = ("cache", "past_key_values")
LOGITS = ("logits", *module_names.HEADS.values())
CONTRACTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


class RecordError(ValueError):
    """Why a call of the model can't be recorded, in one sentence."""


@dataclasses.dataclass
class Step:
    tokens: list
    positions: list
    tensors: list = dataclasses.field(default_factory=list)  # (name, array, whether it is bfloat16)
    selected: list | None = None                             # None: the logits of all tokens
    batched: bool = True                                     # tensors have a dimension for sequences


def is_tensor(value):
    return hasattr(value, "dtype") and hasattr(value, "shape") and hasattr(value, "ndim")


def kind_of(tensor):
    """"float32", "bfloat16", "int64": the name of its type, of torch's tensors and numpy's."""
    return str(tensor.dtype).rsplit(".", 1)[-1]


def is_float(value):
    return is_tensor(value) and kind_of(value) in ("float64", *CONTRACTS)


def array_of(tensor):
    """(its values now, whether they are bfloat16): a copy, as a numpy array; bfloat16 as the float32 that it is."""
    narrow = kind_of(tensor) == "bfloat16"
    if hasattr(tensor, "detach"):
        tensor = tensor.detach()
    if hasattr(tensor, "cpu"):
        tensor = tensor.cpu()
    if narrow:
        tensor = tensor.float()
    return numpy.array(tensor.numpy() if hasattr(tensor, "numpy") else tensor, order="C"), narrow


def tensors_in(value):
    """The tensors of a module's result or arguments, in their order, with the key or index that leads to each."""
    if is_tensor(value):
        return [("", value)]
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (tuple, list)):
        items = enumerate(value)
    else:
        return []
    return [(f".{key}{inner}", tensor) for key, each in items for inner, tensor in tensors_in(each)]


def ids_of(arguments, named):
    """(the token ids of a call of a model, the tensor that holds them). Raises RecordError."""
    ids = next((named[name] for name in IDS if is_tensor(named.get(name))), None)
    if ids is None:
        ids = next((value for value in (*arguments, *named.values()) if is_tensor(value) and "int" in kind_of(value)), None)
    if ids is None:
        raise RecordError("the model is called without a tensor of token ids")
    tokens = array_of(ids)[0]
    if tokens.ndim > 1 and tokens.shape[0] > 1:
        raise RecordError(f"the model is called with {tokens.shape[0]} sequences at once; a trace holds one")
    tokens = [int(one) for one in tokens.reshape(-1)]
    if not tokens:
        raise RecordError("the model is called without tokens")
    return tokens, ids


class Recorder:
    """Hooks on a model, and the steps that they saw. Close it when the calls are over."""

    def __init__(self, model, only=None):
        """`only`: which outputs are kept, as Only takes it."""
        self.steps = []
        self.only = only if isinstance(only, Only) else Only(only)
        self.model = model
        self.paths = {}   # of modules, by name as it is written
        self._hooks = contextlib.ExitStack()
        self._last = []  # ids of the call before
        self._seen = {}  # tensors of this step that were kept, by id: they must live, or an id comes twice
        self._times = collections.Counter()
        self.known = module_names.known(model)
        try:
            self.pre_hook(self.known.root(model) if self.known else model, self.begin)
            if self.known:
                self.known.attach(self)
            else:
                for path, module in model.named_modules():
                    self._watch(path or "output", module)
                self.hook(model, lambda _, __, output: self._notice_rows(output))
        except BaseException:
            self.close()
            raise

    def close(self):
        self._hooks.close()
        self._seen = {}

    def hook(self, module, function):
        """`function(arguments, named arguments, output)` after each call of the module."""
        handle = module.register_forward_hook(
            lambda _, arguments, named, output: function(arguments, named, output), with_kwargs=True)
        self._hooks.callback(handle.remove)

    def pre_hook(self, module, function):
        """`function(arguments, named arguments)` before each call of the module."""
        handle = module.register_forward_pre_hook(
            lambda _, arguments, named: function(arguments, named), with_kwargs=True)
        self._hooks.callback(handle.remove)

    def undo(self, function, *arguments):
        """Calls the function when the recorder is closed."""
        self._hooks.callback(function, *arguments)

    def keep(self, name, tensor, change=None):
        """Writes down an operation's output, as it is now. `change`: what is to be done with the array."""
        if not self.steps:
            return  # a part of the model was called by itself
        if self.known and name in LOGITS:
            self._notice_rows(tensor)
        if not self.only.wants(name):
            return
        array, narrow = array_of(tensor)
        if array.ndim == 0 or array.size == 0:
            return
        step = self.steps[-1]
        if self.known:  # whatever its dimensions, tokens come first
            array = array.reshape(array.shape[-2] if name in ("out_norm", *LOGITS) else len(step.tokens), -1)
        elif step.batched and array.ndim > 2 and array.shape[0] == 1:
            array = array[0]
        if change:
            array = change(array)
        times = self._times[name]
        self._times[name] += 1
        if times and self.known:
            raise RecordError(f"'{name}' is computed twice in one call of the model")
        self.steps[-1].tensors.append((f"{name}#{times + 1}" if times else name, array, narrow))

    def _notice_rows(self, output):
        """Many models give the logits of the last token alone."""
        step = self.steps[-1]
        logits = next((tensor for _, tensor in tensors_in(output) if tensor.ndim > 1), None)
        if logits is not None and logits.shape[-2] < len(step.tokens):
            step.selected = list(range(len(step.tokens) - logits.shape[-2], len(step.tokens)))

    def _watch(self, path, module):
        self.paths[path] = type(module).__name__

        def before(arguments, named):
            for i, (key, tensor) in enumerate(tensors_in([arguments, named])):
                self._keep_new(path + (".in" if i == 0 else f".in{i}"), tensor)

        def after(_, __, output):
            for key, tensor in tensors_in(output):
                self._keep_new(path + ("" if key in ("", ".0") else key), tensor)

        self.pre_hook(module, before)
        self.hook(module, after)

    def _keep_new(self, name, tensor):
        """A tensor that another module gave or was given before is not written again."""
        if not is_float(tensor) or id(tensor) in self._seen or not self.steps:
            return
        self._seen[id(tensor)] = tensor
        self.keep(name, tensor)

    def begin(self, arguments, named):
        """A call of the model begins."""
        tokens, ids = ids_of(arguments, named)
        mask = named.get("attention_mask")
        if is_tensor(mask) and mask.ndim == 2 and not array_of(mask)[0].all():
            raise RecordError("the attention mask leaves tokens out (padding?); a trace holds one sequence without")
        others = [value for value in arguments if is_tensor(value) and value is not ids]
        self.steps.append(Step(tokens, self._positions(tokens, others, named), batched=ids.ndim > 1))
        self._last = tokens
        self._seen, self._times = {}, collections.Counter()

    def _positions(self, tokens, others, named):
        given = next((named[name] for name in POSITIONS if is_tensor(named.get(name))), None)
        if given is None and isinstance(self.known, module_names.Serving):
            given = others[0] if others else None
        if given is not None:
            # A rotation by parts has a row of positions for each of them; those of text are equal.
            positions = [int(one) for one in array_of(given)[0].reshape(-1)[:len(tokens)]]
            if positions != list(range(positions[0], positions[0] + len(tokens))):
                raise RecordError("the positions of a call are not consecutive (several sequences at once?); a trace "
                                  "holds one")
            return positions
        cache = next((named[name] for name in CACHES if named.get(name) is not None), None)
        if hasattr(cache, "get_seq_length"):
            first = int(cache.get_seq_length())
        elif self.known or not self.steps or tokens[:len(self._last)] == self._last:
            first = 0  # no cache is given; or a model without one is given all tokens again
        else:
            first = self.steps[-1].positions[-1] + 1
        return list(range(first, first + len(tokens)))


def type_of(model):
    """"float32", "bfloat16": of all parameters that are floats; None where they are of several types."""
    kinds = {kind_of(parameter) for parameter in model.parameters() if "float" in kind_of(parameter)}
    return kinds.pop() if len(kinds) == 1 else None


def describe(model):
    """"transformers 5.24.0 torch 2.15.0 CPU": who computes."""
    parts = []
    for package in (type(model).__module__.split(".")[0], "torch"):
        version = getattr(sys.modules.get(package), "__version__", None)
        if version and f"{package} {version}" not in parts:
            parts.append(f"{package} {version}")
    device = next((str(parameter.device.type) for parameter in model.parameters() if hasattr(parameter, "device")
                   and hasattr(parameter.device, "type")), "cpu")
    return " ".join([*parts, device.upper()]) if parts else type(model).__name__


def ordered(recorder, step):
    """[(name, array, whether it is bfloat16)] of a step: of a known tree in the order in which they are computed."""
    tensors = [(name, array[step.selected] if name == "out_norm" and step.selected is not None
                and array.shape[0] == len(step.tokens) else array, narrow) for name, array, narrow in step.tensors]
    if recorder.known is None:
        return tensors
    places = {name: i for i, name in enumerate(recorder.known.order(recorder.model))}
    return sorted(tensors, key=lambda tensor: places.get(tensor[0], len(places)))


def write(recorder, path, engine=None, model=None, names=None, **metadata):
    """Writes what a recorder saw. Raises RecordError: the model was not called; `only` names what it has not."""
    steps = recorder.steps
    if not steps:
        raise RecordError("the model was not called, so there is nothing to write")
    if missing := recorder.only.unmatched():
        raise RecordError(missing)
    contract = CONTRACTS.get(type_of(recorder.model))
    folder = model or getattr(getattr(recorder.model, "config", None), "_name_or_path", None)
    facts = {"contract": contract, "kv": contract, "model": str(folder) if folder and os.path.exists(folder) else None,
             "names": json.dumps(names) if names else None,
             "modules": json.dumps(recorder.paths) if recorder.paths else None}
    entries = [{"tokens": step.tokens, "positions": step.positions,
                **({} if step.selected is None else {"selected": step.selected})} for step in steps]
    writer = trace.TraceWriter(engine or describe(recorder.model), steps=entries, **{**facts, **metadata})
    for number, step in enumerate(steps):
        for name, array, narrow in ordered(recorder, step):
            writer.add(name, array, number, bfloat16=narrow)
    writer.write(path)


@contextlib.contextmanager
def record(model, path, engine=None, names=None, only=None, **metadata):
    """Records the calls of the model that are made inside, and writes them as a trace when the block ends.

    `engine`: its name and version. `names`: {path of a module: canonical name}, where the tree is not known. `only`: the
    outputs that are written, as "blk.*.out,logits" or a list; default: all. Further keywords are metadata of
    docs/trace-format.md; `contract` and `kv` are those of the parameters' type, and `model` the folder that the model was
    loaded from. Nothing is written where the block raises. Raises RecordError: a call that a trace can't hold; no call at
    all; a name in `only` that no output has.
    """
    recorder = Recorder(model, only)
    try:
        yield recorder
    finally:
        recorder.close()
    write(recorder, path, engine, names=names, **metadata)
