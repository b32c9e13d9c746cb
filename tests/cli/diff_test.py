"""`assay diff --run`, `--swap`, `--fault` and `assay doctor` as their users run them, on the model of tests/data/kjv."""
import html.parser
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import BINARY, ROOT, assay

KJV = ROOT / "tests/data/kjv/kjv.gguf"
TRACES = ROOT / "tests/data/traces"
TOKENS = "1,300,391,394,1991,948,388,298"  # those of the traces
FAULTS = "--fault" in assay("trace", "record", "--help").stdout


class Run(unittest.TestCase):
    def diff(self, *arguments):
        return assay("diff", "--run", KJV, "--tokens", TOKENS, *arguments)

    def test_cpu_and_the_judge_agree(self):
        for more in ([], ["--contract", "assay/1"], ["--contract", "f32", "--contract", "exact"],
                     ["--kv", "f32"], ["-n", "3"]):
            with self.subTest(more):
                done = self.diff("--device", "cpu", "--device", "reference", *more)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertRegex(done.stdout.splitlines()[-1], "^PASS: .* cpu .* reference .* 100 of 100 operations")

    def test_the_second_run_gets_the_first_ones_greedy_tokens(self):
        done = self.diff("--device", "cpu", "--device", "cpu", "-n", "3", "--json")
        report = json.loads(done.stdout)
        self.assertEqual((report["verdict"], report["logits"]["positions"]), ("PASS", 11))
        self.assertEqual({operation["difference"] for operation in report["operations"]} - {None, -1}, {0})

    def test_what_it_refuses(self):
        for arguments, sentence in (
                (["--device", "cpu"], "give --device twice"),
                (["--device", "cpu", "--device", "warp"], "unknown device 'warp'"),
                (["--device", "cpu", "--device", "cpu", "-p", "x"], "give either --tokens or -p"),
                (["a", "b", "--device", "cpu", "--device", "cpu"], "not both")):
            with self.subTest(arguments):
                done = self.diff(*arguments)
                self.assertIn(done.returncode, (2, 3))
                self.assertIn(sentence, done.stderr)
                self.assertEqual(done.stdout, "")
        done = assay("diff", KJV, KJV, "--device", "cpu")
        self.assertEqual(done.returncode, 2)
        self.assertIn("can only be used with --run", done.stderr)


class Page(unittest.TestCase):
    class Tags(html.parser.HTMLParser):
        """Fails where a tag is closed that is not the one last opened."""
        VOID = {"meta", "rect", "path", "circle"}

        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attributes):
            if tag not in self.VOID or (tag == "path" and not self.get_starttag_text().endswith("/>")):
                self.open.append(tag)

        def handle_startendtag(self, tag, attributes):
            pass

        def handle_endtag(self, tag):
            assert self.open and self.open.pop() == tag, tag

    def test_the_page_of_a_diff_is_well_formed(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "page.html")
            done = assay("diff", "--run", KJV, "--tokens", TOKENS, "--device", "cpu", "--device", "reference", "--html", path)
            self.assertEqual(done.returncode, 0, done.stderr)
            tags = self.Tags()
            tags.feed(path.read_text())
            self.assertEqual(tags.open, [])
            done = assay("diff", "--run", KJV, "--tokens", TOKENS, "--device", "cpu", "--device", "cpu", "--html", folder)
            self.assertEqual(done.returncode, 2)
            self.assertIn("regular file", done.stderr)


