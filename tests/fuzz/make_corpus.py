#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets into tests/fuzz/corpus: small files that are right, and a few that are not."""
import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "hostile"))
import small_gguf

CORPUS = HERE / "corpus"


def write(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def gguf():
    def tiny(tokenizer):
        file = small_gguf.small_model(tokenizer)
        for tensor in file.tensors:  # F32 of width 8 keeps a seed at some kilobytes
            tensor.kind = 0
            tensor.dims = [8 if d in (16, 32) else d for d in tensor.dims]
        file.metadata["llama.embedding_length"] = (small_gguf.U32, 8)
        file.metadata["llama.feed_forward_length"] = (small_gguf.U32, 8)
        file.metadata["llama.attention.head_count_kv"] = (small_gguf.U32, 2)
        return file

    write("gguf", "byte_pairs", tiny(small_gguf.add_byte_pairs).bytes())
    write("gguf", "sentence_pieces", tiny(small_gguf.add_sentence_pieces).bytes())
    no_tensors = tiny(small_gguf.add_byte_pairs)
    no_tensors.tensors = []
    write("gguf", "no_tensors", no_tensors.bytes())
    kinds = small_gguf.Gguf()
    for kind in range(13):
        if kind in (small_gguf.STRING, small_gguf.ARRAY):
            continue
        kinds.metadata[f"k{kind}"] = (kind, 1)
        kinds.metadata[f"a{kind}"] = (small_gguf.ARRAY, (kind, [0, 1]))
    kinds.metadata["s"] = (small_gguf.STRING, "text")
    kinds.metadata["as"] = (small_gguf.ARRAY, (small_gguf.STRING, ["", "x"]))
    kinds.tensors = [small_gguf.Tensor(f"t{n}", [32] * n, 0) for n in (1, 2)]
    write("gguf", "kinds", kinds.bytes())
    write("gguf", "html", "<!DOCTYPE html><html></html>")
    write("gguf", "big_endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0))


def tokenizer():
    vocabulary = "ab1\nabc1\n\ta b\n\tab c\n<|x|>4\n<|y|>3\n\xe2\x96\x81a1\n"
    texts = ["abc <|x|> ab", "It's 1234 o'clock,\n\n  don't!\t\tx", "\u4f60\u597d \u00e9\u0301 \U0001f600\u200d", " " * 40,
             "a" * 60]
    for choice in range(34):
        head = vocabulary.encode("latin-1")
        text = texts[choice % len(texts)].encode()
        cut = 255 * len(head) // (len(head) + len(text)) + 1
        write("tokenizer", f"{choice:02}", bytes([choice * 7 % 256 if choice > 31 else choice, min(cut, 255)]) + head + text)


def template():
    for path in sorted((HERE.parent / "jinja" / "templates").glob("*.jinja")):
        write("template", path.stem, path.read_bytes() + b"\0hello")
    small = ["{{ messages }}", "{% for i in range(3) %}{{ loop.index }}{% endfor %}", "{{ 'a' * 1000 }}{{ [1,2][::-1] }}",
             "{% macro f(x, y=2) %}{{ x ~ y }}{% endmacro %}{{ f(1) }}", "{% set ns = namespace(a=1) %}{{ ns.a + 2 ** 3 // 2 }}",
             "{{ messages | tojson(indent=2) }}", "{{ raise_exception('no') }}", "{%- if x is defined -%}a{%- else -%}b{%- endif -%}",
             "{{ 'x'.upper().center(9) | trim | replace('X', 'y') }}", "{% call(x) m() %}{{ x }}{% endcall %}", "{{ ((((1)))) }}"]
    for index, text in enumerate(small):
        write("template", f"small_{index:02}", text.encode() + b"\0hi <b>")


def safetensors():
    def file(header, data=b""):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data

    tensors = {"__metadata__": {"engine": "x", "tokens": "[1, 2]"},
               "000000.embd": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
               "half": {"dtype": "F16", "shape": [3], "data_offsets": [16, 22]},
               "brain": {"dtype": "BF16", "shape": [], "data_offsets": [22, 24]},
               "empty": {"dtype": "I64", "shape": [0, 4], "data_offsets": [24, 24]},
               "ids": {"dtype": "I32", "shape": [1], "data_offsets": [24, 28]}}
    write("safetensors", "whole", file(tensors, bytes(range(28))))
    write("safetensors", "none", file({}))
    write("safetensors", "deep", file(b"[" * 200))
    write("safetensors", "hole", file({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}, b"ab"))
    write("safetensors", "wrap", file({"a": {"dtype": "F64", "shape": [1 << 62, 8], "data_offsets": [0, 0]}}))


def npy():
    def file(version, descr, shape, data=b"", fortran=False):
        text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
        length = struct.pack("<H" if version == 1 else "<I", len(text))
        return b"\x93NUMPY" + bytes([version, 0]) + length + text + data

    for name, descr, size in (("f4", "<f4", 4), ("f8", "<f8", 8), ("f2", "<f2", 2), ("i4", "<i4", 4), ("i8", "<i8", 8), ("u1", "|u1", 1)):
        write("npy", name, file(1, descr, "(2, 3)", bytes(range(6 * size))))
    write("npy", "fortran", file(2, "<f4", "(2, 1, 3)", bytes(24), fortran=True))
    write("npy", "scalar", file(3, "<f4", "()", bytes(4)))
    write("npy", "wrap", file(1, "<f4", "(4611686018427387904,)"))
    write("npy", "structured", file(1, "<f4", "(1,)").replace(b"'<f4'", b"[('a', '<f4')]"))


def dictionaries():
    def entry(text):
        return '"' + "".join(f"\\x{b:02x}" for b in text) + '"\n'

    file = small_gguf.small_model()
    words = [k.encode() for k in file.metadata] + [t.name.encode() for t in file.tensors]
    words += [b"llama", b"gpt2", b"tokenizer.ggml.add_space_prefix", b"split.count", b"split.no", b"default"]
    (HERE / "gguf.dict").write_text("".join(entry(struct.pack("<Q", len(w)) + w) for w in words))
    jinja = ("{{ }} {% %} {%- -%} {# #} if elif else endif for in endfor recursive set endset macro endmacro call endcall "
             "filter endfilter with endwith raw endraw generation endgeneration break continue namespace( range( loop. not and or is "
             "defined none true false tojson join map( select( selectattr( rejectattr( sort groupby( unique batch( slice( "
             "replace( indent( format( default( | ** // ~ == != <= >= [::-1] .split( .strip( .items() .get( raise_exception( "
             "strftime_now( dict( cycler( joiner( messages role content add_generation_prompt bos_token").split()
    (HERE / "template.dict").write_text("".join(entry(w.encode()) for w in jinja))
    header = "dtype shape data_offsets __metadata__ F32 F16 BF16 I32 U8 BOOL".split()
    (HERE / "safetensors.dict").write_text("".join(entry(f'"{w}"'.encode()) for w in header))
    literals = "'descr': 'fortran_order': 'shape': True False '<f4' '<f8' '|u1' () (1,)".split()
    (HERE / "npy.dict").write_text("".join(entry(w.encode()) for w in literals))
    (HERE / "tokenizer.dict").write_text("".join(entry(w) for w in (b"<0x0A>", b"\xe2\x96\x81", b"<|x|>", b"'s", b"\r\n",
                                                                   b"\xcc\x81", b"\xe4\xbd\xa0", b"\xf0\x9f\x98\x80")))


for make in (gguf, tokenizer, template, safetensors, npy, dictionaries):
    make()
