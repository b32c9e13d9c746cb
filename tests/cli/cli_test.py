"""Drives the release binary from outside: exit codes, what goes where, the fixed shapes of the JSON."""
import hashlib
import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("ASSAY_BINARY", str(ROOT / "build/release/assay"))
SHARED = pathlib.Path(os.environ.get("ASSAY_SHARED_DATA", ROOT / ".." / "shared" / "data"))
CACHE = pathlib.Path(os.environ.get("ASSAY_CACHE") or
                     pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "assay")
MODEL = CACHE / "models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
FRANCE = "The capital of France is"
FRANCE_IDS = [504, 3575, 282, 4649, 314]


def assay(*arguments, env=None, stdin=None, **options):
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, input=stdin,
                          stdin=subprocess.DEVNULL if stdin is None else None,
                          env={**os.environ, **(env or {})}, timeout=300, **options)


class WithFolder(unittest.TestCase):
    """A folder that all tests of the class share; path(name) is a file in it."""
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)

    @classmethod
    def path(cls, name):
        return pathlib.Path(cls.folder.name, name)


class NeedsNothing(unittest.TestCase):
    def refused(self, *arguments, code=2, contains="", env=None):
        result = assay(*arguments, env=env)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout, "")
        lines = result.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, result.stderr)
        self.assertTrue(lines[0].startswith("assay: "), lines[0])
        self.assertIn(contains, lines[0])

    def test_help_and_version(self):
        self.assertEqual(assay("--help").returncode, 0)
        self.assertIn("contract assay/1", assay("--version").stdout)
        for command in ("run", "logits", "bench", "inspect", "tokenize"):
            result = assay(command, "--help")
            self.assertEqual(result.returncode, 0, command)
            self.assertIn("Usage", result.stdout)

    def test_usage_errors_exit_2(self):
        for arguments in ([], ["fly"], ["run", "--nonsense"], ["run", "-t", "-1"], ["run", "--kv", "q2"]):
            self.assertEqual(assay(*arguments).returncode, 2, arguments)

    def test_files_that_are_no_models(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "x.gguf"
            self.refused("run", path, "-p", "x", contains="x.gguf")
            path.write_text("<!DOCTYPE html><html><body>404</body></html>")
            self.refused("run", path, "-p", "x", contains="this looks like an HTML page")
            path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 0))
            self.refused("inspect", path, contains="truncated")
            path.write_bytes(b"")
            self.refused("logits", path, "--tokens", "1")
            self.refused("inspect", folder)


