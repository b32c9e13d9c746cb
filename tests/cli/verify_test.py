"""`assay verify` and `assay golden` as their users run them, on the small model of tests/data/kjv."""
import hashlib
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import ROOT, assay

KJV = ROOT / "tests/data/kjv/kjv.gguf"
TOKENS = "1,300,391,394,1991,948,388,298"


class Verify(unittest.TestCase):
    def test_the_small_model_passes_and_is_certified(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "certificate.txt")
            done = assay("verify", KJV, "--level", "quick", "--tokens", TOKENS, "--json", "-o", path)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            text = path.read_text()
        report = json.loads(done.stdout)
        self.assertEqual((report["schema"], report["verdict"], report["level"]), ("assay.verify/1", "PASS", "quick"))
        self.assertEqual(report["model"]["sha256"], hashlib.sha256(KJV.read_bytes()).hexdigest())
        self.assertEqual({row["verdict"] for row in report["operations"] + report["probes"]}, {"PASS"})
        self.assertEqual({row["bits"] for row in report["operations"]}, {"equal"})
        self.assertEqual(len(report["coverage"]["formats"]), 26)
        # the hash is the one that `logits` gives for the same tokens
        logits = json.loads(assay("logits", KJV, "--tokens", TOKENS, "--json").stdout)
        self.assertEqual(report["logits_sha256"], logits["logits_sha256"])
        above, last = text[:text.rstrip().rfind("\n") + 1], text.splitlines()[-1]
        self.assertEqual(last, "sha256 of the lines above: " + hashlib.sha256(above.encode()).hexdigest())
        for needed in (report["sentence"], report["machine"]["cpu"], report["commit"], report["logits_sha256"]):
            self.assertIn(needed, above)

    def test_the_last_line_is_the_verdict(self):
        done = assay("verify", "--synthetic", env={"ASSAY_ISA": "portable"})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout.splitlines()[-1], r"^PASS: \d+ operations, .* assay/1: cpu \(portable, ")
        self.assertEqual(done.stderr, "")

    def test_the_certificate_holds_the_rows_against_the_stored_bits(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "certificate.txt")
            done = assay("verify", "--synthetic", "--json", "-o", path)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            lines = path.read_text().splitlines()
        report = json.loads(done.stdout)
        rows = len(report["operations"])
        self.assertEqual(report["stored"], {"made_by": "emulated", "contract": "assay/1", "level": "quick",
                                            "equal": rows, "differ": 0, "none": 0})
        self.assertIn(f"stored bits: {rows} of {rows} rows equal, made by emulated at contract assay/1, level quick", lines)
        for row in report["operations"]:
            self.assertEqual(row["stored"], "equal")
            self.assertIn(f"{row['kind']:<12} {row['format']:<7} {row['sha256']}", lines)

    def test_auto_is_the_device_that_it_says(self):
        done = assay("verify", "--synthetic", "--device", "auto", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        device = json.loads(done.stdout)["device"]
        self.assertEqual("device auto: cpu, as " in done.stderr, device == "cpu", done.stderr)

    def test_store_writes_the_table_of_the_program(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "bits.cpp")
            done = assay("verify", "--synthetic", "--store", path)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            made = path.read_text()
        table = (ROOT / "src/verify/stored_bits.cpp").read_text()
        self.assertEqual(made.replace("--device cpu", "--device emulated").replace('"cpu"', '"emulated"'), table)

    def test_refusals(self):
        for arguments, code, reason in (
                (["--store", "bits.cpp", KJV], 2, "--store can only be used with --synthetic"),
                (["--device", "warp", "--synthetic"], 3, "unknown device 'warp'"),
                (["--device", "reference", "--synthetic"], 2, "is the judge"),
                (["--synthetic", "-m", KJV], 2, "--synthetic takes no model"),
                ([KJV, "--tokens", "1,99999"], 2, "token 99999 is beyond the vocabulary"),
                ([KJV, "--tokens", "x"], 2, "is not a list of token ids"),
                (["nowhere.gguf"], 2, "no file 'nowhere.gguf'")):
            done = assay("verify", *arguments)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(reason, done.stderr)
            self.assertEqual(done.stdout, "")


class Golden(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        done = assay("golden", "update", self.folder, KJV, "--tokens", TOKENS, "--tokens", "1,300,391,7", "--cut", "3")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.path = self.folder / "kjv.golden.json"

    def edited(self, edit):
        golden = json.loads(self.path.read_text())
        edit(golden)
        path = self.folder / "edited.json"
        path.write_text(json.dumps(golden))
        return path

    def test_the_same_bits_pass_whatever_the_threads_and_the_instruction_set(self):
        for arguments, isa in ((["-t", "1"], ""), (["-t", "3"], ""), ([], "portable")):
            done = assay("golden", "check", self.folder, *arguments, env={"ASSAY_ISA": isa})
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(done.stdout.splitlines()[-1], "PASS: 2 runs of 1 files give the stored bits")

    def test_the_first_departure_is_named(self):
        def spoil(golden):
            steps = golden["cases"][1]["steps"]
            steps[1]["hashes"][golden["operations"].index("blk.2.kqv")] = "0" * 16
            steps[1]["hashes"][-1] = "0" * 16
        done = assay("golden", "check", self.edited(spoil))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stdout.splitlines()[-1], r"^FAIL .*: run 2, step 1: blk\.2\.kqv is the first")

    def test_another_model_and_damage_exit_2(self):
        other = self.edited(lambda golden: golden["model"].update(sha256="0" * 64))
        broken = self.folder / "broken.json"
        broken.write_text(self.path.read_text()[:-20])
        for path, reason in ((other, "made with a model of SHA-256 0000000000000000"), (broken, "not JSON"),
                             (self.folder / "none.json", "cannot read")):
            done = assay("golden", "check", path)
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn(reason, done.stderr)


if __name__ == "__main__":
    unittest.main()
