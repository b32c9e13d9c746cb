"""Captures what llama.cpp computes, through llama-cpp-python's low-level bindings.

llama.cpp calls `cb_eval` for every tensor of its graph: first with ask=True ("do you want its values?"), then, after
computing as far as that tensor, with ask=False. Asking cuts the graph into pieces, which may keep a backend from fusing
operations; so the run is repeated without the callback, and the logits of the two are compared bit for bit.

Names and values are llama.cpp's own: "Qcur-3.ROPE", with the shape (ne3, ne2, ne1, ne0). The reader of traces knows
what they are. Only what is wanted is asked for, and the embedding, by which the layout of tensors is proven. Where a graph leaves a product, its scale, its bias or the sum after attention unnamed ("node_31"), they
get the names that llama's graph gives them, by the weights that they are made of. Views and copies, whose values another
tensor has, are left out.
"""
from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import re

import numpy

from assay import ggml, install, llama_names
from assay.captured import Captured, CaptureError, difference
from assay.only import Only

VERSION = install.LLAMA_CPP_PYTHON
FLASH = {"on": 1, "off": 0, "auto": -1}  # enum llama_flash_attn_type
KV_TYPES = {"f32": 0, "f16": 1}          # enum ggml_type
ERROR = 4                                # enum ggml_log_level
# Operations that only move values; "kqv_out-3", attention's output, is one, too, but has no other name, and so are the
# weights of chosen experts where they are a softmax of their own.
MOVED = ("kqv_out", "ffn_moe_weights_softmax")
EXPERTS = "ffn_moe_argsort"  # ids of experts, best first: the only whole numbers that a capture keeps
MOVES = {"RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE", "CONT", "CPY", "SET_ROWS", "NONE"}
# Names of the products with a layer's matrices, of what scales them and of what adds their biases.
PRODUCTS = {"attn_q": "Qcur", "attn_k": "Kcur", "attn_v": "Vcur", "attn_qkv": "wqkv", "attn_output": "attn_out",
            "ffn_gate": "ffn_gate", "ffn_up": "ffn_up", "ffn_down": "ffn_down"}
# The tensor of a weight that each node of a product reads.
TENSORS = {"MUL_MAT": "weight", "MUL": "scale", "ADD": "bias"}


@dataclasses.dataclass
class Settings:
    flash: str = "auto"
    kv: str = "f16"
    threads: int = 1
    gpu_layers: int = 0
    decode: int = 0           # greedy steps of one token after the prompt
    everything: bool = False  # views and copies, too
    only: Only = Only()       # which outputs are written


def load_bindings():
    """The module llama_cpp.llama_cpp. Raises CaptureError: not installed, or another version."""
    try:
        import llama_cpp
        import llama_cpp.llama_cpp as bindings
    except ImportError as missing:
        raise CaptureError(f"llama_cpp cannot be imported ({missing}); to install it: "
                           + install.command(*install.PACKAGES["llama_cpp"])) from None
    except (RuntimeError, OSError) as broken:
        again = install.command("--force-reinstall", "--no-cache-dir", *install.PACKAGES["llama_cpp"])
        raise CaptureError(f"llama_cpp cannot load its library ({broken}); to install it again: {again}") from None
    if llama_cpp.__version__ != VERSION:
        raise CaptureError(f"llama-cpp-python is {llama_cpp.__version__}; the capture fits {VERSION} only; to install "
                           "that one: " + install.command(*install.PACKAGES["llama_cpp"]))
    return bindings


class Log:
    """Keeps llama.cpp's errors instead of printing all it says."""

    callbacks = []  # llama.cpp may call the last one until the program ends

    def __init__(self, bindings):
        self.errors = []
        self.callbacks.append(bindings.llama_log_callback(self._said))
        bindings.llama_log_set(self.callbacks[-1], ctypes.c_void_p(0))

    def _said(self, level, text, _):
        if level == ERROR:
            self.errors.append(text.decode(errors="replace").strip())

    def last(self):
        return f": {self.errors[-1]}" if self.errors else ""


