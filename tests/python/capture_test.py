"""The Python package: traces written and read, captures where the engines are installed."""
import contextlib
import hashlib
import io
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
KJV = ROOT / "tests/data/kjv/kjv.gguf"
TRACES = ROOT / "tests/data/traces"
EXAMPLES = ROOT / "python/examples"
LAYERS, HEADS, KV_HEADS, DIM = 6, 4, 2, 64  # of kjv.gguf
TEXT, TOKENS = "And God said, Let there be", [1, 300, 391, 394, 1991, 948, 388, 298]
OF_A_LAYER = {"attn_norm", "q", "k", "v", "q_rope", "k_rope", "kqv", "attn_out", "attn_residual", "ffn_norm", "gate",
              "up", "act", "down", "out"}

sys.path.insert(0, str(ROOT / "python"))
from assay import capture, ggml, llama_cpp_engine, model_file, module_names, trace, transformers_engine  # noqa: E402
from assay.captured import CaptureError, difference  # noqa: E402

try:
    llama_cpp_engine.load_bindings()
    NO_LLAMA_CPP = ""
except CaptureError as why:
    NO_LLAMA_CPP = str(why)
try:
    import torch  # noqa: F401
    import transformers  # noqa: F401
    NO_TRANSFORMERS = ""
except ImportError as why:
    NO_TRANSFORMERS = f"transformers cannot be imported: {why}"

# What the operations of kjv.gguf's graph in llama.cpp are; the layers' number follows a dash.
OF_LLAMA_CPP = {"attn_norm.MUL": "attn_norm", "Qcur.MUL_MAT": "q", "Kcur.MUL_MAT": "k", "Vcur.MUL_MAT": "v",
                "Qcur.ROPE": "q_rope", "Kcur.ROPE": "k_rope", "kqv_out.RESHAPE": "kqv", "kqv_out.CONT": "kqv",
                "kq.MUL_MAT": "kq", "kq_soft_max.SOFT_MAX": "kq_soft", "attn_out.MUL_MAT": "attn_out",
                "ffn_inp.ADD": "attn_residual", "ffn_norm.MUL": "ffn_norm", "ffn_gate.MUL_MAT": "gate",
                "ffn_up.MUL_MAT": "up", "ffn_swiglu.GLU": "act", "ffn_out.MUL_MAT": "down", "l_out.ADD": "out"}
OF_THE_WHOLE = {"embd.GET_ROWS": "embd", "result_norm.MUL": "out_norm", "result_output.MUL_MAT": "logits"}
INNER = {"norm.RMS_NORM", "kqv.MUL_MAT"}  # steps inside operations


def canonical(test, raw, positions):
    """A step of kjv.gguf by llama.cpp, {canonical name: (tokens, width)}; kq scaled, cells beyond the keys cut off."""
    named, keys = {}, positions[-1] + 1
    for key, array in raw.items():
        name, operation = key.rsplit(".", 1)
        base, _, layer = name.partition("-")
        test.assertEqual(array.ndim, 4, key)
        selects_rows = operation == "GET_ROWS" and name.startswith("node_")  # those whose logits are wanted: all
        if selects_rows or operation == "FLASH_ATTN_EXT" or f"{base}.{operation}" in INNER:
            continue
        inner = (OF_LLAMA_CPP if layer else OF_THE_WHOLE).get(f"{base}.{operation}")
        test.assertIsNotNone(inner, key)
        if inner in ("kq", "kq_soft"):
            if inner == "kq_soft":
                test.assertFalse(array[..., keys:].any())
            array = (array[..., :keys] / (numpy.float32(8) if inner == "kq" else 1)).swapaxes(1, 2)
        named[f"blk.{layer}.{inner}" if layer else inner] = array.reshape(len(positions), -1)
    return named


def every_name(layers, scores):
    inner = OF_A_LAYER | ({"kq", "kq_soft"} if scores else set())
    return {"embd", "out_norm", "logits"} | {f"blk.{i}.{name}" for i in range(layers) for name in inner}


class InFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.path = self.folder / "x.safetensors"

    def run_main(self, *arguments):
        """(exit code, stderr) of the command line."""
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            code = capture.main([str(argument) for argument in arguments])
        return code, errors.getvalue()


class WriterAndReader(InFolder):
    def write_two(self):
        writer = trace.TraceWriter("engine 1", tokens=[5, 7], contract="f32", kv=None, threads=2)
        self.embd = numpy.array([[1, -0.0, numpy.inf], [numpy.nan, 1e-45, 3]], "<f4")
        self.logits = numpy.arange(8, dtype="<f8").reshape(2, 4)
        writer.add("embd", self.embd)
        writer.add("blk.0.q", self.embd.astype("<f2"))
        writer.add("logits", self.logits)
        writer.write(self.path)

    def test_what_was_written_is_read_bit_for_bit(self):
        self.write_two()
        one = trace.read(self.path)
        self.assertEqual(one.metadata, {"format": "assay.trace/1", "engine": "engine 1", "tokens": "[5, 7]",
                                        "contract": "f32", "threads": "2"})
        self.assertEqual(list(one.tensors), ["000000.embd", "000001.blk.0.q", "000002.logits"])
        self.assertEqual(one.tensors["000000.embd"].tobytes(), self.embd.tobytes())
        self.assertEqual(one.tensors["000001.blk.0.q"].dtype, numpy.float16)
        self.assertEqual(one.of_step()["logits"].tolist(), self.logits.tolist())
        self.assertEqual(one.steps(), [{"tokens": [5, 7], "positions": [0, 1], "selected": [0, 1]}])

    def test_the_bytes_are_those_of_safetensors(self):
        self.write_two()
        data = self.path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8:8 + length])
        self.assertEqual(length % 8, 0)  # the values are aligned
        self.assertEqual(header["000000.embd"], {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]})
        self.assertEqual(header["000002.logits"]["data_offsets"], [36, 100])  # 24 + 6 f16, then 8 f64
        self.assertEqual(len(data), 8 + length + 100)

    def test_the_callers_array_may_change_after_add(self):
        writer = trace.TraceWriter("e", tokens=[1])
        array = numpy.ones((1, 2), "<f4")
        writer.add("embd", array)
        array[:] = 9
        writer.write(self.path)
        self.assertEqual(trace.read(self.path).of_step()["embd"].tolist(), [[1, 1]])

    def test_views_are_written_in_their_own_order(self):
        writer = trace.TraceWriter("e", tokens=[1, 2, 3])
        writer.add("embd", numpy.arange(6, dtype=">f4").reshape(2, 3).T)
        writer.write(self.path)
        self.assertEqual(trace.read(self.path).of_step()["embd"].tolist(), [[0, 3], [1, 4], [2, 5]])

    def test_steps_of_unequal_length(self):
        writer = trace.TraceWriter("e", steps=[{"tokens": [4, 5]}, {"tokens": [6], "positions": [9]}, {"tokens": [7]}])
        for step, names in enumerate((["embd", "logits"], ["embd"], ["embd", "x", "logits"])):
            for name in names:
                writer.add(name, numpy.full((1, 1), step, "<f4"), step)
        writer.write(self.path)
        one = trace.read(self.path)
        self.assertEqual(one.metadata["order"], "[2, 1, 3]")
        self.assertEqual([step["positions"] for step in one.steps()], [[0, 1], [9], [10]])
        self.assertEqual(list(one.of_step(2)), ["embd", "x", "logits"])
        self.assertEqual(one.of_step(2)["embd"].item(), 2)

    def test_a_failed_write_leaves_the_old_file_and_nothing_else(self):
        self.path.write_bytes(b"old")
        writer = trace.TraceWriter("e", tokens=[1])
        with unittest.mock.patch("os.replace", side_effect=OSError("full")), self.assertRaises(OSError):
            writer.write(self.path)
        self.assertEqual(self.path.read_bytes(), b"old")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["x.safetensors"])

    def test_what_is_no_trace_is_refused(self):
        for arguments in ({}, {"tokens": [1], "steps": []}, {"tokens": []}, {"steps": []}, {"steps": [{"tokens": []}]}):
            with self.assertRaises(trace.TraceError, msg=str(arguments)):
                trace.TraceWriter("e", **arguments)
        writer = trace.TraceWriter("e", steps=[{"tokens": [1]}, {"tokens": [2]}])
        one = numpy.ones((1, 1), "<f4")
        writer.add("embd", one, 1)
        for array, step in ((one, 0), (one, 2), (one, -1), (one.astype("<i4"), 1), (one[:0], 1), (numpy.float32(1), 1)):
            with self.assertRaises(trace.TraceError, msg=f"{array} {step}"):
                writer.add("x", array, step)

    def test_damaged_files_are_refused(self):
        self.write_two()
        data = self.path.read_bytes()
        for length in range(len(data)):
            self.path.write_bytes(data[:length])
            with self.assertRaises(trace.TraceError, msg=f"{length} bytes"):
                trace.read(self.path)
        for old, new in ((b"[36,100]", b"[36,108]"), (b"[36,100]", b"[-4, 60]"), (b"[2,4]", b"[2,5]"), (b"F64", b"F99"),
                         (b"[2,4]", b"[-2,-4]"), (b"[2,4]", b'["2"]'), (b"{", b"[")):
            self.assertIn(old, data)
            damaged = data.replace(old, new, 1)
            damaged = (len(damaged) - 108).to_bytes(8, "little") + damaged[8:]  # 8 + 100 bytes are no header
            self.path.write_bytes(damaged)
            with self.assertRaises(trace.TraceError, msg=str(new)):
                trace.read(self.path)

    def test_bf16_comes_as_float32(self):
        header = json.dumps({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
        self.path.write_bytes(len(header).to_bytes(8, "little") + header + bytes([0x80, 0x3F, 0x20, 0xC0]))
        self.assertEqual(trace.read(self.path).tensors["a"].tolist(), [1.0, -2.5])  # 0x3F80, 0xC020

    def test_without_tokens_there_are_no_steps(self):
        for metadata in ({}, {"tokens": "["}, {"steps": '[{"tokens": []}]'}, {"steps": "[{}]"}):
            with self.assertRaises(trace.TraceError, msg=str(metadata)):
                trace.Trace(metadata, {}).steps()


class Small(InFolder):
    def test_a_split_models_hash_is_of_all_its_bytes(self):
        for i, content in enumerate((b"one", b"two"), 1):
            (self.folder / f"m-0000{i}-of-00002.gguf").write_bytes(content)
        first = self.folder / "m-00001-of-00002.gguf"
        self.assertEqual(model_file.sha256(first), hashlib.sha256(b"onetwo").hexdigest())
        (self.folder / "m-00002-of-00002.gguf").unlink()
        with self.assertRaises(OSError):
            model_file.sha256(first)

    def test_lanes_go_to_the_files_order(self):
        # Two heads of four lanes: i -> 2i, i + 2 -> 2i + 1.
        self.assertEqual(module_names.neighbours(numpy.arange(8).reshape(1, 8), 4).tolist(),
                         [[0, 2, 1, 3, 4, 6, 5, 7]])

    def test_one_bit_of_one_logit_is_an_observer_effect(self):
        logits = [numpy.array([[1, 2]], "<f4")]
        other = [numpy.array([[1, numpy.nextafter(numpy.float32(2), numpy.float32(3))]], "<f4")]
        self.assertEqual(difference(logits, [logits[0].copy()]), "none")
        self.assertEqual(difference(logits, other), "logits differ by up to 2.38e-07 when observed")  # 2^-22
        self.assertEqual(difference([numpy.full(2, numpy.nan)], [numpy.full(2, numpy.nan)]), "none")
        self.assertIn("nan", difference([numpy.array([numpy.nan])], [numpy.array([1.0])]))

    def test_the_contract_is_that_of_the_products_backend(self):
        for buffers, wanted in (({"CPU"}, ("CPU", "ggml-cpu")), ({"CUDA0", "CUDA1"}, ("CUDA", "ggml-cuda")),
                                ({"CUDA_Host"}, ("CPU", "ggml-cpu")), ({"CUDA0", "CPU"}, ("CPU+CUDA", None)),
                                ({"Metal"}, ("Metal", None))):
            self.assertEqual(llama_cpp_engine.backend_of(buffers), wanted)

    def test_unnamed_nodes_are_called_by_their_weights(self):
        recorder = llama_cpp_engine.Recorder(None, 4, False)
        kept = []  # what the structures point to

        def node(operation, *sources, name=b"node_7"):
            tensor = ggml.Tensor(name=name)
            for i, source in enumerate(sources):
                tensor.src[i] = ggml.ctypes.pointer(source)
            kept.append(tensor)
            return recorder._name_of(ggml.ctypes.addressof(tensor), tensor, name.decode(), operation), tensor

        def leaf(name):
            kept.append(ggml.Tensor(name=name))
            return kept[-1]

        x = leaf(b"ffn_norm-1")
        for weight, wanted in ((b"attn_q", "Qcur-1"), (b"attn_qkv", "wqkv-1"), (b"ffn_down", "ffn_down-1")):
            name, product = node("MUL_MAT", leaf(b"blk.1.%s.weight" % weight), x)
            self.assertEqual(name, wanted)
            name, scaled = node("MUL", product, leaf(b"blk.1.%s.scale" % weight))
            self.assertEqual(name, wanted)
            self.assertEqual(node("ADD", scaled, leaf(b"CUDA0#blk.1.%s.bias#0" % weight))[0], wanted)
        _, product = node("MUL_MAT", leaf(b"blk.12.attn_output.weight"), x)
        rows = node("GET_ROWS", product, leaf(b"inp_out_ids"))[1]
        self.assertEqual(node("ADD", rows, x)[0], "ffn_inp-12")
        self.assertEqual(node("MUL_MAT", leaf(b"token_embd.weight"), x)[0], "result_output_no_bias")
        self.assertEqual(node("MUL_MAT", leaf(b"blk.1.ffn_up.weight"), x, name=b"ffn_up-1")[0], "ffn_up-1")
        self.assertEqual(node("ADD", x, leaf(b"something"))[0], "node_7")

    def test_known_models_have_the_names_of_the_command_line(self):
        source = (ROOT / "cli/common.cpp").read_text()
        for name, file in model_file.KNOWN.items():
            self.assertIn(f'{{"{name}", "{file}"}}', source)
        file = self.folder / "models" / next(iter(model_file.KNOWN)) / next(iter(model_file.KNOWN.values()))
        with unittest.mock.patch.dict("os.environ", {"ASSAY_CACHE": str(self.folder)}):
            self.refused("'make model' fetches it", "llama_cpp", next(iter(model_file.KNOWN)), "--tokens", "1")
            file.parent.mkdir(parents=True)
            file.write_bytes(b"")
            self.assertEqual(model_file.resolve(next(iter(model_file.KNOWN))), file)

    def test_a_text_that_is_not_utf8_reaches_llama_cpp_as_it_is(self):
        seen = []

        class Bindings:
            llama_token = ggml.ctypes.c_int32

            def llama_tokenize(self, _, data, length, ids, *rest):
                seen.append((data, length))
                return 0

        model = llama_cpp_engine.Model.__new__(llama_cpp_engine.Model)
        model.bindings, model.vocabulary = Bindings(), None
        model.tokenize("caf\udce9", True)  # b"caf\xe9" as Python has it from a command line
        self.assertEqual(seen, [(b"caf\xe9", 4)])

    def refused(self, contains, *arguments):
        code, errors = self.run_main(*arguments, "-o", self.path)
        self.assertEqual(code, 2, errors)
        self.assertEqual(len(errors.strip().splitlines()), 1, errors)
        self.assertIn(contains, errors)
        self.assertFalse(self.path.exists())

    def test_what_cannot_be_captured_exits_2_with_a_sentence(self):
        self.refused("no known model of that name", "llama_cpp", self.folder / "none.gguf", "--tokens", "1")
        with unittest.mock.patch.dict(sys.modules, {"llama_cpp": None}):
            self.refused("pip install llama-cpp-python==0.3.36", "llama_cpp", KJV, "--tokens", "1")
        with unittest.mock.patch.dict(sys.modules, {"torch": None}):
            self.refused("pip install torch transformers gguf accelerate", "transformers", KJV, "--tokens", "1")

    def test_usage_errors_exit_2(self):
        for arguments in ([], ["vllm"], ["llama_cpp", KJV, "-o", "x"], ["llama_cpp", KJV, "--tokens", "a", "-o", "x"],
                          ["llama_cpp", KJV, "--tokens", "1", "-p", "x", "-o", "x"],
                          ["llama_cpp", KJV, "--tokens", "1", "--only", "blk.*.out,", "-o", "x"]):
            with self.assertRaises(SystemExit) as stopped:
                self.run_main(*arguments)
            self.assertEqual(stopped.exception.code, 2)


class OneStep(unittest.TestCase):
    """What holds between the tensors of any right trace of kjv.gguf, whatever its weights."""

    def check_whole(self, tensors, positions, past, scores):
        """`past`: [(k_rope, v)] of each layer's earlier steps; this step's are appended."""
        self.assertEqual(set(tensors), every_name(LAYERS, scores))
        before, rows = "embd", len(positions)
        for i in range(LAYERS):
            layer = {name: tensors[f"blk.{i}.{name}"] for name in OF_A_LAYER}
            self.assertTrue(numpy.isfinite(layer["out"]).all())
            # One f32 addition each.
            self.assert_bits(layer["attn_residual"], tensors[before] + layer["attn_out"])
            self.assert_bits(layer["out"], layer["attn_residual"] + layer["down"])
            self.assert_near(layer["act"], layer["gate"] / (1 + numpy.exp(-layer["gate"].astype("f8"))) * layer["up"])
            for name, heads in (("q", HEADS), ("k", KV_HEADS)):
                self.assert_near(layer[f"{name}_rope"], rotated(layer[name].astype("f8"), heads, positions))
            past[i] = tuple(numpy.concatenate(pair) for pair in zip(past[i], (layer["k_rope"], layer["v"])))
            if scores:
                self.check_scores(tensors, i, positions, *past[i])
            before = f"blk.{i}.out"
        self.assertEqual(tensors["logits"].shape, (rows, 2048))

    def check_scores(self, tensors, i, positions, k, v):
        rows, keys = len(positions), len(k)
        q, kq, soft, kqv = (tensors[f"blk.{i}.{name}"].reshape(rows, HEADS, -1).astype("f8")
                            for name in ("q_rope", "kq", "kq_soft", "kqv"))
        # Query heads share a key head in groups. The products round q, k, soft and v to f16: 2^-11 each.
        k, v = (array.reshape(keys, KV_HEADS, DIM).repeat(HEADS // KV_HEADS, 1).astype("f8") for array in (k, v))
        self.assert_near(kq, numpy.einsum("thd,khd->thk", q, k) / 8, 2e-3)  # 1/sqrt(64)
        hidden = numpy.arange(keys) > numpy.array(positions)[:, None]
        self.assertFalse(soft[hidden[:, None].repeat(HEADS, 1)].any())
        weights = numpy.exp(kq - kq.max(-1, keepdims=True)) * ~hidden[:, None]
        self.assert_near(soft, weights / weights.sum(-1, keepdims=True))
        self.assert_near(kqv, numpy.einsum("thk,khd->thd", soft, v), 2e-3)

    def assert_bits(self, one, other):
        self.assertEqual(one.tobytes(), other.tobytes())

    def assert_near(self, one, other, limit=1e-5):
        """Largest difference against the largest value; 1e-5 is some 80 units of f32, for exp, sin and cos."""
        self.assertTrue(numpy.abs(one - other).max() <= limit * numpy.abs(other).max(),
                        f"{numpy.abs(one - other).max()} of {numpy.abs(other).max()}")


def rotated(x, heads, positions):
    """RoPE of (tokens, heads*DIM): lanes 2i and 2i + 1 turn by position * 10000^(-2i/DIM)."""
    pairs = x.reshape(len(x), heads, DIM // 2, 2)
    angle = (numpy.array(positions)[:, None] * 10000.0 ** (-2 * numpy.arange(DIM // 2) / DIM))[:, None]
    turned = numpy.stack([pairs[..., 0] * numpy.cos(angle) - pairs[..., 1] * numpy.sin(angle),
                          pairs[..., 0] * numpy.sin(angle) + pairs[..., 1] * numpy.cos(angle)], -1)
    return turned.reshape(len(x), -1)


def no_past():
    return [(numpy.zeros((0, KV_HEADS * DIM), "<f4"),) * 2 for _ in range(LAYERS)]


class CommittedTraces(OneStep):
    def test_each_is_a_whole_right_step(self):
        for name, scores in (("kjv_8_flash", False), ("kjv_8_noflash", True)):
            one = trace.read(TRACES / f"{name}.safetensors")
            self.assertEqual(one.steps()[0]["tokens"], TOKENS)
            self.assertEqual(one.metadata["contract"], "ggml-cpu")
            self.assertEqual(one.metadata["observer_effect"], "none")
            self.assertEqual(one.metadata["model_sha256"], model_file.sha256(KJV))
            self.assertEqual(one.metadata["model"], "tests/data/kjv/kjv.gguf")
            self.check_whole(canonical(self, one.of_step(), range(8)), range(8), no_past(), scores)

    def test_they_part_at_the_first_attention(self):
        fused, whole = (canonical(self, trace.read(TRACES / f"kjv_8_{name}.safetensors").of_step(), range(8))
                        for name in ("flash", "noflash"))
        unequal = [name for name in fused if fused[name].tobytes() != whole[name].tobytes()]
        self.assertEqual(unequal[0], "blk.0.kqv")


@unittest.skipIf(NO_LLAMA_CPP, NO_LLAMA_CPP)
class LlamaCpp(InFolder, OneStep):
    def captured(self, *arguments):
        code, errors = self.run_main("llama_cpp", KJV, *arguments, "--threads", 1, "-o", self.path)
        self.assertEqual(code, 0, errors)
        self.assertIn("observer effect: none", errors)
        return trace.read(self.path)

    def test_text_with_and_without_flash_attention(self):
        for flash in ("on", "off"):
            one = self.captured("-p", TEXT, "--flash", flash)
            self.assertEqual(one.steps()[0]["tokens"], TOKENS)
            self.assertEqual((one.metadata["engine"], one.metadata["contract"], one.metadata["flash"]),
                             ("llama.cpp 0.3.36 CPU", "ggml-cpu", flash))
            self.assertEqual((one.metadata["model"], one.metadata["model_sha256"]), (str(KJV), model_file.sha256(KJV)))
            self.check_whole(canonical(self, one.of_step(), range(8)), range(8), no_past(), flash == "off")

    def test_greedy_steps_follow_the_prompt(self):
        one = self.captured("--tokens", ",".join(map(str, TOKENS)), "--decode", 3, "--flash", "off", "--kv", "f32")
        steps, past = one.steps(), no_past()
        self.assertEqual([step["positions"] for step in steps], [list(range(8)), [8], [9], [10]])
        for i, step in enumerate(steps):
            tensors = canonical(self, one.of_step(i), step["positions"])
            self.check_whole(tensors, step["positions"], past, scores=True)
            if i < 3:
                self.assertEqual(steps[i + 1]["tokens"], [int(tensors["logits"][-1].argmax())])

    def test_only_some_outputs_with_the_values_of_a_run_that_nobody_sees(self):
        whole = self.captured("-p", TEXT, "--decode", 1, "--flash", "on")
        for only, wanted in (("blk.*.out", [f"l_out-{i}.ADD" for i in range(LAYERS)]),
                             ("blk.2.kqv,blk.0.q,logits", ["Qcur-0.MUL_MAT", "kqv_out-2.RESHAPE", "result_output.MUL_MAT"])):
            one = self.captured("-p", TEXT, "--decode", 1, "--flash", "on", "--only", only)
            self.assertEqual((one.metadata["contract"], one.metadata["flash"]), ("ggml-cpu", "on"))
            self.assertNotIn("graph", one.metadata)
            for step in range(2):
                self.assertEqual(list(one.of_step(step)), wanted)
                for name, values in one.of_step(step).items():
                    self.assert_bits(values, whole.of_step(step)[name])

    def test_only_what_is_wanted_is_asked_for(self):
        asked = []
        original = llama_cpp_engine.Recorder._wants

        def wants(recorder, tensor, name, operation):
            wanted = original(recorder, tensor, name, operation)
            if wanted:
                asked.append(f"{name}.{operation}")
            return wanted

        with unittest.mock.patch.object(llama_cpp_engine.Recorder, "_wants", wants):
            self.captured("-p", TEXT, "--only", "blk.4.out")
        self.assertEqual(asked, ["embd.GET_ROWS", "l_out-4.ADD"])  # the first proves the layout

    def test_outputs_that_nothing_is_called_are_refused(self):
        code, errors = self.run_main("llama_cpp", KJV, "--tokens", "1", "--only", "blk.*.out,blk.6.out", "-o", self.path)
        self.assertEqual(code, 2)
        self.assertIn("no output is called 'blk.6.out'; there are embd, blk.N.attn_norm, ", errors)
        self.assertFalse(self.path.exists())

    def test_bos_is_the_files_choice_or_none(self):
        self.assertEqual(self.captured("-p", TEXT, "--no-bos").steps()[0]["tokens"], TOKENS[1:])

    def test_all_writes_views_too(self):
        one = self.captured("--tokens", "1,300", "--all", "--flash", "off").of_step()
        self.assert_bits(one["Qcur-3.RESHAPE"], one["Qcur-3.MUL_MAT"])
        # A view of (heads, tokens, dim), read by its strides.
        self.assert_bits(one["Qcur-3 (view) (permuted).PERMUTE"][0].swapaxes(0, 1), one["Qcur-3.ROPE"])
        self.assertEqual(one["cache_k_l0 (view).SET_ROWS"].dtype, numpy.float16)

    def test_layers_for_a_gpu_that_is_not_there_are_refused(self):
        code, errors = self.run_main("llama_cpp", KJV, "--tokens", "1", "--gpu-layers", 9, "-o", self.path)
        self.assertTrue(code == 2 and "no layer on a GPU" in errors or "llama.cpp 0.3.36 CPU" not in errors, errors)

    def test_another_version_is_refused(self):
        import llama_cpp
        with unittest.mock.patch.object(llama_cpp, "__version__", "0.3.35"):
            code, errors = self.run_main("llama_cpp", KJV, "--tokens", "1", "-o", self.path)
        self.assertEqual(code, 2)
        self.assertIn("llama-cpp-python is 0.3.35", errors)

    def test_another_layout_is_refused(self):
        fields = dict(ggml.Tensor._fields_)
        longer = [*fields.items(), ("more", ggml.ctypes.c_int64)]
        turned = [({"ne": "nb", "nb": "ne"}.get(name, name), fields[name]) for name in fields]
        late = [(name, fields[name]) for name in fields if name != "src"] + [("src", fields["src"])]
        for layout in (longer, turned, late):
            other = type("Tensor", (ggml.ctypes.Structure,), {"_fields_": layout})
            with unittest.mock.patch.object(ggml, "Tensor", other):
                code, errors = self.run_main("llama_cpp", KJV, "--tokens", "1,300", "-o", self.path)
            self.assertEqual(code, 2, layout)
            self.assertIn("not laid out as expected", errors)

    def test_wrong_tokens_and_files_are_refused(self):
        broken = self.folder / "broken.gguf"
        broken.write_bytes(b"GGUF")
        for model, tokens, wanted in ((KJV, "2048", "not below the vocabulary's 2048"), (broken, "1", "cannot load")):
            code, errors = self.run_main("llama_cpp", model, "--tokens", tokens, "-o", self.path)
            self.assertEqual(code, 2)
            self.assertIn(wanted, errors)
            self.assertEqual(len(errors.strip().splitlines()), 1, errors)


@unittest.skipIf(NO_TRANSFORMERS, NO_TRANSFORMERS)
class Transformers(InFolder, OneStep):
    def test_a_gguf_file_is_computed_as_llama_cpp_does(self):
        code, errors = self.run_main("transformers", KJV, "--tokens", ",".join(map(str, TOKENS)), "-o", self.path)
        self.assertEqual(code, 0, errors)
        self.assertIn("observer effect: none", errors)
        ours = trace.read(self.path).of_step()
        theirs = canonical(self, trace.read(TRACES / "kjv_8_noflash.safetensors").of_step(), range(8))
        self.assertEqual(set(theirs) - set(ours), {f"blk.{i}.kq" for i in range(LAYERS)})
        self.assert_bits(ours["embd"], theirs["embd"])
        for name in ours:
            # llama.cpp's products round activations to 8 bits; a lane out of place would be an error of 1.
            self.assert_near(ours[name], theirs[name].astype("f8"), 0.1)


class Examples(InFolder):
    def check(self, command):
        subprocess.run([*map(str, command), str(self.path)], check=True, timeout=60)
        one = trace.read(self.path)
        self.assertEqual(one.metadata["format"], "assay.trace/1")
        self.assertEqual(one.metadata["engine"], "example 1.0")
        self.assertEqual(one.steps()[0]["tokens"], [504, 3575])
        self.assertEqual(list(one.tensors), ["000000.embd", "000001.logits"])
        self.assertEqual(one.of_step()["embd"].tolist(), [[0.5, -1, 2, 0], [1, 0.25, -3, 8]])
        self.assertEqual(one.of_step()["logits"].tolist(), [[1, 2, 3], [-1, 0, 1.5]])
        header = int.from_bytes(self.path.read_bytes()[:8], "little")
        self.assertEqual(header % 8, 0)

    def compiled(self, compiler, *options):
        if not shutil.which(compiler):
            self.skipTest(f"{compiler} is not installed")
        program = self.folder / "writer"
        subprocess.run([compiler, *map(str, options), "-o", str(program)], check=True, timeout=120)
        return program

    def test_c(self):
        self.check([self.compiled("cc", "-std=c99", "-Wall", "-Wextra", "-Werror", EXAMPLES / "trace_writer.c")])

    def test_cpp(self):
        self.check([self.compiled("c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", EXAMPLES / "trace_writer.cpp")])

    def test_rust(self):
        # rustup leaves a rustc that can be found and has no compiler behind it.
        if not shutil.which("rustc") or subprocess.run(["rustc", "--version"], capture_output=True).returncode != 0:
            self.skipTest("no rustc here")
        self.check([self.compiled("rustc", "--edition", "2021", "-D", "warnings", EXAMPLES / "trace_writer.rs")])

    def test_python(self):
        self.check([sys.executable, EXAMPLES / "trace_writer.py"])


if __name__ == "__main__":
    unittest.main()
