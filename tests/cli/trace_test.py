"""`assay trace` and `assay diff` as their users run them, on the small model of tests/data/kjv."""
import json
import pathlib
import struct
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import ROOT, assay

KJV = ROOT / "tests/data/kjv/kjv.gguf"
THEIRS = ROOT / "tests/data/traces/kjv_8_flash.safetensors"
TOKENS = "1,300,391,394,1991,948,388,298"


def safetensors(path, metadata, tensors):
    """tensors: {key: list of floats}; each a (1, n) F32."""
    header, data = {"__metadata__": metadata}, b""
    for key, values in tensors.items():
        begin = len(data)
        data += struct.pack(f"<{len(values)}f", *values)
        header[key] = {"dtype": "F32", "shape": [1, len(values)], "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


class TraceAndDiff(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.ours = pathlib.Path(cls.folder.name, "ours.safetensors")
        done = assay("trace", "record", KJV, "--tokens", TOKENS, "-o", cls.ours)
        assert done.returncode == 0, done.stderr

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def path(self, name):
        return pathlib.Path(self.folder.name, name)

    def test_ours_against_llama_cpps_passes(self):
        done = assay("diff", THEIRS, self.ours, "-m", KJV)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout.splitlines()[-1], r"^PASS: every operation .* 100 of 100 operations compared")
        self.assertIn("benign: two contracts: ggml-cpu and assay/1", done.stdout)
        report = json.loads(assay("diff", THEIRS, self.ours, "-m", KJV, "--json", "--runs", "0").stdout)
        self.assertEqual((report["schema"], report["verdict"], report["first"]), ("assay.diff/1", "PASS", None))

    def test_tracing_changes_no_bit(self):
        again = self.path("filtered.safetensors")
        done = assay("trace", "record", KJV, "--tokens", TOKENS, "-o", again, "--filter", "^logits$")
        self.assertEqual(done.returncode, 0, done.stderr)
        shown = [json.loads(assay("trace", "show", path, "--filter", "^logits$", "--json").stdout)["traces"][0]["operations"]
                 for path in (self.ours, again)]
        self.assertEqual(shown[0], shown[1])
        self.assertEqual(len(shown[1]), 1)

    def test_other_tokens_are_refused_with_the_first_index(self):
        other = self.path("other.safetensors")
        assay("trace", "record", KJV, "--tokens", TOKENS.replace("948", "949"), "-o", other)
        done = assay("diff", self.ours, other, "-m", KJV)
        self.assertEqual(done.returncode, 2)
        self.assertIn("the tokens differ from index 5 on", done.stderr)

    def test_another_models_trace_is_refused(self):
        stranger = self.path("stranger.safetensors")
        safetensors(stranger, {"tokens": f"[{TOKENS}]", "model_sha256": "0" * 64}, {})
        done = assay("diff", self.ours, stranger)
        self.assertEqual(done.returncode, 2)
        self.assertIn("the weights differ", done.stderr)

    def altered(self, name, place, change):
        """A trace of the model with the bytes of `place`, a slice, changed."""
        model = bytearray(KJV.read_bytes())
        model[place] = change(bytes(model[place]))
        path = self.path(name + ".gguf")
        path.write_bytes(model)
        trace = self.path(name + ".safetensors")
        done = assay("trace", "record", path, "--tokens", TOKENS, "-o", trace)
        self.assertEqual(done.returncode, 0, done.stderr)
        return trace

    def test_a_named_model_judges_a_trace_of_altered_weights(self):
        # blk.1.attn_v.weight: Q8_0, 272 bytes a row; two rows exchanged.
        trace = self.altered("rows", slice(1318784, 1318784 + 544), lambda rows: rows[272:] + rows[:272])
        done = assay("diff", trace, self.ours, "-m", KJV, "--json", "--runs", "0")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report["first"]["operation"], report["first"]["side"]), ("blk.1.v", "a"))
        self.assertIn("judged by the latter's weights", " ".join(report["benign"]))
        self.assertEqual(assay("diff", trace, self.ours).returncode, 2)

    def test_a_file_that_differs_in_a_text_only_passes_with_a_note(self):
        at = KJV.read_bytes().index(b"general.name") + len("general.name") + 4 + 8
        trace = self.altered("named", slice(at, at + 1), lambda letter: bytes([letter[0] ^ 1]))
        done = assay("diff", trace, self.ours, "-m", KJV, "--runs", "0")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("judged by the latter's weights", done.stdout)

    def test_a_dropped_first_token_is_named(self):
        dropped = self.path("dropped.safetensors")
        assay("trace", "record", KJV, "--tokens", TOKENS.removeprefix("1,"), "-o", dropped)
        done = assay("diff", self.ours, dropped, "-m", KJV)
        self.assertEqual(done.returncode, 2)
        self.assertIn("a begins with 1 more (BOS missing on the other side?)", done.stderr)

    def test_an_empty_trace_is_unmeasured(self):
        empty = self.path("empty.safetensors")
        safetensors(empty, {"tokens": f"[{TOKENS}]"}, {})
        done = assay("diff", empty, self.ours, "-m", KJV)
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertRegex(done.stdout.splitlines()[-1], "^UNMEASURED")

    def test_what_a_file_says_does_not_reach_the_terminal_raw(self):
        nasty = self.path("nasty.safetensors")
        safetensors(nasty, {"tokens": "[1]", "engine": "\x1b[2Jevil\nline"}, {"000000.\x1b[31m": [1.0]})
        for command in (("trace", "show", nasty), ("diff", nasty, nasty, "-m", KJV)):
            done = assay(*command)
            self.assertNotIn("\x1b", done.stdout + done.stderr)
            self.assertIn("evil\\nline", done.stdout + done.stderr)

    def test_statistics_can_be_shown_and_not_judged(self):
        numbers = self.path("numbers.safetensors")
        assay("trace", "record", KJV, "--tokens", TOKENS, "-o", numbers, "--stats")
        self.assertLess(numbers.stat().st_size, self.ours.stat().st_size / 10)
        lines = assay("trace", "show", numbers, self.ours).stdout.splitlines()
        self.assertTrue(any(line.startswith("blk.3.out") and " 1.000 " in line for line in lines), lines)
        done = assay("diff", numbers, self.ours, "-m", KJV)
        self.assertEqual(done.returncode, 2)
        self.assertIn("holds statistics, not values", done.stderr)

    def test_wrong_usage(self):
        for arguments, message in (
                (("record", KJV, "-o", "x"), "give either --tokens or -p"),
                (("record", KJV, "--tokens", "1", "-o", "x", "--filter", "("), "is not a regular expression"),
                (("record", KJV, "--tokens", "1", "-o", self.path("x"), "--filter", "nothing"), "matches no operation"),
                (("show", "nowhere"), "no such file"),
                (("show", self.folder.name), "it is a folder"),
                (("show", "/dev/null"), "it is not a regular file"),
                (("show", KJV), "not a safetensors file")):
            done = assay("trace", *arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(message, done.stderr)


if __name__ == "__main__":
    unittest.main()