class Model:
    """A loaded model; frees it when closed."""

    def __init__(self, bindings, path, gpu_layers):
        """Raises CaptureError: llama.cpp cannot load it."""
        self.bindings = bindings
        self.log = Log(bindings)
        bindings.llama_backend_init()
        parameters = bindings.llama_model_default_params()
        parameters.n_gpu_layers = gpu_layers
        self.pointer = bindings.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.pointer:
            raise CaptureError(f"llama.cpp cannot load '{path}'{self.log.last()}")
        self.vocabulary = bindings.llama_model_get_vocab(self.pointer)
        self.width = bindings.llama_model_n_embd(self.pointer)
        self.vocabulary_size = bindings.llama_vocab_n_tokens(self.vocabulary)

    def close(self):
        self.bindings.llama_model_free(self.pointer)

    def feed_forward(self):
        """The width of the dense layers' feed-forward part; None where they differ or have none."""
        value = ctypes.create_string_buffer(64)
        for key in (b"general.architecture", None):
            key = key or value.value + b".feed_forward_length"
            if self.bindings.llama_model_meta_val_str(self.pointer, key, value, len(value)) < 0:
                return None
        return int(value.value) if value.value.isdigit() else None

    def tokenize(self, text, special, parse_special=True):
        """Token ids. `special`: with BOS and EOS where the file wants them. `parse_special`: special tokens in the text
        are parsed. Bytes that are not UTF-8 come through as they stood on the command line."""
        data = os.fsencode(text)
        room = len(data) + 16
        ids = (self.bindings.llama_token * room)()
        count = self.bindings.llama_tokenize(self.vocabulary, data, len(data), ids, room, special, parse_special)
        if count < 0:
            raise CaptureError("llama.cpp cannot tokenize the text")
        return list(ids[:count])


@contextlib.contextmanager
def open_context(model, settings, most_tokens, length, callback, sequences=1):
    """A llama.cpp context for `length` positions of each sequence, `most_tokens` at a time. Raises CaptureError."""
    bindings = model.bindings
    parameters = bindings.llama_context_default_params()
    parameters.n_ctx, parameters.n_seq_max = length * sequences, sequences
    parameters.n_batch = parameters.n_ubatch = most_tokens  # one piece: each operation once a step
    parameters.n_threads = parameters.n_threads_batch = settings.threads
    parameters.flash_attn_type = FLASH[settings.flash]
    parameters.type_k = parameters.type_v = KV_TYPES[settings.kv]
    parameters.op_offload = parameters.offload_kqv = settings.gpu_layers > 0  # large products would go there, too
    if callback is not None:
        parameters.cb_eval = callback
    context = bindings.llama_init_from_model(model.pointer, parameters)
    if not context:
        raise CaptureError(f"llama.cpp cannot make a context{model.log.last()}")
    try:
        yield context
    finally:
        bindings.llama_free(context)


def run(model, settings, steps, recorder=None):
    """Logits of each step, (tokens, vocabulary). A step that is None is the greedy token and is filled in.

    Raises CaptureError: llama.cpp fails, or the recorder did.
    """
    bindings, logits, position = model.bindings, [], 0
    # Must outlive the context.
    callback = bindings.ggml_backend_sched_eval_callback(recorder.callback) if recorder else None
    most = len(steps[0])
    batch = bindings.llama_batch_init(most, 0, 1)
    try:
        with open_context(model, settings, most, most + len(steps) - 1, callback) as context:
            for i, tokens in enumerate(steps):
                if tokens is None:
                    tokens = steps[i] = [int(numpy.argmax(logits[-1][-1]))]
                if recorder:
                    recorder.begin_step(tokens)
                logits.append(decode(model, context, batch, tokens, position, recorder))
                position += len(tokens)
    finally:
        bindings.llama_batch_free(batch)
    return logits


