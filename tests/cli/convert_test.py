"""assay convert: folders as transformers saves them, with the random weights of tests/torch, become files that give the same
bits as the files that the tests of tests/torch write, and transformers' stored logits."""
import json
import os
import pathlib
import sys
import tempfile
import unittest

import gguf
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "torch"))
import compare
import models
from cli_test import SHARED, assay

CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "phi3": "Phi3ForCausalLM"}


def safetensors(tensors):
    """The bytes of a file with these float arrays, as F32 or, of 16-bit unsigned integers, as BF16."""
    header, data = {}, b""
    for name, array in tensors.items():
        stored = array.astype("<u2") if array.dtype == np.uint16 else array.astype("<f4")
        header[name] = {"dtype": "BF16" if array.dtype == np.uint16 else "F32", "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + stored.nbytes]}
        data += stored.tobytes()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def logits(path, *more):
    done = assay("logits", path, *more, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["logits_sha256"]


class Folders(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.folder = self.root / "model"
        self.folder.mkdir()
        self.out = self.root / "model.gguf"

    def write(self, name="llama", parts=1, **changes):
        """The case's folder; `changes` to its configuration. Returns the weights."""
        case = models.CASES[name]
        config = {"architectures": [CLASSES[case.architecture]], "model_type": case.architecture, **case.config, **changes}
        (self.folder / "config.json").write_text(json.dumps(config))
        weights = models.draw(case)
        self.put(weights, parts)
        return weights

    def put(self, weights, parts=1):
        if parts == 1:
            (self.folder / "model.safetensors").write_bytes(safetensors(weights))
            return
        names = [f"model-{i + 1:05}-of-{parts:05}.safetensors" for i in range(parts)]
        places = {name: names[i % parts] for i, name in enumerate(weights)}
        for part in names:
            (self.folder / part).write_bytes(safetensors({n: a for n, a in weights.items() if places[n] == part}))
        (self.folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))

    def convert(self, *more):
        done = assay("convert", self.folder, "-o", self.out, *more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def refused(self, contains, *more):
        done = assay("convert", self.folder, "-o", self.out, *more)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(contains, done.stderr.strip().splitlines()[-1])
        self.assertEqual([path.name for path in self.root.iterdir()], ["model"], "something is left behind")


class SameFile(Folders):
    """One test a case of tests/torch, made below."""


def same(name):
    def test(self):
        case = models.CASES[name]
        self.write(name)
        self.convert("--type", "F16")
        other = self.root / "other.gguf"
        models.write_gguf(other, case, models.draw(case))
        tokens = ",".join(map(str, models.tokens(case)[:40]))
        flags = ["--tokens", tokens, "-c", str(case.context if not case.config.get("sliding_window") else 64)]
        self.assertEqual(logits(self.out, *flags), logits(other, *flags))
        ours, theirs = (gguf.GGUFReader(path) for path in (self.out, other))
        self.assertEqual({t.name for t in ours.tensors}, {t.name for t in theirs.tensors})
        for field in theirs.fields.values():
            if field.name.startswith(case.architecture):
                with self.subTest(field.name):
                    self.assertEqual(ours.fields[field.name].contents(), field.contents())
    return test


for each in models.CASES:
    setattr(SameFile, f"test_{each.replace('-', '_')}", same(each))


class Transformers(Folders):
    def test_stored_logits_of_each_architecture(self):
        for name in ("llama", "qwen2", "qwen3", "phi3"):
            with self.subTest(name):
                case, truth = models.CASES[name], compare.stored(name).tensors["logits"]
                self.write(name)
                self.convert()
                ours = compare.run(case, self.out, "reference", count=900 if case.tokens > 1000 else 100)
                self.assertGreater(len(ours), 2)
                error = models.error(ours, truth[:len(ours)])
                self.assertTrue(error <= compare.LIMITS["reference"], f"{error:.2e}")

    def test_rows_that_were_not_paired_are_far_off(self):
        """The comparison would notice: llama's weights as a class whose rows are not paired."""
        case, truth = models.CASES["llama"], compare.stored("llama").tensors["logits"]
        weights = self.write("llama", architectures=["Qwen2ForCausalLM"], model_type="qwen2")
        for layer in range(case.config["num_hidden_layers"]):
            for part in "qkv":
                rows = len(weights[f"model.layers.{layer}.self_attn.{part}_proj.weight"])
                weights[f"model.layers.{layer}.self_attn.{part}_proj.bias"] = np.zeros(rows, np.float32)
        for key in list(weights):
            if key.endswith(("q_proj.weight", "k_proj.weight")):
                weights[key] = models.adjacent_pairs(weights[key], case.head)
        self.put(weights)
        self.convert()
        ours = compare.run(case, self.out, "reference", count=100)
        self.assertTrue(models.error(ours, truth[:len(ours)]) > 1e-2)


class Types(Folders):
    def tensor(self, name):
        return next(t for t in gguf.GGUFReader(self.out).tensors if t.name == name)

    def test_parts_are_the_same_file_as_the_whole(self):
        self.write()
        self.convert()
        whole = self.out.read_bytes()
        (self.folder / "model.safetensors").unlink()
        self.write(parts=3)
        (self.folder / "model.safetensors").unlink(missing_ok=True)
        self.convert()
        self.assertEqual(self.out.read_bytes(), whole)

    def test_blocks_are_those_of_gguf(self):
        weights = self.write("qwen3")
        for name in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"):  # the K formats: tests/quant
            with self.subTest(name):
                kind = gguf.GGMLQuantizationType[name]
                self.convert("--type", name.lower())
                found = self.tensor("blk.1.ffn_up.weight")
                self.assertEqual(found.tensor_type, kind)
                wanted = gguf.quantize(weights["model.layers.1.mlp.up_proj.weight"], kind)
                self.assertEqual(found.data.tobytes(), wanted.tobytes())
                self.assertEqual(self.tensor("output.weight").tensor_type, gguf.GGMLQuantizationType.Q8_0)
                self.assertEqual(self.tensor("output_norm.weight").tensor_type, gguf.GGMLQuantizationType.F32)
                self.assertEqual(assay("logits", self.out, "--tokens", "1,2,3").returncode, 0)

    def test_bf16_stays_as_it_is(self):
        weights = self.write("qwen2")
        name = "model.layers.0.mlp.down_proj.weight"
        weights = {key: (array.view("<u4") >> 16).astype(np.uint16) if array.ndim == 2 else array for key, array in weights.items()}
        self.put(weights)
        done = self.convert()
        self.assertIn("(BF16, F32)", done.stdout)
        self.assertEqual(self.tensor("blk.0.ffn_down.weight").data.tobytes(), weights[name].astype("<u2").tobytes())

    def test_rows_that_blocks_do_not_divide_are_said(self):
        weights = self.write("llama", intermediate_size=200)
        for key in list(weights):
            if "mlp" in key:
                array = weights[key]
                weights[key] = array[:, :200] if "down" in key else array[:200]
        self.put(weights)
        done = self.convert("--type", "Q4_0")
        self.assertIn("blk.0.ffn_down.weight has rows of 200", done.stderr)
        self.assertEqual(self.tensor("blk.0.ffn_down.weight").tensor_type, gguf.GGMLQuantizationType.F16)


class Tokenizers(Folders):
    def test_byte_level_without_merges(self):
        letters = [chr(b) if 33 <= b < 127 or 161 <= b < 173 or b >= 174 else None for b in range(256)]
        rest = iter(range(256, 400))
        vocabulary = {letter or chr(next(rest)): i for i, letter in enumerate(letters)}
        self.write()
        (self.folder / "tokenizer.json").write_text(json.dumps({
            "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
            "added_tokens": [{"id": 256, "content": "<s>", "special": True}, {"id": 257, "content": "</s>", "special": True}],
            "post_processor": {"type": "TemplateProcessing",
                               "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]}}))
        (self.folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
        (self.folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
        done = self.convert()
        self.assertIn("tokenizer gpt2 (gpt-2), 300 tokens", done.stdout)
        ids = json.loads(assay("tokenize", self.out, "-p", "Hé!</s>", "--json").stdout)["tokens"]
        self.assertEqual(ids, [256, *"Hé!".encode(), 257])
        ran = assay("run", self.out, "-p", "Hello", "-n", "3", "--temp", "0")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        (self.root / "m.json").write_text(json.dumps([{"role": "user", "content": "hi"}]))
        self.assertEqual(assay("template", self.out, "--messages", self.root / "m.json").stdout.strip(), "hi")

    def test_none_is_said(self):
        self.write()
        self.assertIn("no tokenizer.json", self.convert().stderr)

    def test_an_unknown_pre_tokenizer_is_shown(self):
        self.write()
        (self.folder / "tokenizer.json").write_text(json.dumps({
            "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": "[q-z]+"}, "behavior": "Isolated"},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]}}))
        self.refused("[q-z]+")


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")


def byte_level(*steps):
    last = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": not steps}
    return {"type": "Sequence", "pretokenizers": [*steps, last]} if steps else last


def split(expression):
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": False}


@unittest.skipUnless((SHARED / "tokenizers").is_dir(), "the shared data is not there")
class RealVocabularies(Folders):
    """Vocabularies of real models, as their tokenizer.json has them, against the ids that llama.cpp gives for its test texts."""

    def check(self, name, model, pre_tokenizer, normalizer=None):
        path = SHARED / "tokenizers" / f"ggml-vocab-{name}.gguf"
        fields = {key: field for key, field in gguf.GGUFReader(path).fields.items() if key.startswith("tokenizer.ggml.")}
        tokens = fields["tokenizer.ggml.tokens"].contents()
        types = fields["tokenizer.ggml.token_type"].contents()
        added = [{"id": i, "content": token, "special": kind in (2, 3)} for i, (token, kind) in enumerate(zip(tokens, types))
                 if kind in (2, 3, 4)]
        plain = {token: i for i, (token, kind) in enumerate(zip(tokens, types)) if kind in (1, 6)}
        self.write("llama", vocab_size=len(tokens), hidden_size=32, intermediate_size=32, num_attention_heads=1,
                   num_key_value_heads=1, num_hidden_layers=1, tie_word_embeddings=True)
        layer = "model.layers.0."
        shapes = {"model.embed_tokens": (len(tokens), 32), "model.norm": (32,), layer + "input_layernorm": (32,),
                  layer + "post_attention_layernorm": (32,),
                  **{layer + part: (32, 32) for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                                                         "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")}}
        self.put({name + ".weight": np.zeros(shape, np.uint16) for name, shape in shapes.items()})
        (self.folder / "tokenizer.json").write_text(json.dumps({
            "model": {"type": "BPE", "vocab": plain, **model(tokens, types, fields)}, "added_tokens": added,
            "pre_tokenizer": pre_tokenizer, "normalizer": normalizer}))
        self.convert()
        texts = path.with_name(path.name + ".inp").read_text().split("\n__ggml_vocab_test__\n")
        answers = path.with_name(path.name + ".out").read_text().splitlines()
        self.assertEqual(len(answers), 46)
        step = 1 if os.environ.get("ASSAY_SLOW") else 5  # a process a text
        for text, answer in list(zip(texts, answers))[::step]:
            (self.root / "text").write_text(text)
            done = assay("tokenize", self.out, "-f", self.root / "text", "--ids", "--no-bos", "--no-parse-special")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout.replace(",", " ").split(), answer.split(), repr(text))

    @staticmethod
    def merges(tokens, types, fields):
        return {"merges": [merge.split(" ") for merge in fields["tokenizer.ggml.merges"].contents()]}

    @staticmethod
    def scores(tokens, types, fields):
        """Sentence pieces as transformers converts them: every pair of tokens that makes a token, the best score first."""
        scores = fields["tokenizer.ggml.scores"].contents()
        known = {token: score for token, score, kind in zip(tokens, scores, types) if kind == 1}
        pairs = [(token[:i], token[i:]) for token in known for i in range(1, len(token)) if token[:i] in known and token[i:] in known]
        pairs.sort(key=lambda pair: known[pair[0] + pair[1]], reverse=True)
        return {"merges": pairs, "byte_fallback": True, "unk_token": "<unk>"}

    def test_gpt_2(self):
        self.check("gpt-2", self.merges, byte_level())

    def test_qwen2(self):
        self.check("qwen2", self.merges, byte_level(split(LLAMA3.replace("{1,3}", ""))), {"type": "NFC"})

    def test_llama_3(self):
        self.check("llama-bpe", lambda *of: {**self.merges(*of), "ignore_merges": True}, byte_level(split(LLAMA3)))

    def test_llama_2(self):
        self.check("llama-spm", self.scores, None, {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})


class Refusals(Folders):
    def test_what_is_wrong_is_in_the_last_line(self):
        self.refused("config.json is missing")
        self.write(hidden_act="gelu")
        self.refused("'hidden_act' is gelu")
        self.write(architectures=["BertModel"])
        self.refused("'BertModel' is not supported; supported: LlamaForCausalLM")
        self.write(num_hidden_layers=4)
        self.refused("'blk.3.attn_norm.weight' is missing")
        self.write(hidden_size=256)
        self.refused("token_embd.weight")
        self.write()
        self.refused("there is no type 'Q7'", "--type", "Q7")
        self.refused("Q2_K", "--type", "Q2_K")
        whole = self.folder / "model.safetensors"
        whole.write_bytes(whole.read_bytes()[:-1])
        self.refused("model.safetensors")

    def test_usage(self):
        self.assertEqual(assay("convert", self.folder).returncode, 2)
        self.assertEqual(assay("convert", "-o", self.out).returncode, 2)
        self.assertIn("--type", assay("convert", "--help").stdout)

    def test_an_index_that_leads_outside(self):
        self.write(parts=2)
        index = self.folder / "model.safetensors.index.json"
        parsed = json.loads(index.read_text())
        for name in ("../x.safetensors", "/etc/passwd", ""):
            parsed["weight_map"]["model.norm.weight"] = name
            index.write_text(json.dumps(parsed))
            self.refused("not the name of a safetensors file")


del Folders, each
if __name__ == "__main__":
    unittest.main()
