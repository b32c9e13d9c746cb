"""`assay diff TRACE`, and what people hand it that is no whole trace in F32; `assay check` with heads first."""
import json
import os
import pathlib
import pty
import struct
import subprocess
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import BINARY, ROOT, WithFolder, assay

sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tests")]
import tiny_models
from assay import trace

KJV = ROOT / "tests/data/kjv/kjv.gguf"
THEIRS = ROOT / "tests/data/traces/kjv_8_flash.safetensors"
TOKENS = [1, 300, 391, 394, 1991, 948, 388, 298]
HEADS = {"q": 4, "q_rope": 4, "kqv": 4, "k": 2, "v": 2, "k_rope": 2, "kv_k": 2, "kv_v": 2}


class OneTrace(WithFolder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ours = cls.record("ours", TOKENS)

    @classmethod
    def record(cls, name, tokens):
        path = cls.path(name)
        done = assay("trace", "record", KJV, "--tokens", ",".join(map(str, tokens)), "-o", path)
        assert done.returncode == 0, done.stderr
        return path

    def altered(self, name, change, source=None):
        """The trace with each (name, array) as `change` gives it back; None leaves it out."""
        whole = trace.read(source or self.ours)
        writer = trace.TraceWriter(whole.metadata["engine"], tokens=whole.steps()[0]["tokens"], kv="f16",
                                   model=whole.metadata["model"], contract=whole.metadata["contract"])
        for key, array in whole.of_step().items():
            changed = change(key, array.copy())
            if changed is not None:
                writer.add(*changed)
        writer.write(self.path(name))
        return self.path(name)

    def last(self, *arguments, code):
        done = assay(*arguments)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout.splitlines()[-1] if done.stdout else done.stderr.splitlines()[-1]

    def test_one_trace_is_judged_by_the_model_that_it_names(self):
        for arguments in ((self.ours,), (self.ours, "-m", KJV), (THEIRS, "-m", KJV)):
            self.assertRegex(self.last("diff", *arguments, code=0), "^PASS: every operation of .* 100 of 100 operations judged$")
        orphan = self.path("gone")
        orphan.write_bytes(self.ours.read_bytes().replace(b"kjv.gguf", b"gone.ggu"))
        self.assertIn("give it with -m MODEL", self.last("diff", orphan, code=2))
        self.assertIn("give two traces", self.last("diff", self.ours, "--swap", code=2))

    def test_the_failure_says_where_in_words_and_is_short(self):
        def spoil(name, array):
            if name == "blk.3.kqv":
                array[3:8, 64:128] += 1
            return name, array
        done = assay("diff", self.altered("spoilt", spoil), "-m", KJV)
        self.assertEqual(done.returncode, 1, done.stderr)
        lines = done.stdout.splitlines()
        self.assertRegex(lines[-1], r"^FAIL blk\.3\.kqv of assay .* is wrong: tokens 3 to 7, head 1 of 4, \+ 1; at token \d, channel \d+ "
                                    r"got [-0-9.e]+, wanted [-0-9.e]+ \(off by .* u, limit .* u\)")
        self.assertLess(len(lines[-1]), 320)
        self.assertRegex(lines[-2], "^u: an error of 1 u is 2\\^-24")
        self.assertLess(len(lines), 45)  # 20 kinds of operation, not 100 operations
        first = json.loads(assay("diff", self.path("spoilt"), "-m", KJV, "--json").stdout)["first"]
        self.assertEqual(first["where"], "tokens 3 to 7, head 1 of 4, + 1")
        self.assertAlmostEqual(first["got"] - first["wanted"], 1, 2)

    def test_on_a_terminal_the_sentence_is_wrapped(self):
        def spoil(name, array):
            return name, array + (name == "blk.0.attn_norm")
        path = self.altered("wrapped", spoil)
        main, side = pty.openpty()
        environment = {**os.environ, "COLUMNS": "60"}
        running = subprocess.Popen([BINARY, "diff", path, "-m", KJV], stdout=side, stderr=subprocess.DEVNULL, env=environment)
        os.close(side)
        text = b""
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError:
                break
            if not piece:
                break
            text += piece
        os.close(main)
        self.assertEqual(running.wait(), 1)
        sentence = text.decode().replace("\r", "").rsplit("\nFAIL ", 1)[1].splitlines()
        self.assertGreater(len(sentence), 2)
        self.assertLessEqual(max(map(len, sentence)), 60)

    def test_fewer_bits_are_no_fault(self):
        path = self.altered("f16", lambda name, array: (name, array.astype("<f2")))
        self.assertRegex(self.last("diff", path, "-m", KJV, code=2), "^UNMEASURED: .* keeps its values as F16, .* record the values as F32$")
        self.assertEqual(json.loads(assay("diff", path, "-m", KJV, "--json").stdout)["verdict"], "UNMEASURED")

    def test_bf16_too(self):
        whole = bytearray(self.ours.read_bytes())
        length = struct.unpack("<Q", whole[:8])[0]
        header = json.loads(whole[8:8 + length])
        data, end = b"", 0
        for key, entry in header.items():
            if key == "__metadata__":
                continue
            begin, stop = (8 + length + offset for offset in entry["data_offsets"])
            bits = np.frombuffer(bytes(whole[begin:stop]), "<u4")
            piece = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()
            entry.update(dtype="BF16", data_offsets=[end, end + len(piece)])
            end += len(piece)
            data += piece
        text = json.dumps(header).encode()
        path = self.path("bf16")
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)
        self.assertRegex(self.last("diff", path, "-m", KJV, code=2), "^UNMEASURED: .* keeps its values as BF16")

    def test_heads_before_tokens_are_found(self):
        ours = self.record("four", TOKENS[:4])  # as many tokens as heads

        def heads_first(name, array):
            heads = HEADS.get(name.rsplit(".", 1)[-1])
            if not heads or name == "logits":
                return name, array
            return name, array.reshape(len(array), heads, -1).swapaxes(0, 1)[None]
        path = self.altered("heads", heads_first, ours)
        done = assay("diff", path, "-m", KJV)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("stored as (heads, tokens, channels of a head)", done.stdout)

    def test_names_that_are_not_known_are_reported(self):
        renames = {"blk.0.gate": "model.layers.0.mlp.gate_proj", "blk.2.q": "blk.2.Q"}
        path = self.altered("renamed", lambda name, array: (renames.get(name, name), array))
        done = assay("diff", path, "-m", KJV)
        self.assertEqual(done.returncode, 0)  # what reads them was judged with them
        self.assertRegex(done.stdout, r"2 tensors have names that are not known, so they were not judged: .*"
                                      r"did you mean '\d{6}\.blk\.0\.gate'\?.*did you mean '\d{6}\.blk\.2\.q'\?")
        self.assertRegex(done.stdout.splitlines()[-1], r"^PASS: ")
        shown = assay("trace", "show", path, "-m", KJV, "--runs", "0")
        self.assertIn("did you mean", shown.stderr)

    def test_the_last_token_alone_says_what_to_do(self):
        logits = self.altered("last_logits", lambda name, array: (name, array[-1:] if name == "logits" else array))
        self.assertIn('"selected": [7]', self.last("diff", logits, "-m", KJV, code=2))
        every = self.altered("last", lambda name, array: (name, array[-1:]))
        self.assertIn("record every token of the prompt", self.last("diff", every, "-m", KJV, code=2))

    def test_what_is_no_trace_says_what_it_is(self):
        spoilt = self.altered("for_case", lambda name, array: (name, array + (name == "blk.1.up")))
        case = self.path("case")
        self.assertEqual(assay("diff", spoilt, "-m", KJV, "--case", case).returncode, 1)
        self.assertRegex(self.last("trace", "replay", case, code=0), "output fails again")
        array = self.path("array.npy")
        np.save(array, np.zeros(3))
        for path, sentence in ((case, "'assay trace replay' judges it"), (KJV, "it is a GGUF model"), (array, "it is a .npy array")):
            self.assertIn(sentence, self.last("diff", path, "-m", KJV, code=2))

    def test_show_judges_sizes_only_and_names_the_best_tokens(self):
        done = assay("trace", "show", self.ours)
        self.assertIn("this is about sizes only", done.stdout.splitlines()[-1])
        self.assertRegex(done.stdout, r"\nbest tokens after the last one: (\d+ '.*' \([-0-9.]+\)(, |\n)){5}")
        best = json.loads(assay("trace", "show", self.ours, "--json", "--runs", "0").stdout)["traces"][0]["best"]
        logits = trace.read(self.ours).of_step()["logits"][-1]
        self.assertEqual([one["token"] for one in best], list(np.argsort(-logits, kind="stable")[:5]))
        self.assertTrue(all(isinstance(one["text"], str) for one in best))


