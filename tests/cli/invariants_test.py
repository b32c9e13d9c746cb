"""`assay invariants` as its users run it: our executors with and without a planted fault of state, a stand-in for an
OpenAI-compatible server, and llama.cpp live where it is installed."""
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import MODEL, ROOT, assay
import stand_in_server

KJV = ROOT / "tests/data/kjv/kjv.gguf"
TOKENS = "1,300,391,394,1991,948,388,298,1044,261,1798,1249"
SHORT = "1,300,391,394,1991,948,388,298"
FAULTS = "--fault" in assay("invariants", "--help").stdout
PYTHON = os.environ.get("ASSAY_PYTHON", sys.executable)
IDS = ["repeat", "positions", "cached", "chunked", "batch", "rows", "slots", "undone", "restored", "padding"]


def llama_cpp_is_missing():
    asked = subprocess.run([PYTHON, "-c", "from assay import llama_cpp_engine; llama_cpp_engine.load_bindings()"],
                           env={**os.environ, "PYTHONPATH": str(ROOT / "python")}, capture_output=True, text=True)
    return asked.stderr.strip().splitlines()[-1] if asked.returncode else ""


class Case(unittest.TestCase):
    def report(self, *arguments, code):
        done = assay("invariants", *arguments, "--json")
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["schema"], "assay.invariants/1")
        return report

    @staticmethod
    def answers(report):
        return {one["id"]: one["answer"] for one in report["invariants"]}

    def found(self, report, name):
        return next(one for one in report["invariants"] if one["id"] == name)


class OwnExecutors(Case):
    def test_all_hold_and_the_verdict_is_the_last_line(self):
        for device in ("cpu", "emulated", "reference"):
            with self.subTest(device):
                tokens = TOKENS if device == "cpu" else "1,300,391,394,1991"
                done = assay("invariants", KJV, "--device", device, "--tokens", tokens)
                self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
                self.assertRegex(done.stdout.splitlines()[-1], rf"^PASS: 10 invariants hold on {device}\b.*, by bits ")
                self.assertEqual(done.stdout.count("holds      "), 10)

    def test_the_shape_of_its_json(self):
        report = self.report(KJV, "--tokens", TOKENS, "--only", "repeat,padding", code=0)
        self.assertEqual(list(report), ["schema", "verdict", "sentence", "model", "engine", "by", "noise", "limit", "tokens",
                                        "sequences", "decode", "invariants"])
        self.assertEqual((report["verdict"], report["by"], report["noise"]), ("PASS", "bits", None))
        self.assertEqual(report["tokens"], [int(token) for token in TOKENS.split(",")])
        self.assertEqual(self.answers(report), {"repeat": "holds", "padding": "holds"})
        self.assertEqual(len(report["model"]["sha256"]), 64)

    def test_the_usual_text_goes_past_a_page(self):
        report = self.report(KJV, "--only", "cached", code=0)
        self.assertEqual(len(report["tokens"]), 80)

    def test_what_a_case_is_too_small_for_is_not_measured(self):
        done = assay("invariants", KJV, "--tokens", "1", "--only", "cached")
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertRegex(done.stdout.splitlines()[-1], "^UNMEASURED: no invariant could be asked of cpu")

    def test_what_it_refuses(self):
        for arguments, sentence in ((["--engine", "vllm"], "--engine takes assay, llama_cpp or the URL"),
                                    (["--tokens", "1", "-p", "x"], "either --tokens or -p"),
                                    (["--only", "cahced"], "there is no invariant 'cahced'"),
                                    (["--engine", "llama_cpp", "--device", "emulated"], "--gpu-layers"),
                                    (["--engine", "http://127.0.0.1:9"], "/v1/models gives no answer"),
                                    (["--engine", "llama_cpp", "--python", "no-such-python"], "cannot start 'no-such-python'")):
            done = assay("invariants", KJV, *arguments, env={"ASSAY_PYTHON": PYTHON})
            self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
            self.assertIn(sentence, done.stderr)

    @unittest.skipUnless(FAULTS, "a build without faults")
    def test_a_fault_of_state_is_named_with_the_smallest_case(self):
        report = self.report(KJV, "--tokens", TOKENS, "--fault", "decode-slot", code=1)
        answers = self.answers(report)
        self.assertEqual((answers["cached"], answers["repeat"], answers["chunked"]), ("breaks", "holds", "holds"))
        self.assertTrue(report["sentence"].startswith("FAIL 'cached = computed' breaks on cpu"), report["sentence"])
        smallest = self.found(report, "cached")["smallest"]
        # The key of token 0 is lost when token 1 runs: token 2 is the first to miss it.
        self.assertEqual((smallest["tokens"], smallest["decode"]), ([1, 300, 391], 2))
        difference = smallest["difference"]
        self.assertEqual((difference["position"], difference["rows"]), (2, 1))
        self.assertGreater(difference["size"], 0)
        self.assertNotEqual(difference["wanted"], difference["got"])

    @unittest.skipUnless(FAULTS, "a build without faults")
    def test_faults_of_state_on_the_emulated_grid(self):
        for fault, invariant, smallest in (("rows-swapped", "batch", 1), ("decode-stuck", "positions", 3),
                                           ("buffer-reused", "chunked", 4)):
            with self.subTest(fault):
                report = self.report(KJV, "--device", "emulated", "--tokens", "1,300,391,394,1991", "--fault", fault,
                                     "--only", invariant, code=1)
                self.assertEqual(len(self.found(report, invariant)["smallest"]["tokens"]), smallest, report["sentence"])