def decode(model, context, batch, tokens, position, recorder):
    """Logits of one step, (tokens, vocabulary)."""
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i] = token, position + i
        batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, 0, 1
    code = model.bindings.llama_decode(context, batch)
    if recorder and recorder.failed:
        raise recorder.failed
    if code != 0:
        raise CaptureError(f"llama.cpp fails with code {code}{model.log.last()}")
    pointer = model.bindings.llama_get_logits(context)
    return numpy.ctypeslib.as_array(pointer, (len(tokens), model.vocabulary_size)).copy()


class Recorder:
    """The callback, and what it has seen."""

    def __init__(self, library, width, everything, only=None, feed_forward=None):
        """`feed_forward`: the width of a dense layer's feed-forward part, where all have the same."""
        self.library, self.width, self.everything = library, width, everything
        self.only, self.feed_forward = only or Only(), feed_forward
        self._shared = set()  # layers with an expert of all tokens
        self.steps = []      # of each step, [(name.operation, array)]
        self.graph = []      # of each of these, what it reads: see _sources
        self.backends = set()
        self.flash = False
        self.failed = None   # a callback cannot raise
        self.begin_step([])
        self.steps.clear()

    def begin_step(self, tokens):
        self._tokens, self._checked, self._derived, self._numbers = tokens, False, {}, {}
        self.steps.append([])

    def callback(self, address, ask, _):
        """Returns True for "give me its values" (ask) and "go on"."""
        if self.failed:
            return False
        try:
            tensor = ggml.Tensor.from_address(address)
            name, operation = tensor.name.decode(), self.library.operation(tensor)
            name = self._name_of(address, tensor, name, operation)
            if ask:
                return self._wants(tensor, name, operation)
            self._record(tensor, name, operation)
            return True
        except Exception as failed:  # whatever it is, it must not be lost in C
            self.failed = failed
            return False

    def _name_of(self, address, tensor, name, operation):
        """`name`, or for an unnamed node what product of a layer it belongs to, or "ffn_inp-N" for the sum after it."""
        if not name.startswith("node_"):
            return name
        sources = [tensor.src[i].contents for i in range(2) if tensor.src[i]]
        read = rb"\bblk\.(\d+)\.(\w+)\.%s\b" % TENSORS.get(operation, "none").encode()
        for source in sources:
            found = re.search(read, source.name)
            if found and found[2].decode() in PRODUCTS:
                self._derived[address] = f"{PRODUCTS[found[2].decode()]}-{found[1].decode()}"
                return self._derived[address]
            if operation == "MUL_MAT" and re.search(rb"\b(output|token_embd)\.weight\b", source.name):
                return "result_output_no_bias"
        addresses = map(ctypes.addressof, sources)
        made_of = next((self._derived[one] for one in addresses if one in self._derived), "")
        if made_of and operation == "GET_ROWS":  # the rows whose logits are wanted
            self._derived[address] = made_of
        elif made_of.startswith("attn_out-") and operation == "ADD":
            return "ffn_inp-" + made_of[len("attn_out-"):]
        return name

    def _sources(self, tensor):
        """Of each source the number of the recorded tensor that it is, or a view or a copy of, with the first column
        where it is not 0; else the name of the tensor that it leads to."""
        found = []
        for source in tensor.src:
            if not source:
                continue
            one, first = source.contents, 0
            while ctypes.addressof(one) not in self._numbers and one.src[0] and self.library.operation(one) in MOVES:
                if self.library.operation(one) == "VIEW":
                    first += ctypes.cast(one.op_params, ctypes.POINTER(ctypes.c_uint64))[0] // 4  # bytes, of f32
                one = one.src[0].contents
            number = self._numbers.get(ctypes.addressof(one))
            found.append(one.name.decode() if number is None else [number, first] if first else number)
        return found

    def _wants(self, tensor, name, operation):
        self.flash |= operation == "FLASH_ATTN_EXT"
        if operation == "MUL_MAT":
            self.backends.add(self.library.buffer(tensor))
        if self.library.type(tensor) not in ("f32", "f16"):
            kept = name.startswith(EXPERTS)
        else:
            kept = (self.everything or operation not in MOVES or name.startswith(MOVED)
                    or self._joins_heads(tensor, operation))
        if kept and self.only:
            kept = self.only.wants(*self._canonical(tensor, name, operation))
        return kept or self._proves(operation)

    def _proves(self, operation):
        """Whether the layout of tensors will be checked on this one: the embedding."""
        return operation == "GET_ROWS" and not self._checked

    def _canonical(self, tensor, name, operation):
        """The names of what a node gives in docs/trace-format.md."""
        weight = tensor.src[0].contents if operation == "MUL_MAT" else None
        of_layer = name.rpartition("-")[2]
        if weight and b"_shexp." in weight.name:
            self._shared.add(of_layer)
        fused = bool(weight and self.feed_forward and weight.ne[1] == 2 * self.feed_forward)
        return llama_names.names(name, operation, of_layer in self._shared, fused)

    def _joins_heads(self, tensor, operation):
        """Whether it is attention's output, whatever the graph calls it: heads side by side, without flash attention."""
        permuted = tensor.src[0].contents if operation == "CONT" else None
        return bool(permuted and permuted.src[0] and permuted.src[0].contents.name.startswith(b"kqv"))

    def _record(self, tensor, name, operation):
        if self._proves(operation):
            self.library.check_layout(tensor, self._tokens, self.width)
            self._checked = True
        elif not self._checked:
            raise CaptureError(f"'{name}' ({operation}) is computed before any embedding; the graph is not understood")
        if self.only and not self.only.wants(*self._canonical(tensor, name, operation)):
            return  # the embedding, for the check alone
        values = self.library.values(tensor)
        if name.startswith(EXPERTS):
            values = values.astype("<f4")
        self.graph.append(self._sources(tensor))
        self._numbers[ctypes.addressof(tensor)] = len(self._numbers) + sum(map(len, self.steps[:-1]))
        self.steps[-1].append((f"{name}.{operation}", values))


