"""`assay trace show` says whether a growth is normal and where heads look; `diff --case` and `trace replay`."""
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


def altered(source, target, name, change, width=None):
    """A copy of a trace in which `change` was called on the list of a tensor's values, the first of that name."""
    data = bytearray(source.read_bytes())
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    begin, end = next(v["data_offsets"] for k, v in header.items() if k[7:] == name)
    kind = "d" if (width or 4) == 8 else "f"
    where = slice(8 + length + begin, 8 + length + end)
    values = list(struct.unpack(f"<{(end - begin) // (width or 4)}{kind}", data[where]))
    change(values)
    data[where] = struct.pack(f"<{len(values)}{kind}", *values)
    target.write_bytes(data)
    return target


class Folder(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.values, cls.statistics = (pathlib.Path(cls.folder.name, name) for name in ("values", "statistics"))
        for path, flag in ((cls.values, "--values"), (cls.statistics, "--stats")):
            done = assay("trace", "record", KJV, "--tokens", TOKENS, "-o", path, flag)
            assert done.returncode == 0, done.stderr

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def path(self, name):
        return pathlib.Path(self.folder.name, name)

    def last(self, *arguments, code=0):
        done = assay(*arguments)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout.splitlines()[-1]


class Growth(Folder):
    NORMAL = r"^normal: growth of 25\.[0-9]x by layer 5 is what correct runs of this model give \(25\.[0-9]*x to 25\.[0-9]*x\)"

    def test_correct_engines_are_normal_with_values_and_with_statistics(self):
        for arguments in ((self.values,), (self.statistics,), (THEIRS, "-m", KJV), (self.statistics, "--seed", "7")):
            self.assertRegex(self.last("trace", "show", *arguments), self.NORMAL)

    def test_the_first_layer_outside_is_named(self):
        def double(values):
            values[3 * 256:4 * 256] = [2 * x for x in values[3 * 256:4 * 256]]
        wrong = altered(self.values, self.path("wrong"), "blk.2.attn_out", double)
        self.assertRegex(self.last("trace", "show", wrong),
                         r"^first layer outside the ensemble: blk\.2 \(attn_out @ token 3: (RMS|max\|x\|) [0-9.]+, correct runs ")

    def test_statistics_are_enough(self):
        def larger(values):
            values[8 * 5 + 3] *= 1.5  # the RMS of token 5
        wrong = altered(self.statistics, self.path("wrong_statistics"), "blk.4.down", larger, 8)
        self.assertIn("blk.4 (down @ token 5: RMS ", self.last("trace", "show", wrong))

    def test_nan_is_outside(self):
        def spoil(values):
            values[7] = float("nan")
        wrong = altered(self.values, self.path("nan"), "blk.1.act", spoil)
        self.assertIn("blk.1 (act @ token 0: 1 NaN, correct runs have none", self.last("trace", "show", wrong))

    def test_two_traces_part_where_one_is_wrong(self):
        self.assertIn("a and b part nowhere more than correct runs", self.last("trace", "show", self.values, THEIRS))

        def larger(values):
            values[:] = [1.3 * x for x in values]
        wrong = altered(self.values, self.path("larger"), "blk.3.ffn_norm", larger)
        lines = assay("trace", "show", wrong, self.statistics).stdout.splitlines()
        self.assertTrue(lines[-3].startswith("a: first layer outside the ensemble: blk.3 (ffn_norm"), lines[-3:])
        self.assertTrue(lines[-2].startswith("b: normal"), lines[-3:])
        self.assertRegex(lines[-1], r"^a and b part first at blk\.3\.ffn_norm .* a ratio of 1\.3;")

    def test_what_cannot_be_told_is_said(self):
        self.assertIn("cannot tell whether this is normal: no correct runs were requested",
                      self.last("trace", "show", self.values, "--runs", "0"))
        data = self.values.read_bytes().replace(b"kjv.gguf", b"gone.ggu")
        self.path("orphan").write_bytes(data)
        self.assertIn("no trace names a model file that exists", self.last("trace", "show", self.path("orphan")))
        other = self.path("other")
        assay("trace", "record", KJV, "--tokens", TOKENS.replace("948", "949"), "-o", other)
        self.assertIn("the tokens differ from index 5 on", self.last("trace", "show", self.values, other))
        done = assay("trace", "show", self.values, "-m", "nowhere.gguf")
        self.assertEqual(done.returncode, 2)
        stranger = self.path("stranger")
        stranger.write_bytes(self.values.read_bytes().replace(b'"model_sha256":"ff04e6', b'"model_sha256":"000000'))
        self.assertRegex(self.last("trace", "show", stranger), "^cannot tell whether this is normal: the weights differ")
        self.assertEqual(assay("trace", "show", stranger, "-m", KJV).returncode, 2)

    def test_json_has_the_same_facts(self):
        report = json.loads(assay("trace", "show", self.values, THEIRS, "--json").stdout)
        growth = report["growth"]
        self.assertEqual([trace["verdict"] for trace in growth["traces"]], ["normal", "normal"])
        self.assertEqual(len(growth["normal"]), 6)
        for trace in growth["traces"]:
            for value, (low, high) in zip(trace["growth"], growth["normal"], strict=True):
                self.assertTrue(low <= value <= high)
        self.assertIsNone(growth["parting"])
        self.assertEqual(len(growth["sentences"]), 3)


class Attention(Folder):
    def test_heads(self):
        report = json.loads(assay("trace", "show", self.values, "--attention", "--runs", "0", "--json").stdout)
        heads = report["traces"][0]["attention"]
        self.assertEqual({head["keys"] for head in heads}, {8})
        for head in heads:
            self.assertTrue(0 <= head["entropy_bits"] <= 3 and 1 / 8 <= head["largest"] <= 1)
        first = json.loads(assay("trace", "show", self.values, "--attention", "--token", "0", "--runs", "0", "--json").stdout)
        for head in first["traces"][0]["attention"]:
            self.assertEqual((head["keys"], head["entropy_bits"], head["largest"], head["state"]), (1, 0, 1, "usual"))

    def test_special_heads_are_flagged(self):
        for value, state in ((float("nan"), "NaN"), (0.0, "uniform"), (1e4, "one-hot")):
            def head_of_last_token(values):
                values[-64:] = [value if value != 1e4 else 1e4 * x for x in values[-64:]]
            wrong = altered(self.values, self.path("head"), "blk.2.q_rope", head_of_last_token)
            out = assay("trace", "show", wrong, "--attention", "--runs", "0").stdout
            flagged = [line.split() for line in out.splitlines() if line.endswith("  " + state)]
            self.assertIn(("2", state), [(line[0], line[-1]) for line in flagged], out)

    def test_what_is_not_available_is_said(self):
        for path, message in ((self.statistics, "holds statistics, not values"), (self.values, None)):
            done = assay("trace", "show", path, "--attention", "--runs", "0", *(() if message else ("--token", "8")))
            self.assertEqual(done.returncode, 2)
            self.assertIn(message or "there is no token 8: the trace has 8", done.stderr)


class Cases(Folder):
    def case_of(self, name, change, source=None):
        wrong = altered(source or self.values, self.path("wrong"), name, change)
        case = self.path("case")
        done = assay("diff", wrong, self.values, "-m", KJV, "--case", case)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("FAIL", done.stdout.splitlines()[-1])
        return case

    @staticmethod
    def one(values):
        values[5] = 9.0

    def test_a_case_runs_again_on_both_devices(self):
        case = self.case_of("blk.4.down", self.one)
        self.assertLess(case.stat().st_size, self.values.stat().st_size / 20)
        for device in ("cpu", "reference"):
            self.assertRegex(self.last("trace", "replay", case, "--device", device),
                             r"^PASS blk\.4\.down: .* output fails again: token 0 channel 5, ")
        report = json.loads(assay("trace", "replay", case, "--json").stdout)
        self.assertEqual((report["schema"], report["stored"]["as_recorded"], report["device"]["passes"]),
                         ("assay.replay/1", True, True))

    def test_llama_cpps_case_too(self):
        case = self.case_of("ffn_up-1.MUL_MAT", self.one, THEIRS)
        last = self.last("trace", "replay", case)
        self.assertRegex(last, r"^PASS blk\.1\.up: cpu \(assay/1\)")
        self.assertRegex(last, r"llama\.cpp .* output fails again")

    def test_a_pass_has_no_case(self):
        case = self.path("none")
        done = assay("diff", THEIRS, self.values, "-m", KJV, "--runs", "0", "--case", case)
        self.assertEqual(done.returncode, 0)
        self.assertIn("no operation fails, so there is no case to write", done.stderr)
        self.assertFalse(case.exists())

    def test_bad_cases(self):
        case = self.case_of("blk.1.q", self.one)
        bad = self.path("bad")
        for change, message in ((lambda b: b[:-9], "bytes"), (lambda b: b.replace(b"assay.case/1", b"assay.case/2"), "not a case file"),
                                (lambda b: b.replace(b"matmul", b"matmol"), "unknown kind 'matmol'")):
            bad.write_bytes(change(case.read_bytes()))
            done = assay("trace", "replay", bad)
            self.assertEqual(done.returncode, 2)
            self.assertIn(message, done.stderr)
            self.assertEqual((done.stdout, len(done.stderr.splitlines())), ("", 1))
        for arguments, code in (((self.values,), 2), (("nowhere",), 2), ((case, "--device", "warp"), 3)):
            self.assertEqual(assay("trace", "replay", *arguments).returncode, code)


if __name__ == "__main__":
    unittest.main()