class AServer(Case):
    @contextlib.contextmanager
    def server(self, *arguments):
        server = stand_in_server.serve(arguments)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.state, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def ask(self, url, *arguments, code):
        return self.report(KJV, "--tokens", TOKENS, "--engine", url, "--python", sys.executable, *arguments, code=code)

    def test_a_right_one_passes_in_every_style(self):
        for style in ([], ["--style", "legacy"], ["--strict"]):
            with self.subTest(style), self.server(*style) as (state, url):
                report = self.ask(url, code=0)
                answers = self.answers(report)
                self.assertEqual([name for name in IDS if answers[name] == "holds"],
                                 [name for name in IDS if name not in ("positions", "padding")], report["sentence"])
                self.assertEqual((answers["positions"], answers["padding"]), ("unmeasured", "unmeasured"))
                self.assertEqual((report["by"], report["noise"], report["model"]["sha256"]), ("log-probabilities", 0, None))
                self.assertIn("(stand-in)", report["engine"])
                self.assertGreater(state.reused, 10)  # what is cached was used

    def test_a_cache_that_shifts_positions_is_named(self):
        for style in ([], ["--strict"]):
            with self.subTest(style), self.server("--fault", "cache-shifts", *style) as (_, url):
                report = self.ask(url, code=1)
                found = self.found(report, "cached")
                self.assertEqual(found["answer"], "breaks", report["sentence"])
                # One token that the cache has, and one after it.
                smallest = found["smallest"]
                self.assertEqual((len(smallest["tokens"]), smallest["decode"]), (2, 1))
                self.assertEqual(smallest["difference"]["position"], 1)
                self.assertGreater(smallest["difference"]["log_probability"], 0.01)

    def test_completions_that_leak_into_others_are_named(self):
        with self.server("--fault", "batch-mixes") as (_, url):
            report = self.ask(url, "--only", "repeat,cached,batch", "--decode", 1, code=1)
            self.assertEqual(self.answers(report), {"repeat": "holds", "cached": "holds", "batch": "breaks"}, report["sentence"])
            self.assertEqual(self.found(report, "batch")["smallest"]["sequences"], 2)

    def test_its_own_noise_is_the_yardstick(self):
        with self.server("--fault", "noisy") as (_, url):
            report = self.ask(url, code=0)
            self.assertGreater(report["noise"], 1e-3)
            self.assertEqual(report["limit"], 2 * report["noise"])

    def test_one_without_log_probabilities_is_refused(self):
        with self.server("--style", "none") as (_, url):
            done = assay("invariants", KJV, "--tokens", TOKENS, "--engine", url, "--python", sys.executable)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("/v1/completions gives no log-probabilities", done.stderr)


class LlamaCpp(Case):
    @classmethod
    def setUpClass(cls):
        if why := llama_cpp_is_missing():
            raise unittest.SkipTest(why)

    def ask(self, *arguments, code):
        done = assay("invariants", KJV, "--tokens", SHORT, "--engine", "llama_cpp", "--python", PYTHON, "-t", 1,
                     *arguments, "--json")  # threads that wait for others are slow where cores are shared
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def test_what_holds_and_what_does_not_with_numbers(self):
        report = self.ask(code=1)
        answers = self.answers(report)
        # A repeat is identical, and llama.cpp counts positions as it is given them.
        self.assertEqual((report["noise"], answers["repeat"], answers["positions"]), (0, "holds", "holds"), report["sentence"])
        self.assertEqual(set(answers), set(IDS))
        # Its kernels for one token add up otherwise than those for many.
        found = self.found(report, "cached")
        self.assertEqual(found["answer"], "breaks", report["sentence"])
        self.assertGreater(found["difference"]["log_probability"], 0)
        self.assertLess(found["difference"]["log_probability"], 0.5)
        self.assertIn("llama.cpp", report["engine"])

    def test_without_flash_attention_it_reads_what_no_token_has_written(self):
        # 0 times NaN, for the weights of masked cells: harmless as long as the cache never holds any.
        found = self.found(self.ask("--flash", "off", "--only", "padding", code=1), "padding")
        self.assertEqual((len(found["smallest"]["tokens"]), found["answer"]), (1, "breaks"))
        self.assertGreater(found["smallest"]["difference"]["log_probability"], 0.5)

    @unittest.skipUnless(MODEL.exists() and os.environ.get("ASSAY_SLOW"), "ASSAY_SLOW is not set")
    def test_the_default_model(self):
        done = assay("invariants", "--engine", "llama_cpp", "--python", PYTHON)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stdout.splitlines()[-1], "^FAIL '.*' breaks on llama.cpp .*log-probabilities")


if __name__ == "__main__":
    unittest.main()
