"""Reads tensors of a running ggml graph, through ctypes.

The structure is that of ggml.h in the version that llama_cpp_engine pins; check_layout proves on a live tensor that it
fits.
"""
from __future__ import annotations

import ctypes

import numpy

from assay.captured import CaptureError


class Tensor(ctypes.Structure):
    """struct ggml_tensor. Dimensions are innermost first: ne[0] is a row's length; nb are strides in bytes."""


Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(Tensor) * 10),
    ("view_src", ctypes.POINTER(Tensor)),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
    ("extra", ctypes.c_void_p),
    ("padding", ctypes.c_char * 8),
]
OBJECT_BYTES = 32  # of struct ggml_object, which ggml_tensor_overhead counts with a tensor
OPERATIONS = 101   # GGML_OP_COUNT
NUMPY_TYPES = {"f32": "<f4", "f16": "<f2", "i32": "<i4"}


def require(holds, what):
    """Raises CaptureError where our structure does not fit the library."""
    if not holds:
        raise CaptureError(f"ggml's tensors are not laid out as expected ({what}); the capture fits another version "
                           "of llama.cpp")


class Library:
    """The functions of ggml that a capture needs. `library` is a ctypes.CDLL that has them, or whose dependencies have.

    Raises CaptureError: a function is not there; a tensor has another size.
    """

    def __init__(self, library):
        self._library = library
        self._get = self._function("ggml_backend_tensor_get", None, ctypes.POINTER(Tensor), ctypes.c_void_p,
                                   ctypes.c_size_t, ctypes.c_size_t)
        self._bytes_of = self._function("ggml_nbytes", ctypes.c_size_t, ctypes.POINTER(Tensor))
        self._operation_name = self._function("ggml_op_name", ctypes.c_char_p, ctypes.c_int)
        self._type_name = self._function("ggml_type_name", ctypes.c_char_p, ctypes.c_int)
        self._buffer_name = self._function("ggml_backend_buffer_name", ctypes.c_char_p, ctypes.c_void_p)
        overhead = self._function("ggml_tensor_overhead", ctypes.c_size_t)
        require(overhead() == ctypes.sizeof(Tensor) + OBJECT_BYTES, "their size")

    def _function(self, name, result, *arguments):
        try:
            function = self._library[name]  # a new object each time, so its types are ours alone
        except AttributeError:
            raise CaptureError(f"the llama.cpp library has no function {name}") from None
        function.restype, function.argtypes = result, arguments
        return function

    def operation(self, tensor):
        """"MUL_MAT". Raises CaptureError: no number of an operation."""
        require(0 <= tensor.op < OPERATIONS, "the operation")
        return self._operation_name(tensor.op).decode()

    def type(self, tensor):
        """"f32", "q4_1", as ggml names it."""
        return self._type_name(tensor.type).decode()

    def buffer(self, tensor):
        """Where its values lie: "CPU", "CUDA0", "CUDA_Host"."""
        owner = tensor.view_src.contents if tensor.view_src else tensor
        return self._buffer_name(owner.buffer).decode() if owner.buffer else ""

    def values(self, tensor):
        """Its values, (ne3, ne2, ne1, ne0), copied from whatever device; views are followed by their strides.

        Raises CaptureError: a type without single values (quantised).
        """
        kind = NUMPY_TYPES.get(self.type(tensor))
        if kind is None:
            raise CaptureError(f"tensor '{tensor.name.decode()}' has the type {self.type(tensor)}")
        data = self.bytes(tensor, 0, self._bytes_of(tensor))
        return numpy.ndarray(tuple(tensor.ne)[::-1], kind, data, strides=tuple(tensor.nb)[::-1]).copy()

    def bytes(self, tensor, first, count):
        """`count` bytes of its memory from `first` on. ggml aborts the program where they are not there."""
        data = bytearray(count)
        self._get(tensor, (ctypes.c_char * count).from_buffer(data), first, count)
        return data

    def decoded_row(self, tensor, row):
        """Row `row` of a matrix as float32, by ggml's own function; None where it has none for the type."""
        kind, count = self.type(tensor), tensor.ne[0]
        data = self.bytes(tensor, row * tensor.nb[1], tensor.nb[1])
        if kind in ("f32", "f16"):
            return numpy.frombuffer(data, NUMPY_TYPES[kind], count).astype("<f4")
        if kind == "bf16":
            return (numpy.frombuffer(data, "<u2", count).astype("<u4") << 16).view("<f4")
        try:
            decode = self._function(f"dequantize_row_{kind}", None, ctypes.c_void_p, ctypes.c_void_p,
                                    ctypes.c_int64)
        except CaptureError:
            return None
        row = numpy.empty(count, "<f4")
        decode((ctypes.c_char * len(data)).from_buffer(data), row.ctypes.data, count)
        return row

    def check_layout(self, tensor, tokens, width):
        """Proves our structure on the embedding's tensor: GET_ROWS of token_embd.weight by the token ids.

        Its type, shape, strides and sources must be what they have to be, its values those of the table's rows,
        bit for bit. Raises CaptureError.
        """
        require(self.type(tensor) == "f32", "the embedding's type")
        require(tuple(tensor.ne) == (width, len(tokens), 1, 1), "the embedding's shape")
        require(tuple(tensor.nb)[:2] == (4, 4 * width), "the embedding's strides")
        require(bool(tensor.src[0]) and bool(tensor.src[1]) and not tensor.src[2], "the embedding's sources")
        table, ids = tensor.src[0].contents, tensor.src[1].contents
        require(table.name == b"token_embd.weight" and table.ne[0] == width, "the embedding's table")
        require(self.type(ids) == "i32" and self.values(ids).ravel().tolist() == list(tokens), "the token ids")
        values = self.values(tensor)[0, 0]
        for token, row in zip(tokens, values):
            wanted = self.decoded_row(table, token)
            require(wanted is None or wanted.tobytes() == row.tobytes(), f"the embedding of token {token}")