def limit(length):
    """The context limit of llama.cpp's context for `length` positions: it rounds up to a multiple of 256."""
    return -(-length // 256) * 256


def backend_of(buffers):
    """("CUDA", "ggml-cuda"), given the buffers of the products' results; None where they are mixed or unknown."""
    names = {"CPU" if name.endswith("_Host") else name.rstrip("0123456789") for name in buffers}
    contracts = {"CPU": "ggml-cpu", "CUDA": "ggml-cuda"}
    return "+".join(sorted(names)), contracts.get(next(iter(names))) if len(names) == 1 else None


def capture(path, settings, tokens=None, text=None, special=True, parse_special=True):
    """(Captured, whether attention was fused) of one prompt, token ids or text, and its greedy continuation.

    Raises CaptureError.
    """
    bindings = load_bindings()
    library = ggml.Library(bindings._lib)
    model = Model(bindings, path, settings.gpu_layers)
    try:
        if tokens is None:
            tokens = model.tokenize(text, special, parse_special)
        if not tokens:
            raise CaptureError("there are no tokens")
        if max(tokens) >= model.vocabulary_size or min(tokens) < 0:
            raise CaptureError(f"a token id is not below the vocabulary's {model.vocabulary_size}")
        recorder = Recorder(library, model.width, settings.everything, settings.only, model.feed_forward())
        steps = [list(tokens)] + [None] * settings.decode
        logits = run(model, settings, steps, recorder)
        effect = difference(logits, run(model, settings, steps))
    finally:
        model.close()
    if missing := settings.only.unmatched():
        raise CaptureError(missing)
    for step, wanted in zip(recorder.steps, logits):
        found = [array for name, array in step if name.startswith("result_output.")]
        if found and found[-1].tobytes() != wanted.tobytes():
            raise CaptureError("the logits that were captured are not those that llama.cpp returns")
    backend, contract = backend_of(recorder.backends)
    if settings.gpu_layers and backend == "CPU":
        raise CaptureError("this build of llama.cpp computes no layer on a GPU")
    length = len(steps[0]) + len(steps) - 1
    # With gaps it tells nothing.
    graph = None if settings.only else recorder.graph
    return Captured(steps, recorder.steps, [], effect, contract, backend, limit(length), graph), recorder.flash
