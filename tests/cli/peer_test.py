"""Programs that assay runs: llama-bench beside `assay bench`, Python for `assay doctor`. How they end is said."""
import json
import pathlib
import stat
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import ROOT, assay

KJV = ROOT / "tests/data/kjv/kjv.gguf"
TRACES = ROOT / "tests/data/traces"
TEXT, TOKENS = "And God said, Let there be", "1,300,391,394,1991,948,388,298"


class Programs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def program(self, text, name="program"):
        path = pathlib.Path(self.folder.name, name)
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path


class Bench(Programs):
    def bench(self, peer, *arguments):
        return assay("bench", KJV, "--prompt", "8", "--generation", "0", "-r", "1", "--peer", peer, *arguments)

    def test_a_peer_that_answers(self):
        peer = self.program("""case "$*" in *"-p 8 -n 0"*) echo '[{"avg_ts": 12.5}]';; esac""", "it's a peer")
        done = self.bench(peer, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["results"][0]["peer"]["median"], 12.5)

    def test_how_a_peer_ended(self):
        for text, sentence in (("echo loading >&2; echo using AMX >&2; kill -ILL $$",
                                "was ended by signal 4 (Illegal instruction); its last line: using AMX"),
                               ("kill -KILL $$", "was ended by signal 9 (Killed)"),
                               ("echo no such model >&2; exit 3", "ended with exit code 3; its last line: no such model"),
                               ("echo hello; echo hello again", "did not print llama-bench's JSON; its last line: hello again"),
                               ("exit 0", "did not print llama-bench's JSON, nor anything else"),
                               ("echo '[{\"avg_ts\": \"fast\"}]'", "did not print llama-bench's JSON")):
            done = self.bench(self.program(text))
            self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
            self.assertIn(sentence, done.stderr)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1)
        done = self.bench(pathlib.Path(self.folder.name, "absent"))
        self.assertIn("cannot start", done.stderr)

    def test_a_peer_that_says_much_on_both_sides_does_not_hang(self):
        peer = self.program("i=0; while [ $i -lt 4000 ]; do echo 'a line on standard error of some length' >&2; i=$((i+1)); done\n"
                            "echo '[{\"avg_ts\": 1}]'")
        self.assertEqual(self.bench(peer).returncode, 0)


class Doctor(Programs):
    def captured(self, with_text):
        """Hands out a capture made before; `with_text` is what it does with a text."""
        return self.program(f'text=0; for one in "$@"; do case "$one" in -p=*) text=1;; esac; done\n'
                            f'if [ $text = 1 ]; then {with_text}; fi\n'
                            f'while [ "$1" != -o ]; do shift; done\ncp "{TRACES}/kjv_8_noflash.safetensors" "$2"\n')

    def doctor(self, python, *arguments):
        return assay("doctor", KJV, "--python", python, *arguments)

    def test_tokens_that_could_not_be_compared_are_part_of_the_verdict(self):
        done = self.doctor(self.captured("echo 'assay.capture: the text is strange' >&2; exit 2"), "-p", TEXT)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertRegex(done.stdout.splitlines()[-1],
                         "^UNMEASURED: all 100 operations of both .* is not known: the text is strange$")
        done = self.doctor(self.captured("true"), "-p", TEXT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("llama.cpp gives the same tokens", done.stdout)

    def test_a_capture_that_dies_says_how(self):
        done = self.doctor(self.program("kill -SEGV $$"), "--tokens", TOKENS)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stdout.splitlines()[-1], r"^UNMEASURED: .*was ended by signal 11 \(Segmentation fault\)")

    def test_what_to_install_is_said(self):
        for missing in ("llama_cpp", "numpy"):
            blocked = self.program(f'exec "{sys.executable}" -c "\nimport runpy, sys\nsys.modules[\'{missing}\'] = None\n'
                                   'sys.argv = sys.argv[:1] + sys.argv[3:]\nrunpy.run_module(\'assay.capture\', run_name=\'__main__\')" "$@"\n')
            done = self.doctor(blocked, "--tokens", TOKENS)
            self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
            package = {"llama_cpp": "llama-cpp-python==0.3.36", "numpy": "numpy llama-cpp-python==0.3.36"}[missing]
            self.assertRegex(done.stdout.splitlines()[-1], f"^UNMEASURED: .*{missing} cannot be imported .* -m pip install {package}$")

    def test_a_python_without_the_package_says_what_to_set(self):
        done = self.doctor(self.program("echo 'No module named assay.capture' >&2; exit 1"), "--tokens", TOKENS)
        self.assertIn("PYTHONPATH must name the folder python/", done.stdout.splitlines()[-1])


if __name__ == "__main__":
    unittest.main()