class FewerExperts(WithFolder):
    """An engine that chooses fewer experts than the model says: its routing and its products are narrower."""

    def test_the_routing_is_wrong(self):
        model, right, path = self.path("model"), self.path("right"), self.path("fewer")
        tiny_models.MODELS["qwen3moe"].write(model)
        done = assay("trace", "record", model, "--tokens", "3,9,14,60,61", "-o", right)
        self.assertEqual(done.returncode, 0, done.stderr)
        whole = trace.read(right)
        for used in (2, 1):
            writer = trace.TraceWriter("other", tokens=whole.steps()[0]["tokens"], kv="f16")
            for name, array in whole.of_step().items():
                if name == "blk.1.routing":
                    ids, weights = array[:, :used], array[:, 3:3 + used]
                    writer.add("blk.1.routing_ids", np.ascontiguousarray(ids))
                    writer.add("blk.1.routing_weights", weights / weights.sum(axis=1, keepdims=True))
                elif name.startswith("blk.1.experts_"):
                    writer.add(name, np.ascontiguousarray(array[:, :array.shape[1] * used // 3]))
                else:
                    writer.add(name, array)
            writer.write(path)
            done = assay("diff", path, "-m", model, "--json")
            verdict = json.loads(done.stdout)
            self.assertEqual((done.returncode, verdict["first"]["operation"], verdict["cause"]["id"]),
                             (1, "blk.1.routing", "route-one-short"), verdict["sentence"])
            self.assertIn(f"{used} instead of 3", verdict["cause"]["evidence"])
            self.assertEqual({one["name"] for one in verdict["operations"] if one["a"]["verdict"] == "FAIL"},
                             {"blk.1.routing", "blk.1.experts"})


class HeadsFirst(unittest.TestCase):
    def test_check_finds_arrays_of_heads_first(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "trace")
            assay("trace", "record", KJV, "--tokens", ",".join(map(str, TOKENS[:4])), "-o", path)
            one = trace.read(path).of_step()
            q, turned = one["blk.0.q"], one["blk.0.q_rope"].reshape(4, 4, 64).swapaxes(0, 1)[None]
            names = [str(pathlib.Path(folder, name)) for name in ("q.npy", "out.npy", "bad.npy")]
            for name, array in zip(names, (q, turned, turned + 1)):
                np.save(name, np.ascontiguousarray(array))
            done = assay("check", KJV, "blk.0.q_rope", "--input", names[0], "--output", names[1])
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertRegex(done.stdout.splitlines()[-1], r"read as \(heads, tokens, channels\): .*out\.npy$")
            done = assay("check", KJV, "blk.0.q_rope", "--input", names[0], "--output", names[2])
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertRegex(done.stdout.splitlines()[-1], r"^FAIL blk\.0\.q_rope @ token \d channel \d+: got ")


if __name__ == "__main__":
    unittest.main()
