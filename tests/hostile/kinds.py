"""The named kinds of damage: for each how the file is made, what must refuse it, and a part of the sentence."""
import dataclasses
import os
import struct
from typing import Callable

from small_gguf import (ARRAY, BOOL, F32, F64, I32, STRING, U8, U16, U32, U64, Tensor, add_sentence_pieces, small_model,
                        string)

# What must refuse: whatever opens the file; what runs the model; what needs text; what needs the chat template.
FILE, MODEL, TOKENIZER, TEMPLATE = "file", "model", "tokenizer", "template"
T = "tokenizer.ggml."


@dataclasses.dataclass
class Kind:
    name: str
    group: str
    contains: str   # of the sentence
    make: Callable  # folder → path


ALL = []


def bytes_kind(name, contains, make_bytes, group=FILE):
    """`make_bytes`: () → bytes."""
    def make(folder):
        path = folder / "x.gguf"
        path.write_bytes(make_bytes())
        return path
    ALL.append(Kind(name, group, contains, make))


def model_kind(name, group, contains, change, **options):
    """`change`: Gguf → None, before the small model is written."""
    def make_bytes():
        file = small_model(**options)
        change(file)
        return file.bytes()
    bytes_kind(name, contains, make_bytes, group)


def meta(key, kind, data):
    return lambda file: file.metadata.__setitem__(key, (kind, data))


def without(key):
    return lambda file: file.metadata.pop(key)


def tensor(which, **fields):
    def change(file):
        found = file.tensor(which)
        for field, value in fields.items():
            setattr(found, field, value)
    return change


def entry(raw):
    return lambda file: file.extra_entries.append(raw)


# ---- no GGUF at all ----