@unittest.skipUnless(FAULTS, "this build has no seeded faults")
class Swap(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.good = self.record("good")

    def record(self, name, *arguments):
        path = pathlib.Path(self.folder.name, name)
        done = assay("trace", "record", KJV, "--tokens", TOKENS, "-o", path, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return path

    def swap(self, a, b):
        return json.loads(assay("diff", a, b, "--swap", "--json").stdout)

    def test_only_what_follows_the_fault_restores(self):
        bad = self.record("bad", "--fault", "gate-up-swapped:layer=3")
        for side, report in (("a", self.swap(bad, self.good)), ("b", self.swap(self.good, bad))):
            swap = report["swap"]
            self.assertEqual(report["first"]["operation"], "blk.3.act")
            self.assertEqual((swap["side"], swap["reproduced"]), (side, True))
            self.assertEqual(swap["restores"], ["blk.3.act", "blk.3.down", "blk.3.out", "blk.4.out", "blk.5.out",
                                                "out_selected", "out_norm", "logits"])
            tried = [cut["operation"] for cut in swap["cuts"]]
            self.assertIn("blk.2.out", tried)
            self.assertEqual(swap["token"] == swap["wanted"], False)

    def test_a_fault_of_every_layer_is_made_again(self):
        bad = self.record("bad", "--fault", "gate-up-swapped")
        swap = self.swap(bad, self.good)["swap"]
        self.assertTrue(swap["reproduced"])
        self.assertEqual(swap["restores"][-4:], ["blk.5.out", "out_selected", "out_norm", "logits"])

    def test_two_right_runs_have_nothing_to_restore(self):
        done = assay("diff", self.good, self.record("other", "--contract", "f32"), "--swap")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("\nswap: ", done.stdout)

    def test_a_fault_is_named_and_needs_the_cpu(self):
        done = assay("trace", "record", KJV, "--tokens", "1", "-o", pathlib.Path(self.folder.name, "x"),
                     "--fault", "rope-base", "--fault-seed", "3")
        self.assertRegex(done.stderr, r"fault: rope-base:base=")
        for arguments, sentence in ((["--fault", "nonsense"], "nonsense"), (["--fault-seed", "1"], "needs --fault"),
                                    (["--fault", "rope-base", "--device", "reference"], "cpu executor")):
            done = assay("logits", KJV, "--tokens", "1", *arguments)
            self.assertEqual(done.returncode, 2)
            self.assertIn(sentence, done.stderr)


@unittest.skipUnless(FAULTS, "this build has no seeded faults")
class DeviceFault(unittest.TestCase):
    def test_a_race_shows_in_two_runs_of_one_device(self):
        done = assay("diff", "--run", KJV, "--tokens", "1,300,391", "--device", "emulated", "--device", "emulated",
                     "--fault", "race", "--json")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report["first"]["operation"], report["cause"]["id"]), ("blk.0.attn_norm", "race"))

    def test_without_a_fault_the_emulated_grid_has_the_bits_of_the_cpu(self):
        done = assay("diff", "--run", KJV, "--tokens", "1,300,391", "--device", "cpu", "--device", "emulated", "--json")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual({one["difference"] for one in json.loads(done.stdout)["operations"]} - {None, -1}, {0})

    def test_a_fault_of_the_list_over_a_device(self):
        """What comes before it has the cpu's bits; what comes after it is the device's, from the wrong values."""
        with tempfile.TemporaryDirectory() as folder:
            wrong, right = (pathlib.Path(folder, name) for name in ("wrong", "right"))
            steps = ("--tokens", "1,300,391,17,900,44", "-b", "1")
            self.assertEqual(assay("trace", "record", KJV, *steps, "-o", right).returncode, 0)
            for fault, operation, cause in (("gqa-modulo:at=blk.1.kqv", "blk.1.kqv", "gqa-modulo"),
                                            ("kv-exchanged:at=blk.2.kv", "blk.2.kv", "kv-exchanged"),
                                            ("kv-slot:layer=1", "blk.1.kqv", "kv-slot"),
                                            ("k-tail:tail=32,at=blk.3.down", "blk.3.down", "k-tail"),
                                            ("stale-graph:at=blk.4.kqv", "blk.4.kqv", "stale-graph")):
                with self.subTest(fault):
                    done = assay("trace", "record", KJV, *steps, "-o", wrong, "--device", "emulated", "--fault", fault)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    report = json.loads(assay("diff", wrong, right, "--runs", "0", "--all", "--json").stdout)
                    found = report["first"]["operation"], report["first"]["side"], report["cause"]["id"]
                    self.assertEqual(found, (operation, "a", cause))
                    self.assertEqual([one["name"] for one in report["operations"] if one["a"]["verdict"] == "FAIL"],
                                     [operation])

    def test_the_table_of_faults_names_those_of_a_router(self):
        done = subprocess.run([sys.executable, ROOT / "tests/faults_table.py", "--assay", BINARY, "--device", "emulated",
                               "--models", "bailingmoe2", "--faults", "route-bias-ignored,route-groups-ignored,expert-tail"],
                              capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"route-groups-ignored +route +1 +1 +1 +1 +1")

    def test_what_it_refuses(self):
        for device, fault, sentence in (("emulated", "nonsense", "unknown fault 'nonsense'"),
                                        ("emulated", "rope-base:at=blk.3.down", "no operation of this model can have the fault"),
                                        ("auto", "race", "not 'auto'"), ("cpu", "race", "unknown fault 'race'")):
            done = assay("logits", KJV, "--tokens", "1", "--device", device, "--fault", fault)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(sentence, done.stderr)


class Doctor(unittest.TestCase):
    """llama.cpp's part is played by a program that hands out a capture made before."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def python(self, text):
        path = pathlib.Path(self.folder.name, "python")
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def captured(self):
        return self.python(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\n'
                           f'cp "{TRACES}/kjv_8_noflash.safetensors" "$2"\n')

    def doctor(self, python, *arguments):
        return assay("doctor", KJV, "--tokens", TOKENS, "--python", python, *arguments)

    def test_both_engines_are_right(self):
        done = self.doctor(self.captured())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("llama.cpp: 100 PASS, 0 FAIL", done.stdout)
        self.assertRegex(done.stdout.splitlines()[-1], "^PASS: ")
        report = json.loads(self.doctor(self.captured(), "--json").stdout)
        self.assertEqual((report["schema"], report["verdict"], report["devices"][0]["diff"]["schema"]),
                         ("assay.doctor/1", "PASS", "assay.diff/1"))

    @unittest.skipUnless(FAULTS, "this build has no seeded faults")
    def test_our_fault_is_found(self):
        done = self.doctor(self.captured(), "--fault", "norm-eps:layer=2")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stdout.splitlines()[-1], r"^FAIL blk\.2\.attn_norm .* fault .* is wrong")

    def test_without_llama_cpp_ours_is_judged_alone(self):
        for python, reason in ((self.python("#!/bin/sh\necho it is not here >&2\nexit 2\n"), "it is not here"),
                               (pathlib.Path(self.folder.name, "absent"), "cannot start")):
            done = self.doctor(python)
            self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
            self.assertIn("assay: 100 PASS, 0 FAIL", done.stdout)
            self.assertRegex(done.stdout.splitlines()[-1], f"^UNMEASURED: .*{reason}")

    def test_traces_are_kept_where_wanted(self):
        self.doctor(self.captured(), "--keep", self.folder.name)
        self.assertLessEqual({"cpu.safetensors", "llama_cpp.safetensors"}, set(os.listdir(self.folder.name)))


if __name__ == "__main__":
    unittest.main()