@unittest.skipUnless(MODEL.exists(), f"the default model is not there: {MODEL}")
class DefaultModel(unittest.TestCase):
    def refused(self, *arguments, **options):
        NeedsNothing.refused(self, *arguments, **options)

    def test_run_prints_the_text_and_nothing_else_to_stdout(self):
        result = assay("run", "-p", FRANCE, "-n", 5, "--temp", 0)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stdout, " Paris.\n\nThe")
        self.assertRegex(result.stderr, r"device: cpu \((avx2|avx512|portable), \d+ threads?\), contract assay/1; seed \d+")
        self.assertRegex(result.stderr, r"load [\d.]+ s; prompt 5 tokens")

    def test_run_json_has_its_shape(self):
        result = json.loads(assay("run", "-p", FRANCE, "-n", 3, "--temp", 0, "--json", "-t", 1).stdout)
        self.assertEqual(list(result), ["schema", "model", "device", "isa", "contract", "threads", "seed", "prompt_tokens",
                                        "tokens", "text", "raw_text", "finish_reason", "logits_sha256", "timings", "peak_bytes"])
        self.assertEqual(result["schema"], "assay.run/1")
        self.assertEqual(result["model"]["sha256"], "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")
        self.assertEqual(result["model"]["architecture"], "llama")
        self.assertEqual((result["device"], result["contract"], result["threads"]), ("cpu", "assay/1", 1))
        self.assertEqual(result["prompt_tokens"], FRANCE_IDS)
        self.assertEqual(result["tokens"][0], 7042)
        self.assertEqual((len(result["tokens"]), result["finish_reason"]), (3, "length"))
        self.assertEqual(set(result["timings"]), {"load_s", "first_token_s", "prompt_tokens_per_s", "generation_tokens_per_s"})
        self.assertRegex(result["logits_sha256"], "^[0-9a-f]{64}$")

    def test_chain_holds_the_hashes_of_shorter_runs(self):
        def run(tokens, *more):
            return json.loads(assay("run", "-p", FRANCE, "-n", tokens, "--temp", 0, "--json", *more).stdout)
        long = run(5, "--chain", 2)
        self.assertEqual(long["logits_chain"], [run(2)["logits_sha256"], run(4)["logits_sha256"]])
        self.assertNotEqual(long["logits_chain"][-1], long["logits_sha256"])
        self.assertEqual(assay("run", "-p", FRANCE, "--chain", 2).returncode, 2)

    def test_memory_stays_within_the_plan(self):
        # 1.3 x file + KV of the positions used (30 layers x 3 heads x 128 x 2 bytes a position) + 100 MB
        peak = json.loads(assay("run", "-p", FRANCE, "-n", 20, "--json").stdout)["peak_bytes"]
        self.assertLessEqual(peak, 1.3 * MODEL.stat().st_size + 64 * 30 * 3 * 128 * 2 + 100e6)

    def test_text_from_stdin_file_and_tokens_is_the_same(self):
        want = assay("run", "-p", FRANCE, "-n", 5, "--temp", 0).stdout
        self.assertEqual(assay("run", "-n", 5, "--temp", 0, stdin=FRANCE).stdout, want)
        self.assertEqual(assay("run", "--tokens", ",".join(map(str, FRANCE_IDS)), "-n", 5, "--temp", 0).stdout, want)
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(FRANCE)
            file.flush()
            self.assertEqual(assay("run", "-f", file.name, "-n", 5, "--temp", 0).stdout, want)

    def test_a_seed_decides_the_text_whatever_the_threads(self):
        texts = {assay("run", "-p", "Once", "-n", 12, "--seed", 7, "-t", threads).stdout for threads in (1, 2, 3)}
        self.assertEqual(len(texts), 1)
        self.assertNotEqual(assay("run", "-p", "Once", "-n", 12, "--seed", 8).stdout, texts.pop())

    def test_a_stop_string_ends_the_text_and_is_not_shown(self):
        result = json.loads(assay("run", "-p", FRANCE, "-n", 9, "--temp", 0, "--stop", "\n", "--json").stdout)
        self.assertEqual((result["text"], result["finish_reason"]), (" Paris.", "stop"))

    def test_stats_is_the_table_of_the_log(self):
        result = assay("run", "-p", "1", "-n", 1, "--temp", 0, "--stats", "--layers", "0,5,29")
        self.assertEqual([line.split()[0] for line in result.stderr.splitlines() if re.match(r"^ +\d+ +\d+\.\d{4} ", line)][:3],
                         ["0", "5", "29"])
        self.assertIn("logits: max", result.stderr)

    def test_interrupt_keeps_what_was_generated(self):
        process = subprocess.Popen([BINARY, "run", "-p", "Once upon a time", "-n", "5000", "--temp", "0"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        first = process.stdout.read(8)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertTrue((first + rest).decode().startswith(", the"), first + rest)

    def test_context_full_is_said(self):
        self.refused_after_device("run", "-p", FRANCE, "-c", 4, contains="context full: 5 tokens needed, the limit is 4")
        result = assay("run", "-p", FRANCE, "-c", 8, "--temp", 0)
        self.assertEqual(result.returncode, 0)
        self.assertIn("context full: 8 positions", result.stderr)

    def refused_after_device(self, *arguments, contains, code=2):
        result = assay(*arguments)
        self.assertEqual((result.returncode, result.stdout), (code, ""))
        self.assertIn(f"assay: {contains}", result.stderr)

    def test_refusals(self):
        self.refused("logits", "--tokens", "49152", contains="token 49152 is beyond the vocabulary of 49152")
        self.refused("logits", "--tokens", "1,x", contains="not a list of token ids")
        self.refused("logits", "--tokens", "1,2,3", "--cut", "2,1", contains="--cut")
        self.refused("logits", contains="--tokens or -p")
        self.refused("run", "-p", "x", "--device", "warp", code=3, contains="unknown device 'warp'")
        self.refused("run", "-p", "x", code=3, contains="'nonsense'", env={"ASSAY_ISA": "nonsense"})
        self.refused("run", "no-such-model", "-p", "x", contains="no file 'no-such-model'")
        self.refused("run", "-p", "x", contains="'make model' fetches it", env={"ASSAY_CACHE": "/nonexistent"})
        self.refused("run", "-p", "", contains="the prompt is empty")

    def test_logits_are_one_answer_from_outside(self):
        want = json.loads(assay("logits", "-p", FRANCE, "--json").stdout)
        self.assertEqual(want["tokens"], FRANCE_IDS)
        self.assertEqual(want["top"][0]["id"], 7042)
        for arguments, env in ((["-t", 3, "--cut", "1,3"], {}), (["--sequences", 4, "--ftz"], {}),
                               ([], {"ASSAY_ISA": "portable"}), (["--cut", "1,2,3,4"], {})):
            got = json.loads(assay("logits", "--tokens", ",".join(map(str, FRANCE_IDS)), "--json", *arguments, env=env).stdout)
            self.assertEqual(got["logits_sha256"], want["logits_sha256"], arguments)
        self.assertNotEqual(json.loads(assay("logits", "-p", FRANCE, "--json", "--kv", "f32").stdout)["logits_sha256"],
                            want["logits_sha256"])

    def test_contracts_are_the_devices_own(self):
        tokens = ["logits", "--tokens", "504,3575", "--json"]
        self.assertEqual(json.loads(assay(*tokens, "--device", "reference").stdout)["contract"], "exact")
        judged = json.loads(assay(*tokens, "--device", "reference", "--contract", "assay/1").stdout)
        self.assertEqual((judged["device"], judged["contract"]), ("reference", "assay/1 f64"))
        self.assertEqual(json.loads(assay(*tokens, "--contract", "f32").stdout)["contract"], "f32")
        self.refused(*tokens, "--contract", "exact", contains="does not run the contract 'exact'")

    def test_logits_file_is_safetensors(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "logits.safetensors"
            result = assay("logits", "-p", FRANCE, "-o", path)
            data = path.read_bytes()
            length = struct.unpack("<Q", data[:8])[0]
            header = json.loads(data[8:8 + length])
            self.assertEqual((header["tokens"]["dtype"], header["tokens"]["shape"]), ("I32", [5]))
            self.assertEqual((header["logits"]["dtype"], header["logits"]["shape"]), ("F32", [5, 49152]))
            first, last = header["tokens"]["data_offsets"]
            self.assertEqual(list(struct.unpack("<5i", data[8 + length + first:8 + length + last])), FRANCE_IDS)
            first, last = header["logits"]["data_offsets"]
            values = data[8 + length + first:8 + length + last]
            self.assertIn(hashlib.sha256(values).hexdigest(), result.stdout)
            unwritable = assay("logits", "-p", FRANCE, "-o", f"{folder}/none/x")
            self.assertEqual(unwritable.returncode, 2)
            self.assertIn("assay: cannot write", unwritable.stderr)

    def test_tokenize_json_has_its_shape(self):
        result = json.loads(assay("tokenize", "-p", FRANCE, "--json").stdout)
        self.assertEqual(list(result), ["model", "add_bos", "parse_special", "pieces", "tokens"])
        self.assertEqual(result["tokens"], FRANCE_IDS)
        self.assertEqual("".join(result["pieces"]), FRANCE)
        special = json.loads(assay("tokenize", "-p", "<|im_start|>", "--json").stdout)["tokens"]
        plain = json.loads(assay("tokenize", "-p", "<|im_start|>", "--json", "--no-parse-special").stdout)["tokens"]
        self.assertEqual(special, [1])
        self.assertGreater(len(plain), 1)

    def test_inspect_json(self):
        result = json.loads(assay("inspect", "--json").stdout)
        self.assertEqual(result["schema"], "assay.inspect/1")
        self.assertEqual(len(result["tensors"]), 272)
        self.assertEqual(result["metadata"]["llama.block_count"], 30)
        self.assertIn("token_embd.weight", assay("inspect").stdout)

    def test_inspect_plan_is_the_golden_one(self):
        text = assay("inspect", "--plan", ROOT / "tests/data/kjv/kjv.gguf").stdout
        self.assertEqual(text, (ROOT / "tests/golden/plan_llama.txt").read_text())
        self.refused("inspect", "--plan", "--json", contains="--json excludes --plan")

    def test_bench_json_has_its_shape(self):
        result = json.loads(assay("bench", "--prompt", 8, "--generation", 4, "-r", 1, "--json").stdout)
        self.assertEqual(list(result), ["schema", "machine", "commit", "results"])
        self.assertEqual(set(result["machine"]), {"cpu", "isa", "read_bytes_per_s", "int8_ops_per_s"})
        self.assertEqual([one["phase"] for one in result["results"]], ["prompt", "generation"])
        for one in result["results"]:
            for key in ("tokens", "depth", "batch", "threads", "device", "repetitions", "weight_bytes", "bandwidth_share", "int8_share"):
                self.assertIn(key, one)
            self.assertEqual(set(one["tokens_per_s"]), {"median", "best", "worst"})
            self.assertIsNone(one["peer"])
        prompt, generation = result["results"]
        self.assertIsNone(prompt["weight_bytes"])
        # A dense model: every matrix is read, a tied one for the logits alone.
        tensors = json.loads(assay("inspect", "--json").stdout)["tensors"]
        matrices = sum(tensor["bytes"] for tensor in tensors if len(tensor["shape"]) == 2)
        self.assertEqual(generation["weight_bytes"], matrices)

    def test_a_reader_that_goes_away_is_no_crash(self):
        result = subprocess.run(f"'{BINARY}' run -p Once -n 40 --temp 0 2>/dev/null | head -c 5 >/dev/null; echo ${{PIPESTATUS[0]}}",
                                shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=120)
        self.assertEqual(result.stdout.split()[-1], "2", result.stdout)  # a signal would give 141


@unittest.skipUnless((SHARED / "architectures/llama-dense.gguf").exists(), f"shared data is not there: {SHARED}")
class SharedModels(unittest.TestCase):
    def test_a_model_without_a_tokenizer_runs_on_token_ids(self):
        model = SHARED / "architectures/llama-dense.gguf"
        result = assay("run", model, "--tokens", "1,2,3", "-n", 3, "--temp", 0)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"^\d+,\d+,\d+$")
        text = assay("run", model, "-p", "x")
        self.assertEqual(text.returncode, 2)
        self.assertIn("'test'", text.stderr)

    def test_unknown_architectures_are_named_with_what_they_lack(self):
        for name, lacks in (("deepseek2-moe", "latent attention"), ("lfm2-dense", "convolution"), ("nemotron_h-dense", "recurrent")):
            result = assay("logits", SHARED / f"architectures/{name}.gguf", "--tokens", "1")
            self.assertEqual(result.returncode, 2)
            self.assertRegex(result.stderr, rf"^assay: architecture '[a-z0-9_-]+' is not supported: .*{lacks}.*\n$")

    def test_experts_and_windows_run(self):
        for name in ("llama-moe", "glm4moe-moe", "gpt-oss-moe", "gemma2-dense"):
            result = assay("logits", SHARED / f"architectures/{name}.gguf", "--tokens", "1,2,3")
            self.assertEqual(result.returncode, 0, result.stderr)


if __name__ == "__main__":
    unittest.main()
