"""Devices on the command line: one answer on each, a clear error where one is not there, never another in its place."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from cli_test import MODEL

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("ASSAY_BINARY", str(ROOT / "build/release/assay"))
KJV = ROOT / "tests/data/kjv/kjv.gguf"
TEXT = "In the beginning God created the heaven and the earth."


def assay(*arguments, env=None):
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, timeout=300)


def hash_of(device, *arguments):
    done = assay("logits", KJV, "-p", TEXT, "--device", device, *arguments)
    assert done.returncode == 0, done.stderr
    return re.search(r"^hash +(\w+)", done.stdout, re.MULTILINE)[1], done.stderr


class Devices(unittest.TestCase):
    def test_the_emulated_grid_has_the_cpus_hash(self):
        for arguments in ((), ("--cut", "1,9"), ("--cut", "2,3,4,5,6"), ("--sequences", "3"), ("--sequences", "9", "--cut", "4"),
                          ("--sequences", "33"), ("--kv", "f32")):
            with self.subTest(arguments):
                want, _ = hash_of("cpu", *arguments)
                got, told = hash_of("emulated", *arguments)
                self.assertEqual(got, want)
                self.assertIn("device: emulated (emulated grid), contract assay/1", told)

    def test_a_text_is_the_same_whether_the_device_finds_the_best_logits_or_the_host(self):
        for arguments in (("--temp", 0), ("--seed", 5), ("--seed", 6, "--top-k", 300), ("--seed", 7, "--repeat-penalty", 1.3)):
            with self.subTest(arguments):
                texts = set()
                for device in ("cpu", "emulated"):
                    run = ("run", KJV, "-p", TEXT, "-n", 6, "--device", device, *arguments)
                    texts.add(assay(*run).stdout)
                    texts.add(json.loads(assay(*run, "--json").stdout)["text"])  # its hash needs all logits
                self.assertEqual(len(texts), 1, texts)
                self.assertGreater(len(texts.pop()), 6)

    def test_diff_of_two_devices_passes_and_no_bit_differs(self):
        done = assay("diff", "--run", KJV, "--device", "cpu", "--device", "emulated", "-p", "And God said", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["verdict"], "PASS")
        self.assertEqual({operation["difference"] for operation in report["operations"]} - {None, -1}, {0})

    def test_bench_on_a_device_measures_nothing_of_the_cpus(self):
        done = assay("bench", KJV, "--device", "emulated", "--prompt", 4, "--generation", 2, "-r", 1, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        self.assertIsNone(result["machine"]["read_bytes_per_s"])
        for one in result["results"]:
            self.assertEqual((one["device"], one["bandwidth_share"], one["int8_share"]), ("emulated", None, None))
            self.assertEqual(one["weight_bytes"] is None, one["phase"] == "prompt")
            self.assertGreater(one["tokens_per_s"]["median"], 0)

    def test_a_device_that_is_not_there_is_an_error(self):
        for device, sentence in (("warp", "unknown device 'warp'; known: auto"),
                                 ("cuda:x", "unknown device 'cuda:x'"),
                                 ("cuda:99", "CUDA|cuda:99 does not exist")):
            with self.subTest(device):
                done = assay("run", KJV, "-p", "x", "--device", device)
                self.assertEqual((done.returncode, done.stdout), (3, ""))
                self.assertRegex(done.stderr, f"^assay: .*({sentence}).*\n$")

    def test_the_device_is_refused_what_it_cannot_do(self):
        for arguments, code, sentence in ((("--contract", "f32"), 2, "runs only the contract assay/1"),
                                          (("-c", "16000000"), 3, "not enough memory on emulated grid: weights")):
            with self.subTest(arguments):
                done = assay("run", KJV, "-p", "x", "--device", "emulated", *arguments)
                self.assertEqual((done.returncode, done.stdout), (code, ""))
                self.assertIn(sentence, done.stderr)

    def test_auto_says_why_it_takes_the_cpu(self):
        done = assay("logits", KJV, "--tokens", "1,2", "--device", "auto")
        self.assertEqual(done.returncode, 0, done.stderr)
        device = re.search(r"^device: (\w+)", done.stderr, re.MULTILINE)[1]
        said = re.search(r"^device auto: cpu, as .*CUDA.*; .*Metal", done.stderr, re.MULTILINE)
        self.assertEqual(said is not None, device == "cpu", done.stderr)

    def test_a_device_that_is_lost_in_the_middle_is_an_error(self):
        lost = ("--device", "emulated", "--fault", "device-lost", "--fault-seed", 1)
        sentence = "assay: emulated grid is lost (a seeded fault)\n"
        with tempfile.TemporaryDirectory() as folder:
            for arguments, text in ((("run", KJV, "-p", "x", "-n", 200, "--temp", 0), True),
                                    (("run", KJV, "-p", "x", "-n", 200, "--json"), False),
                                    (("logits", KJV, "--tokens", ",".join(map(str, range(1, 90))), "--cut", "30,31,60"), False),
                                    (("bench", KJV, "--prompt", 64, "--generation", 64), False),
                                    (("diff", "--run", KJV, "-p", "And God said", "--device", "emulated"), False),
                                    (("trace", "record", KJV, "-p", "And God said", "-o", folder + "/trace"), False)):
                with self.subTest(arguments):
                    done = assay(*arguments, *lost)
                    self.assertEqual((done.returncode, done.stdout != ""), (3, text), done.stderr)
                    self.assertTrue(done.stderr.endswith(sentence), done.stderr)
            self.assertEqual(os.listdir(folder), [])

    @unittest.skipUnless(MODEL.exists(), f"the default model is not there: {MODEL}")
    def test_chat_leaves_a_lost_device(self):
        done = subprocess.run([BINARY, "chat", MODEL, "--device", "emulated", "--fault", "device-lost", "--fault-seed", "1"],
                              capture_output=True, text=True, input="Hi\nHello\n", timeout=300)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(done.stderr.count("is lost"), 1, done.stderr)

    @unittest.skipUnless(MODEL.exists(), f"the default model is not there: {MODEL}")
    def test_the_default_model_on_the_emulated_grid(self):
        hashes = set()
        for device in ("cpu", "emulated"):
            for cut in ("", "1,2"):
                done = assay("logits", MODEL, "--tokens", "504,3575,282", "--device", device, *(("--cut", cut) if cut else ()))
                self.assertEqual(done.returncode, 0, done.stderr)
                hashes.add(re.search(r"^hash +(\w+)", done.stdout, re.MULTILINE)[1])
        self.assertEqual(len(hashes), 1)

    def test_an_instruction_set_is_the_cpus_matter(self):
        done = assay("logits", KJV, "--tokens", "1,2", "--device", "emulated", env={"ASSAY_ISA": "avx2"})
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
