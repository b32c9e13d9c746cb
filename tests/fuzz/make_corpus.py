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
             "{{ 'x'.upper().strip('Y') | trim | replace('X', 'y') }}", "{% call(x) m() %}{{ x }}{% endcall %}", "{{ ((((1)))) }}"]
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
def safetensors_file(metadata, tensors):
    """tensors: {name: (dtype, shape, bytes)}"""
    header, data = {"__metadata__": metadata}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def floats(*values, kind="f"):
    return struct.pack(f"<{len(values)}{kind}", *values)


def trace():
    row = ("F32", [2, 2], floats(1, 2, 3, float("nan")))
    plain = {"tokens": "[1, 2]", "engine": "x", "content": "values"}
    write("trace", "values", safetensors_file(plain, {"000000.embd": row, "000001.blk.0.q": row, "logits": row}))
    write("trace", "foreign", safetensors_file(plain, {"000000.Qcur-0.ROPE": row, "000001.kq-0.MUL_MAT": row, "x": row,
                                                       "000002.ffn_out-0.MUL_MAT": ("F16", [2, 1, 2], bytes(8))}))
    lines = floats(*[-1, 1, 0, 0.5, 1, 0, 0, 4] * 2, kind="d")
    write("trace", "statistics", safetensors_file({"tokens": "[1,2]", "content": "statistics"},
                                                  {"000000.embd": ("F64", [2, 8], lines)}))
    steps = [{"tokens": [1, 2], "selected": [1]}, {"tokens": [3], "positions": [2]}]
    write("trace", "steps", safetensors_file({"steps": json.dumps(steps), "order": "[1,1]"},
                                             {"000000.embd": row, "000001.embd": ("BF16", [1, 2], bytes(4))}))
    write("trace", "nested", safetensors_file({"tokens": "[" * 400}, {}))
    write("trace", "twice", safetensors_file({"tokens": "[1, 2]"}, {"000000.embd": row, "000001.embd": row}))


def case():
    def operation(kind, tensors, width, heads=0, **metadata):
        number = {"kind": kind, "name": "blk.0.x", "layer": 0, "eps": 1e-5, "heads": heads, "factor": 1.0}
        coding = {"kind": "exact", "block": 32, "rounding": "even_of_product", "scale_is_f16": False, "sums": "codes",
                  "products_are_f16": False, "offset_meets_sums": False}
        arithmetic = {"own": True, "f16_attention": False, "f16_scores": False, "f16_cache": True,
                      "goes_on_in_f64": False}
        first = {"token": 0, "row": 0, "error_u": None, "limit_u": 4, "count": 1, "of": 2 * width}
        base = {"format": "assay.case/1", "engine": "x", "contract": "assay/1", "version": "", "step": "0", "tokens": "[3,5]",
                "positions": "[0,1]", "selected": "[0,1]", "operation": json.dumps(number), "coding": json.dumps(coding),
                "arithmetic": json.dumps(arithmetic), "first": json.dumps(first)}
        zeros = ("F64", [2, width], bytes(16 * width))
        tensors = {**tensors, "output": ("F32", [2, width], floats(*range(2 * width))), "expected": zeros, "allowed": zeros}
        write("case", kind, safetensors_file({**base, **{k: json.dumps(v) for k, v in metadata.items()}}, tensors))

    def table(rows, width):
        return "F32", [rows, width], floats(*[i % 7 - 3 for i in range(rows * width)])

    def weight(kind, columns, rows):
        return {"name": "w", "type": kind, "columns": columns, "rows": rows}

    heads = {"heads": 2, "kv_heads": 1, "key_dim": 2, "value_dim": 2, "scale": 0.5}
    rows = ("I64", [2], floats(3, 5, kind="q"))
    operation("embed", {"weight": ("U8", [2, 8], floats(1, 2, 3, 4)), "rows": rows}, 2, weight=weight("F32", 2, 9))
    operation("rms_norm", {"input.0": table(2, 2), "weight": ("U8", [1, 8], floats(1, 2))}, 2, weight=weight("F32", 2, 1))
    operation("matmul", {"input.0": table(2, 32), "weight": ("U8", [2, 34], bytes(range(68))), "rows": rows,
                         "bias": ("U8", [1, 8], floats(1, 2))}, 2, weight=weight("Q8_0", 32, 9))
    operation("rope", {"input.0": table(2, 4), "rope.frequency": ("F64", [1, 1], floats(1, kind="d"))}, 4, heads=2,
              rope={"dimensions": 2, "adjacent": True, "magnitude": 1.0})
    operation("kv_store", {"input.0": table(2, 2), "input.1": table(2, 2)}, 4, attention=heads)
    operation("attention", {"input.0": table(2, 4), "cache.keys": table(2, 2), "cache.values": table(2, 2)}, 4, attention=heads)
    operation("add", {"input.0": table(2, 2), "input.1": table(2, 2)}, 2)
    operation("select_rows", {"input.0": table(2, 2)}, 2)


def dictionaries():
    def entry(text):
        return '"' + "".join(f"\\x{b:02x}" for b in text) + '"\n'

    file = small_gguf.small_model()
    words = [k.encode() for k in file.metadata] + [t.name.encode() for t in file.tensors]
    words += [b"llama", b"gpt2", b"tokenizer.ggml.add_space_prefix", b"split.count", b"split.no", b"default"]
    (HERE / "gguf.dict").write_text("".join(entry(struct.pack("<Q", len(w)) + w) for w in words))
    jinja = ("{{ }} {% %} {%- -%} {# #} if elif else endif for in endfor recursive set endset macro endmacro call endcall "
             "filter endfilter with endwith raw endraw generation endgeneration break continue namespace( range( loop. not and or is "
             "defined none true false tojson join map( select( selectattr( rejectattr( sort unique "
             "replace( indent( format( default( | ** // ~ == != <= >= [::-1] .split( .strip( .items() .get( raise_exception( "
             "strftime_now( dict( dict.fromkeys( messages role content add_generation_prompt bos_token").split()
    (HERE / "template.dict").write_text("".join(entry(w.encode()) for w in jinja))
    header = "dtype shape data_offsets __metadata__ F32 F16 BF16 I32 U8 BOOL".split()
    (HERE / "safetensors.dict").write_text("".join(entry(f'"{w}"'.encode()) for w in header))
    literals = "'descr': 'fortran_order': 'shape': True False '<f4' '<f8' '|u1' () (1,)".split()
    (HERE / "npy.dict").write_text("".join(entry(w.encode()) for w in literals))
    (HERE / "trace.dict").write_text("".join(entry(w.encode()) for w in (
        "tokens steps positions selected order content statistics 000000. embd blk.0.q logits Qcur-0 ROPE MUL_MAT F64").split()))
    (HERE / "case.dict").write_text("".join(entry(w.encode()) for w in (
        "embed rms_norm matmul rope kv_store attention swiglu add scale select_rows integers f16 bf16 exact signed_maximum "
        "values_f16 Q4_1 Q4_K Q6_K F16 F32 true false null input.0 input.1 cache.keys rows bias F64 I64 U8").split()))
    (HERE / "tokenizer.dict").write_text("".join(entry(w) for w in (b"<0x0A>", b"\xe2\x96\x81", b"<|x|>", b"'s", b"\r\n",
                                                                   b"\xcc\x81", b"\xe4\xbd\xa0", b"\xf0\x9f\x98\x80")))


for make in (gguf, tokenizer, template, safetensors, npy, trace, case, dictionaries):
    make()