def other_kinds():
    for name, raw, contains in [
            ("empty file", b"", "empty"),
            ("HTML page", b"<!DOCTYPE html>\n<html><body>404</body></html>", "HTML"),
            ("HTML page after blanks", b" \n<HTML lang=en>" + b" " * 99, "HTML"),
            ("Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
            ("zip archive", b"PK\x03\x04" + bytes(99), "zip"),
            ("safetensors file", struct.pack("<Q", 20) + b'{"a":{}}' + bytes(99), "safetensors"),
            ("JSON text", b'{"a": 1}' + b" " * 99, "JSON"),
            ("file of zeros", bytes(4096), "not a GGUF file"),
            ("terminal escapes as magic", b"\x1b[31m\x07\n\r" * 20, "not a GGUF file"),
            ("file from before GGUF", b"lmgg" + bytes(99), "before GGUF"),
            ("big-endian magic", b"FUGG" + bytes(99), "big-endian"),
            ("only the magic", b"GGUF", "truncated"),
            ("magic in lower case", b"gguf" + bytes(99), "not a GGUF file")]:
        bytes_kind(name, contains, lambda raw=raw: raw)
    for version, contains in [(0, "version 0"), (1, "version 1"), (4, "version 4"), (2**32 - 1, "version 4294967295"),
                              (0x03000000, "big-endian")]:
        model_kind(f"version {version}", FILE, contains, lambda file, v=version: setattr(file, "version", v))

    def directory(folder):
        (folder / "x.gguf").mkdir()
        return folder / "x.gguf"

    def pipe(folder):
        os.mkfifo(folder / "x.gguf")
        return folder / "x.gguf"
    ALL.append(Kind("directory", FILE, "directory", directory))
    ALL.append(Kind("named pipe", FILE, "not a regular file", pipe))


# ---- truncated ----

def cut_kinds():
    def cut(mark, more):
        def make():
            file = small_model()
            whole = file.bytes()
            return whole[:file.marks[mark] + more]
        return make
    for name, mark, more in [
            ("the magic", "magic", 2), ("the version", "version", 2), ("the tensor count", "tensor count", 4),
            ("the metadata count", "metadata count", 4), ("the first key", "key general.architecture", 3),
            ("a key", "key llama.block_count", 12), ("a value's type", "type llama.block_count", 2),
            ("a value", "value llama.block_count", 3), ("a string value", "value general.architecture", 10),
            ("an array's element type", f"value {T}tokens", 3), ("an array's length", f"value {T}tokens", 9),
            ("an array of strings", f"value {T}tokens", 999), ("an array of numbers", f"value {T}token_type", 99),
            ("a tensor's name", "tensor blk.0.attn_q.weight", 12),
            ("a tensor's dimensions", "dims blk.0.attn_q.weight", 9),
            ("a tensor's offset", "offset blk.0.attn_q.weight", 4),
            ("the last tensor's offset", "offset blk.0.ffn_down.weight", 7),
            ("the padding", "padding", 1), ("the data's start", "data", 0),
            ("the data", "data", 777)]:
        bytes_kind(f"truncated in {name}", "truncated", cut(mark, more))
    # The last tensor's length is a multiple of 32: no padding follows it.
    bytes_kind("truncated by one byte", "truncated", lambda: small_model().bytes()[:-1])


# ---- counts and lengths ----

def count_kinds():
    def counts(**fields):
        return lambda file: [setattr(file, key, value) for key, value in fields.items()]
    # 2^64 / 14 + 1 and 2^64 / 33 + 1: the smallest entries' sizes make these products wrap to a few bytes.
    for wild in (2**64 - 1, 2**63, 2**64 // 14 + 1, 2**32, 10**6):
        model_kind(f"{wild} metadata entries", FILE, "truncated or damaged", counts(metadata_count=wild))
    for wild in (2**64 - 1, 2**63, 2**64 // 33 + 1, 2**32):
        model_kind(f"{wild} tensors", FILE, "truncated or damaged", counts(tensor_count=wild))
    model_kind("one metadata entry too many", FILE, "", lambda f: counts(metadata_count=len(f.metadata) + 1)(f))
    model_kind("one metadata entry too few", FILE, "", lambda f: counts(metadata_count=len(f.metadata) - 1)(f))
    model_kind("one tensor too many", FILE, "", lambda f: counts(tensor_count=len(f.tensors) + 1)(f))
    model_kind("one tensor too few", MODEL, "ffn_down", lambda f: counts(tensor_count=len(f.tensors) - 1)(f))
    model_kind("no metadata", FILE, "", counts(metadata_count=0))

    def raw(key_length, key, kind, rest):
        return struct.pack("<Q", key_length) + key + struct.pack("<I", kind) + rest
    for name, contains, data in [
            ("key of 2^64-1 bytes", "the limit is 65535", raw(2**64 - 1, b"k", U8, b"\0")),
            ("key of 65536 bytes", "the limit is 65535", raw(65536, b"k" * 65536, U8, b"\0")),
            ("empty key", "empty key", raw(0, b"", U8, b"\0")),
            ("string of 2^64-1 bytes", "the limit is", raw(1, b"k", STRING, struct.pack("<Q", 2**64 - 1))),
            ("string longer than the file", "truncated", raw(1, b"k", STRING, struct.pack("<Q", 10**7))),
            ("string above 16 MiB", "16777216", raw(1, b"k", STRING, string(b"x" * (2**24 + 1)))),
            ("string above 16 MiB in an array", "16777216",
             raw(1, b"k", ARRAY, struct.pack("<IQ", STRING, 1) + string(b"x" * (2**24 + 1)))),
            ("array whose size wraps", "2^64", raw(1, b"k", ARRAY, struct.pack("<IQ", U64, 2**61))),
            ("array of strings whose size wraps", "2^64", raw(1, b"k", ARRAY, struct.pack("<IQ", STRING, 2**61 + 1))),
            ("array of 2^64-1 bytes", "truncated or damaged", raw(1, b"k", ARRAY, struct.pack("<IQ", U8, 2**64 - 1))),
            ("nested array", "array of arrays", raw(1, b"k", ARRAY, struct.pack("<IQIQ", ARRAY, 1, U8, 0))),
            ("deeply nested array", "array of arrays",
             raw(1, b"k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 100000)),
            ("unknown element type", "unknown element type 13", raw(1, b"k", ARRAY, struct.pack("<IQ", 13, 1))),
            ("unknown value type", "unknown value type 13", raw(1, b"k", 13, bytes(8))),
            ("value type 2^32-1", "unknown value type", raw(1, b"k", 2**32 - 1, bytes(8))),
            ("boolean of 2", "must be 0 or 1", raw(1, b"k", BOOL, b"\2")),
            ("boolean of 255 in an array", "must be 0 or 1",
             raw(1, b"k", ARRAY, struct.pack("<IQ", BOOL, 2) + b"\1\xff")),
            ("key twice", "occurs twice", raw(21, b"llama.embedding_length"[:21], U32, bytes(4)) * 2),
            ("key twice, once of another type", "general.architecture", raw(20, b"general.architecture", U8, b"\0")),
            ("key of terminal escapes twice", "\\x1b", raw(9, b"\x1b[2J\n\r\0\xff\xfe", U8, b"\0") * 2)]:
        number = 2 if "of terminal escapes" in name or name == "key twice" else 1

        def change(file, data=data, number=number):
            file.extra_entries = [data] + [b""] * (number - 1)
        model_kind(name, FILE, contains, change)
    # Tables of the smallest entries: memory must not grow by a multiple of the file.
    small = 8 << 20
    entry_bytes = struct.pack("<Q", 1) + b"k" + struct.pack("<I", U8) + b"\0"
    tensor_bytes = struct.pack("<Q", 1) + b"t" + struct.pack("<IQIQ", 1, 1, 0, 0)
    for name, contains, body in [
            ("8 MiB of metadata entries", "the limit is",
             lambda: struct.pack("<QQ", 0, small // 14) + entry_bytes * (small // 14)),
            ("8 MiB of tensors", "the limit is",
             lambda: struct.pack("<QQ", small // 33, 0) + tensor_bytes * (small // 33)),
            ("32 MiB of empty strings", "the limit is",
             lambda: struct.pack("<QQ", 0, 1) + string("k") +
             struct.pack("<IIQ", ARRAY, STRING, 4 * small // 8) + bytes(4 * small)),
            ("the most metadata entries, all alike", "occurs twice",
             lambda: struct.pack("<QQ", 0, 1 << 17) + entry_bytes * (1 << 17)),
            ("the most tensors, all alike", "occurs twice",
             lambda: struct.pack("<QQ", 1 << 17, 0) + tensor_bytes * (1 << 17))]:
        bytes_kind(name, contains, lambda body=body: b"GGUF" + struct.pack("<I", 3) + body())


# ---- alignment and tensors ----

def tensor_kinds():
    for value in (0, 1, 3, 4, 48, 2**32 - 1):
        model_kind(f"alignment {value}", FILE, "general.alignment", meta("general.alignment", U32, value))
    model_kind("alignment 2^63", FILE, "", meta("general.alignment", U64, 2**63))
    model_kind("alignment as a string", FILE, "general.alignment", meta("general.alignment", STRING, "32"))
    model_kind("alignment as a float", FILE, "general.alignment", meta("general.alignment", F32, 32.0))
    q, head = "blk.0.attn_q.weight", "token_embd.weight"
    for name, contains, change in [
            ("tensor of 0 dimensions and whole blocks", "not a multiple of the 32", tensor(q, dims=[])),
            ("tensor of 5 dimensions", "5 dimensions", tensor(q, dims=[32, 32, 1, 1, 1])),
            ("tensor of 2^32-1 dimensions", "4294967295 dimensions", tensor(q, n_dims=2**32 - 1)),
            ("elements that wrap", "too large", tensor(q, dims=[2**32, 2**32])),
            ("elements that wrap to a few", "too large", tensor(q, dims=[2**62 + 32, 4, 1, 1], kind=0)),
            ("bytes that wrap", "", tensor(q, dims=[2**61, 2, 1, 1], kind=0)),
            ("rows of 2^63", "too large", tensor(q, dims=[32, 2**63])),
            ("tensor larger than the file", "truncated", tensor(q, dims=[32, 2**30])),
            ("tensor type 43", "unknown type 43", tensor(q, kind=43)),
            ("tensor type 2^32-1", "unknown type", tensor(q, kind=2**32 - 1)),
            ("row not divisible by the block", "not a multiple of the 32", tensor(q, dims=[33, 32])),
            ("row not divisible by the super-block", "not a multiple of the 256", tensor(q, kind=12)),
            ("offset not aligned", "not a multiple of the alignment", tensor(q, offset=8)),
            ("offset behind the file", "truncated", tensor(q, offset=2**40)),
            ("offset of 2^64-32", "2^64", tensor(q, offset=2**64 - 32)),
            ("tensor over another", "overlap", tensor(q, offset=0)),
            ("tensor half over another", "overlap", tensor(q, offset=32)),
            ("tensor name twice", "occurs twice", tensor(q, name="blk.0.attn_k.weight")),
            ("empty tensor name", "empty name", tensor(q, name="")),
            ("tensor name of 256 bytes", "the limit is 255", tensor(q, name="n" * 256))]:
        model_kind(name, FILE, contains, change)
    for name, contains, change in [
            ("tensor missing", q, lambda f: f.tensors.remove(f.tensor(q))),
            ("embedding missing", head, lambda f: f.tensors.remove(f.tensor(head))),
            ("tensor of wrong shape", "wanted 32 x 32", tensor(q, dims=[32, 16])),
            ("tensor transposed", "wanted 32 x 16", tensor("blk.0.attn_k.weight", dims=[16, 32], kind=0)),
            ("matrix of three dimensions", "wanted 32 x 32", tensor(q, dims=[32, 32, 2])),
            ("dimension 0", "has shape 32 x 0", tensor(q, dims=[32, 0])),
            ("row length 0", "has shape 0 x 32", tensor(q, dims=[0, 32])),
            ("embedding without rows", head, tensor(head, dims=[32, 0])),
            ("tensor of one element", "has shape 1, wanted", tensor(q, dims=[], kind=0)),
            ("embedding of another width", head, tensor(head, dims=[64, 259])),
            ("embedding of one row", "259", tensor(head, dims=[32, 1])),
            ("norm as a matrix", "blk.0.ffn_norm.weight", tensor("blk.0.ffn_norm.weight", dims=[32, 2])),
            ("norm of another type", "wanted F32", tensor("blk.0.ffn_norm.weight", kind=1)),
            ("tensor type without arithmetic", "not supported", tensor(q, kind=24)),
            ("tensor of f64", "F64", tensor(q, kind=28)),
            ("tensor that nothing uses", "extra.weight", lambda f: f.tensors.append(Tensor("extra.weight", (32,)))),
            ("tensor named with terminal escapes", "\\x1b", lambda f: f.tensors.append(Tensor("\x1b[2J\n\r\0", (32,)))),
            ("layer beyond the count", "blk.1.attn_norm.weight",
             lambda f: f.tensors.append(Tensor("blk.1.attn_norm.weight", (32,))))]:
        model_kind(name, MODEL, contains, change)


# ---- hyper-parameters ----

def parameter_kinds():
    A = "llama.attention."
    for key, kind, data, contains in [
            ("general.architecture", STRING, "mamba", "recurrent layers"),
            ("general.architecture", STRING, "", "not supported"),
            ("general.architecture", STRING, "\x1b[31mllama\n\r\0\x07", "not supported"),
            ("general.architecture", STRING, "x" * 10**6, "not supported"),
            ("general.architecture", U32, 7, "general.architecture"),
            ("llama.block_count", U32, 0, "block_count"), ("llama.block_count", U32, 2**32 - 1, "block_count"),
            ("llama.block_count", U64, 2**32, "block_count"), ("llama.block_count", U32, 4096, "blk.1."),
            ("llama.block_count", I32, -1, "block_count"), ("llama.block_count", F32, 1.0, "block_count"),
            ("llama.block_count", STRING, "1", "block_count"), ("llama.block_count", ARRAY, (U32, [1]), "block_count"),
            ("llama.embedding_length", U64, 2**60, "embedding_length"),
            ("llama.embedding_length", U32, 0, "embedding_length"), ("llama.embedding_length", U32, 33, "33"),
            ("llama.feed_forward_length", U64, 2**63, "feed_forward_length"),
            (A + "head_count", U32, 0, "head_count"), (A + "head_count", U32, 3, "head_count"),
            (A + "head_count", U32, 64, "head"), (A + "head_count", U32, 2**31, "head_count"),
            (A + "head_count_kv", U32, 3, "head_count_kv"), (A + "head_count_kv", U32, 4, "head_count_kv"),
            (A + "key_length", U32, 2**31, "key_length"), (A + "key_length", U32, 8, "blk.0.attn_q.weight"),
            (A + "value_length", U32, 65537, "value_length"),
            (A + "layer_norm_rms_epsilon", F32, float("nan"), "epsilon"),
            (A + "layer_norm_rms_epsilon", F32, float("inf"), "epsilon"),
            (A + "layer_norm_rms_epsilon", F32, -1.0, "epsilon"), (A + "layer_norm_rms_epsilon", F32, 0.0, "epsilon"),
            (A + "layer_norm_rms_epsilon", U32, 1, "epsilon"),
            ("llama.rope.freq_base", F32, float("nan"), "freq_base"),
            ("llama.rope.freq_base", F32, float("inf"), "freq_base"),
            ("llama.rope.freq_base", F32, -10000.0, "freq_base"), ("llama.rope.freq_base", F64, 1e300, "freq_base"),
            ("llama.rope.dimension_count", U32, 7, "odd"), ("llama.rope.dimension_count", U32, 18, "dimension_count"),
            ("llama.rope.scaling.factor", F32, float("nan"), "factor"),
            ("llama.rope.scaling.type", STRING, "longest", "scaling"),
            ("llama.rope.scaling.type", STRING, "\x1b]0;x\x07\n", "scaling"),
            ("llama.context_length", U32, 0, "context_length"), ("llama.context_length", U64, 2**60, "context_length"),
            ("llama.context_length", U32, 2**31, ""),
            ("llama.expert_count", U32, 8, "expert_used_count"),
            ("llama.expert_count", ARRAY, (U32, []), "expert_count")]:
        shown = repr(data) if len(repr(data)) < 40 else "a million letters"
        model_kind(f"{key} = {shown}", MODEL, contains, meta(key, kind, data))
    for key in ("general.architecture", "llama.block_count", "llama.embedding_length", A + "head_count",
                "llama.context_length", A + "layer_norm_rms_epsilon"):
        model_kind(f"{key} missing", MODEL, key.split(".")[-1], without(key))


# ---- tokenizer ----

def tokenizer_kinds():
    for name, contains, change in [
            ("more scores than tokens", "scores", meta(T + "scores", ARRAY, (F32, [0.0] * 260))),
            ("fewer scores than tokens", "scores", meta(T + "scores", ARRAY, (F32, [0.0]))),
            ("no scores", "scores", meta(T + "scores", ARRAY, (F32, []))),
            ("scores as integers", "array of floats", meta(T + "scores", ARRAY, (U32, [0] * 259))),
            ("fewer token types than tokens", "token_type", meta(T + "token_type", ARRAY, (I32, [1]))),
            ("token types as strings", "token_type", meta(T + "token_type", ARRAY, (STRING, ["a"] * 259))),
            ("tokens as numbers", "array of strings", meta(T + "tokens", ARRAY, (U32, [0] * 259))),
            ("tokens as one string", "array of strings", meta(T + "tokens", STRING, "abc")),
            ("no tokens", "", meta(T + "tokens", ARRAY, (STRING, []))),
            ("special id as a string", "not an integer", meta(T + "bos_token_id", STRING, "1")),
            ("special id as a float", "not an integer", meta(T + "bos_token_id", F32, 1.0)),
            ("special id as an array", "not an integer", meta(T + "bos_token_id", ARRAY, (U32, [1])))]:
        model_kind(name, TOKENIZER, contains, change)
    model_kind("more tokens than embedding rows", MODEL, "269 tokens", lambda f: (
        meta(T + "tokens", ARRAY, (STRING, [f"t{i}" for i in range(269)]))(f), f.metadata.pop(T + "token_type")))

    def pairs(name, contains, change):
        model_kind(name, TOKENIZER, contains, change)

    def pieces(name, contains, change):
        model_kind(name, TOKENIZER, contains, change, tokenizer=add_sentence_pieces)
    pairs("unknown tokenizer", "'wordpiece'", meta(T + "model", STRING, "wordpiece"))
    pairs("tokenizer named with terminal escapes", "not supported", meta(T + "model", STRING, "\x1b[2J\n\r\0\x07"))
    pairs("tokenizer name of a million letters", "not supported", meta(T + "model", STRING, "x" * 10**6))
    pairs("tokenizer name as a number", T + "model", meta(T + "model", U32, 1))
    pairs("unknown pre-tokenizer", "'klingon'", meta(T + "pre", STRING, "klingon"))
    pairs("pre-tokenizer named with terminal escapes", "not supported", meta(T + "pre", STRING, "\x1b]0;x\x07\n"))
    pairs("pre-tokenizer name as a number", T + "pre", meta(T + "pre", U8, 1))
    pairs("no tokenizer", "no tokenizer", without(T + "model"))
    pairs("no merges", "merges", without(T + "merges"))
    pairs("merges as numbers", "merges", meta(T + "merges", ARRAY, (U16, [1])))
    pairs("merge of one symbol", "merge 0", meta(T + "merges", ARRAY, (STRING, ["ab"])))
    pairs("merge of three symbols", "merge 0", meta(T + "merges", ARRAY, (STRING, ["a b c"])))
    pairs("empty merge", "merge 0", meta(T + "merges", ARRAY, (STRING, [""])))
    pairs("merge of terminal escapes", "merge 0", meta(T + "merges", ARRAY, (STRING, ["\x1b[2J\n" * 9])))
    pairs("add_bos_token without a BOS", "add_bos_token", lambda f: (
        meta(T + "add_bos_token", BOOL, 1)(f), f.metadata.pop(T + "bos_token_id")))
    pairs("add_bos_token as a string", "add_bos_token", meta(T + "add_bos_token", STRING, "true"))

    def token(index, spelling, kind=None):
        def change(file):
            file.metadata[T + "tokens"][1][1][index] = spelling
            if kind is not None:
                file.metadata[T + "token_type"][1][1][index] = kind
        return change
    for spelling in ("<0x-1>", "<0x1>", "<0xGG>", "<0x100>", "<0x 1>", "<0x+1>", "", "\x1b[2J\n"):
        pieces(f"byte token spelled {spelling!r}", "token 3", token(3, spelling))
    pieces("two tokens of one byte", "both the byte <0x01>", token(3, "<0x01>"))
    pieces("two tokens of one spelling", "same spelling", token(260, "\u2581"))
    pieces("score that is not a number", "score",
           lambda f: f.metadata[T + "scores"][1][1].__setitem__(262, float("nan")))
    pieces("llama tokenizer without scores", "scores", without(T + "scores"))
    pieces("llama tokenizer without token types", "token_type", without(T + "token_type"))


# ---- split files ----

def split_kinds():
    def shards(change):
        """Three shards; `change` takes the list of files and a dict of what to do with the paths."""
        def make(folder):
            files = [small_model() for _ in range(3)]
            tensors = files[0].tensors
            for number, file in enumerate(files):
                if number > 0:
                    file.metadata = {}
                file.tensors = tensors[number::3]
                file.metadata |= {"split.no": (U16, number), "split.count": (U16, 3),
                                  "split.tensors.count": (I32, len(tensors))}
            paths = [folder / f"m-0000{number + 1}-of-00003.gguf" for number in range(3)]
            opened = change(files)
            for path, file in zip(paths, files):
                if file is not None:
                    path.write_bytes(file.bytes() if hasattr(file, "bytes") and not isinstance(file, bytes) else file)
            return paths[opened or 0]
        return make

    def kind(name, contains, change):
        ALL.append(Kind(name, FILE, contains, shards(change)))
    kind("second shard missing", "m-00002-of-00003.gguf: shard 2 of 3 is missing", lambda f: f.__setitem__(1, None))
    kind("last shard missing", "m-00003-of-00003.gguf: shard 3 of 3 is missing", lambda f: f.__setitem__(2, None))
    kind("second shard opened", "give the first", lambda f: 1)
    kind("shards in the wrong order", "it says that it is shard 3 of 3", lambda f: f.__setitem__(slice(1, 3), f[:0:-1]))
    kind("shard of another split", "shard 2 of 4", lambda f: f[1].metadata.update({"split.count": (U16, 4)}))
    kind("shard of another model", "general.architecture",
         lambda f: f[2].metadata.update({"general.architecture": (STRING, "gemma")}))
    kind("whole model as second shard", "it is not a shard", lambda f: f.__setitem__(1, small_model()))
    kind("shard of another number of tensors", "split.tensors.count is 9",
         lambda f: f[1].metadata.update({"split.tensors.count": (I32, 9)}))
    kind("tensor in two shards", "more than one shard", lambda f: setattr(f[1].tensors[0], "name", "token_embd.weight"))
    kind("tensor of no shard", "the 3 shards hold 10 tensors", lambda f: f[1].tensors.pop() and None)
    kind("second shard empty", "empty", lambda f: f.__setitem__(1, b""))
    kind("second shard an HTML page", "HTML", lambda f: f.__setitem__(1, b"<!doctype html>"))
    kind("second shard truncated", "m-00002-of-00003.gguf: truncated", lambda f: f.__setitem__(1, f[1].bytes()[:-32]))
    kind("65536 shards", "the limit is 65535", lambda f: f[0].metadata.update({"split.count": (U32, 65536)}))
    kind("shard number beyond the count", "split.no is 3", lambda f: f[0].metadata.update({"split.no": (U16, 3)}))
    kind("shard without a number", "split.no is missing", lambda f: f[0].metadata.pop("split.no") and None)


# ---- chat templates ----

def template_kinds():
    def kind(name, source, contains="template"):
        model_kind(name, TEMPLATE, contains, meta("tokenizer.chat_template", STRING, source))
    model_kind("no chat template", TEMPLATE, "no chat template", without("tokenizer.chat_template"))
    model_kind("chat template as a number", TEMPLATE, "chat_template", meta("tokenizer.chat_template", U32, 1))
    for count, contains in ((1, "\\x1b"), (99999, "no chat template")):
        model_kind(f"{count} named templates with terminal escapes", TEMPLATE, contains, lambda f, count=count: (
            f.metadata.pop("tokenizer.chat_template"),
            [meta(f"tokenizer.chat_template.\x1b[2J\n{i}", STRING, "x")(f) for i in range(count)]))
    kind("template that does not end a tag", "{% if x")
    kind("template that does not end a block", "{% for m in messages %}x")
    kind("template with an unknown tag", "{% fly %}")
    kind("template with an unknown filter", "{{ 'a' | fly }}")
    kind("template with an unknown function", "{{ fly() }}", "fly")
    kind("template that includes a file", "{% include '/etc/passwd' %}")
    kind("template that imports", "{% import 'os' as os %}")
    kind("template that asks for Python's classes", "{{ ''.__class__.__mro__[1].__subclasses__() }}", "")
    kind("template that asks for globals", "{{ range.__init__.__globals__.os.popen('id').read() }}", "")
    kind("template that divides by zero", "{{ 1 // 0 }}")
    kind("template that raises", "{{ raise_exception('no \x1b[2J\n way') }}", "no ")
    kind("template with four nested loops",
         "".join(f"{{% for {v} in range(10000) %}}" for v in "abcd") + "x" + "{% endfor %}" * 4)
    kind("template with a range of 10^12", "{% for i in range(1000000000000) %}x{% endfor %}")
    kind("template that repeats a string 10^12 times", "{{ 'abcdefgh' * 1000000000000 }}")
    kind("template that doubles a string", "{% set ns = namespace(s='x') %}{% for i in range(99) %}"
         "{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}")
    kind("template that doubles a list", "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}"
         "{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}")
    kind("template that replaces without end", "{% set ns = namespace(s='aa') %}{% for i in range(99) %}"
         "{% set ns.s = ns.s | replace('a', 'aa') %}{% endfor %}{{ ns.s }}")
    kind("template whose macro calls itself", "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}")
    kind("template whose loop calls itself", "{% for m in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}")
    kind("template of 100000 parentheses", "{{ " + "(" * 100000 + "1" + ")" * 100000 + " }}")
    kind("template of 100000 brackets", "{{ " + "[" * 100000 + "]" * 100000 + " }}")
    kind("template of 100000 nots", "{{ " + "not " * 100000 + "1 }}")
    kind("template of 100000 minuses", "{{ " + "-" * 100000 + "1 }}")
    kind("template of 100000 blocks", "{% if 1 %}" * 100000 + "{% endif %}" * 100000)
    kind("template of 100000 filters", "{{ 'a'" + " | trim" * 100000 + " }}")
    kind("template of 100000 sums", "{{ 1" + " + 1" * 100000 + " }}")
    kind("template that pads to 10^9 columns", "{{ '%999999999d' | format(1) }}")
    kind("template with a filter that is not supported", "{{ 'a' | wordwrap }}", "the filter 'wordwrap' is not supported")
    kind("template that indents by 10^9", "{{ 'a\nb' | indent(1000000000, first=true) }}")
    kind("template that raises to a high power", "{{ 9 ** 9 ** 9 ** 9 }}")
    kind("template of a 16 MiB text", "x" * (2**24 - 1))
    kind("template of 4 MiB of blocks", "{%if 1%}" * (2**19 - 9))
    kind("template of 4 MiB of names", "{{" + "a " * (2**21 - 9))
    kind("template that fills memory with lists", "{% set ns = namespace(s=[]) %}{% for i in range(100000) %}"
         "{% set ns.s = [ns.s, range(90000) | list] %}{% endfor %}{{ ns.s }}")
    kind("template that fills memory with strings", "{% set ns = namespace(s=[]) %}{% for i in range(100000) %}"
         "{% set ns.s = [ns.s, 'a' * 16000000] %}{% endfor %}")
    kind("template that prints without end", "{% for i in range(100000) %}{{ 'a' * 1000000 }}{% endfor %}")


for make_kinds in (other_kinds, cut_kinds, count_kinds, tensor_kinds, parameter_kinds, tokenizer_kinds, split_kinds,
                   template_kinds):
    make_kinds()
