"""Faults and freedoms of a file: NaN and infinity among the weights, values beyond f16 and f32, ids of no token, tensors
of no size. Nobody blames a kernel for them, and every sentence names what it is."""
import functools
import json
import pathlib
import struct
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "hostile"))
from cli_test import ROOT, assay
from small_gguf import ARRAY, F32, I32, U32, Tensor, small_model

KJV = ROOT / "tests/data/kjv/kjv.gguf"
TOKENS = "1,300,391,394,1991,948,388,298"


@functools.cache
def tensors():
    """{name: entry of inspect --json} of the small model."""
    return {entry["name"]: entry for entry in json.loads(assay("inspect", KJV, "--json").stdout)["tensors"]}


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def altered(self, name, change):
        """The small model with an F32 tensor's values changed in place."""
        data, entry = bytearray(KJV.read_bytes()), tensors()[name]
        self.assertEqual(entry["type"], "F32")
        values = np.frombuffer(data, "<f4", entry["bytes"] // 4, entry["offset"])
        change(values)
        path = self.folder / f"{len(list(self.folder.iterdir()))}.gguf"
        path.write_bytes(data)
        return path

    def with_value(self, value, name="blk.1.ffn_norm.weight", place=5):
        return self.altered(name, lambda values: values.__setitem__(place, value))

    def scaled(self, name, factor):
        return self.altered(name, lambda values: np.multiply(values, np.float32(factor), out=values))


class Weights(Folder):
    def test_verify_diff_and_doctor_say_unmeasured_with_tensor_and_place(self):
        good = self.folder / "good.safetensors"
        self.assertEqual(assay("trace", "record", KJV, "--tokens", "1,2", "-o", good).returncode, 0)
        for value, text in ((np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "-infinity")):
            path = self.with_value(value)
            for arguments in (["verify", path, "--tokens", TOKENS], ["diff", good, good, "-m", path],
                              ["doctor", path, "--tokens", TOKENS]):
                with self.subTest(value=text, command=arguments[0]):
                    done = assay(*arguments)
                    self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
                    self.assertRegex(done.stdout.splitlines()[-1],
                                     f"^UNMEASURED: tensor 'blk.1.ffn_norm.weight' holds {text} in row 0, column 5: ")
                    report = json.loads(assay(*arguments, "--json").stdout)
                    self.assertEqual(report["verdict"], "UNMEASURED")
                    self.assertIn("blk.1.ffn_norm.weight", report["sentence"])

    def test_a_quantised_weight_is_named_by_its_first_column(self):
        name, entry = next((name, entry) for name, entry in tensors().items() if entry["type"] == "Q8_0")
        data, columns = bytearray(KJV.read_bytes()), entry["shape"][0]
        block = columns // 32 + 1  # the second of row 1
        struct.pack_into("<H", data, entry["offset"] + 34 * block, 0x7e00)
        path = self.folder / "block.gguf"
        path.write_bytes(data)
        done = assay("verify", path, "--tokens", TOKENS)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertIn(f"tensor '{name}' holds NaN in row 1, column 32", done.stdout)

    def test_run_and_logits_say_which_weight_it_is(self):
        path = self.with_value(np.nan)
        for arguments in (["run", path, "-p", "In the", "-n", "3"], ["run", path, "--tokens", TOKENS, "-n", "1", "--json"]):
            done = assay(*arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("logits are NaN or infinite; tensor 'blk.1.ffn_norm.weight' holds NaN in row 0, column 5",
                          done.stderr.splitlines()[-1])
        done = assay("logits", path, "--tokens", TOKENS)
        self.assertEqual(done.returncode, 0)
        self.assertIn("tensor 'blk.1.ffn_norm.weight' holds NaN", done.stderr)

    def test_one_logit_that_is_not_finite_gets_a_word_and_the_text_goes_on(self):
        def change(file):
            file.tensors.append(Tensor("output.weight", (32, 259)))
        file = small_model()
        change(file)
        data = bytearray(file.bytes())
        start = file.marks["data"] + sum((tensor.size() + 31) // 32 * 32 for tensor in file.tensors[:-1])
        struct.pack_into("<f", data, start + 4 * (32 * 200 + 3), float("inf"))
        path = self.folder / "row.gguf"
        path.write_bytes(data)
        done = assay("run", path, "--tokens", "1,2", "-n", "2", "--temp", "0")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("1 of 259 logits are NaN or infinite; tensor 'output.weight' holds infinity in row 200, column 3",
                      done.stderr)

    def test_a_file_without_such_weights_gets_no_word(self):
        done = assay("run", KJV, "-p", "In the", "-n", "3", "--temp", "0")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("infinite", done.stderr)


class Ranges(Folder):
    def test_keys_beyond_f16_suggest_an_f32_cache(self):
        path = self.scaled("blk.0.attn_norm.weight", 1e6)
        done = assay("run", path, "--tokens", TOKENS, "-n", "2")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertRegex(done.stderr.splitlines()[-1], "every weight is finite; .* beyond 65504 .* try --kv f32")
        done = assay("run", path, "--tokens", TOKENS, "-n", "2", "--kv", "f32")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = assay("verify", path, "--tokens", TOKENS)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertRegex(done.stdout.splitlines()[-1], "^UNMEASURED blk.0.kqv attention: .* --kv f32 avoids")
        report = json.loads(assay("verify", path, "--tokens", TOKENS, "--json").stdout)
        self.assertEqual(report["verdict"], "UNMEASURED")
        self.assertEqual({row["verdict"] for row in report["operations"]}, {"PASS", "UNMEASURED"})
        done = assay("diff", "--run", path, "--tokens", TOKENS, "--device", "cpu", "--device", "cpu")
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertRegex(done.stdout.splitlines()[-1], r"^UNMEASURED: .* the first, blk.0.kqv: .*--kv f32")

    def test_a_norm_beyond_f32_gives_nan_and_no_zeros(self):
        path = self.scaled("blk.0.ffn_norm.weight", 1e10)  # its square leaves the block
        for device in ("cpu", "emulated"):
            done = assay("run", path, "--tokens", TOKENS, "-n", "2", "--kv", "f32", "--device", device)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("every weight is finite; the model's values leave the range of f32",
                          done.stderr.splitlines()[-1])
        done = assay("verify", path, "--tokens", TOKENS)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertRegex(done.stdout.splitlines()[-1], "^UNMEASURED blk.1.attn_norm rms_norm: .* more than f32 holds")


class Freedoms(Folder):
    def write(self, change):
        file = small_model()
        change(file)
        path = self.folder / "small.gguf"
        path.write_bytes(file.bytes())
        return path

    def test_ids_of_no_token_are_noted_and_the_file_runs(self):
        for name, kind, value in (("padding", U32, 2**32 - 1), ("seperator", U32, 259), ("mask", I32, -1),
                                  ("eos", U32, 2**32 - 1), ("bos", U32, 300), ("eot", U32, 2**32 - 1)):
            key = f"tokenizer.ggml.{name}_token_id"
            path = self.write(lambda file: file.metadata.__setitem__(key, (kind, value)))
            for arguments in (["tokenize", path, "-p", "hi"], ["run", path, "-p", "hi", "-n", "1"],
                              ["run", path, "--chat", "-p", "hi", "-n", "1"]):
                with self.subTest(key=key, command=arguments):
                    done = assay(*arguments)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertIn(f'"{key}" is {value}, outside the vocabulary of 259 tokens: taken as if it were absent',
                                  done.stderr)
            self.assertIn(key, assay("inspect", path).stdout.split("remarks")[-1])

    def test_inspect_shows_tensors_of_one_element_and_of_none(self):
        def change(file):
            file.tensors += [Tensor("blk.0.attn_q.scale", ()), Tensor("nothing", (32, 0)), Tensor("no rows", (0,), 8)]
        path = self.write(change)
        done = assay("inspect", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"blk\.0\.attn_q\.scale +F32 +\(one element\) +4\n")
        self.assertRegex(done.stdout, r"nothing +F32 +32 x 0 +0\n")
        shown = {entry["name"]: entry for entry in json.loads(assay("inspect", path, "--json", "--weights").stdout)["tensors"]}
        self.assertEqual((shown["blk.0.attn_q.scale"]["shape"], shown["blk.0.attn_q.scale"]["bytes"]), ([], 4))
        self.assertEqual((shown["nothing"]["shape"], shown["nothing"]["bytes"]), ([32, 0], 0))
        done = assay("run", path, "--tokens", "1", "-n", "1")
        self.assertEqual(done.returncode, 2)
        self.assertIn("tensor 'nothing' is not used", done.stderr)

    def test_inspect_plans_the_cache_of_heads_in_lists(self):
        def change(file):
            for name, heads in (("head_count", 2), ("head_count_kv", 1)):
                file.metadata[f"llama.attention.{name}"] = (ARRAY, (U32, [heads]))
        path = self.write(change)
        self.assertIn("KV cache 65.5 kB (f16)", assay("inspect", path).stdout)  # 1024 positions, 1 head, 16 + 16 values
        self.assertEqual(assay("run", path, "--tokens", "1,2", "-n", "1").returncode, 0)

    def test_every_command_runs_a_file_with_a_window(self):
        path = self.write(lambda file: file.metadata.__setitem__("llama.attention.sliding_window", (U32, 16)))
        data = self.folder / "x.npy"
        np.save(data, np.zeros((1, 32), np.float32))
        self.assertIn("llama.attention.sliding_window is 16: beyond it", assay("inspect", path).stdout)
        for command in (["run", path, "--tokens", "1,2", "-n", "1"], ["verify", path, "--tokens", "1,2"],
                        ["inspect", path, "--plan"], ["check", path, "blk.0.attn_norm", "--input", data, "--output", data]):
            with self.subTest(command[0]):
                self.assertEqual(assay(*command).returncode, 0)
                self.assertEqual(assay(*command, "-c", "16").returncode, 0)

    def test_a_scale_of_no_dimensions_is_one_number(self):
        path = self.write(lambda file: file.tensors.append(Tensor("blk.0.attn_q.scale", ())))
        self.assertEqual(assay("run", path, "--tokens", "1,2", "-n", "1").returncode, 0)

    def test_inspect_shows_a_file_whose_tokenizer_is_wrong(self):
        path = self.write(lambda file: file.metadata.__setitem__("tokenizer.ggml.scores", (ARRAY, (F32, [0.0]))))
        self.assertEqual(assay("inspect", path).returncode, 0)
        self.assertEqual(assay("run", path, "--tokens", "1,2", "-n", "1").returncode, 0)
        done = assay("run", path, "-p", "hi", "-n", "1")
        self.assertEqual(done.returncode, 2)
        self.assertIn("tokenizer.ggml.scores has 1 elements, but there are 259 tokens", done.stderr)


if __name__ == "__main__":
    unittest.main()
