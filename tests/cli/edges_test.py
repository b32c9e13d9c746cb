"""What a user gets wrong, and what a terminal, a full disk or a reader that goes away does to the program."""
import json
import os
import pathlib
import pty
import signal
import subprocess
import tempfile
import time
import unittest

from cli_test import BINARY, FRANCE, MODEL, SHARED, assay


class Refusals(unittest.TestCase):
    def refused(self, *arguments, contains, code=2, **options):
        result = assay(*arguments, **options)
        self.assertEqual((result.returncode, result.stdout), (code, ""), result.stderr)
        self.assertRegex(result.stderr, r"\Aassay: [^\n]+\n\Z")
        self.assertNotIn("internal error", result.stderr)
        self.assertIn(contains, result.stderr)

    def test_usage_errors_are_one_line_that_names_the_cause(self):
        self.refused(contains="see 'assay --help'")
        self.refused("fly", contains="no command 'fly'")
        self.refused("run", "--nonsense", contains="--nonsense; see 'assay run --help'")
        self.refused("run", "-t", "-1", contains="'-1' is not a number from 0 to 1024")
        self.refused("run", "--kv", "q2", contains="q2")
        self.refused("bench", "--prompt", "x", contains="--prompt")
        self.refused("inspect", "x", "y", contains="y")

    def test_sampler_numbers_are_bounded_and_never_nan(self):
        for flag in ("--temp", "--top-p", "--min-p", "--frequency-penalty", "--presence-penalty", "--repeat-penalty"):
            self.refused("run", flag, "nan", "-p", "x", contains=f"{flag}: 'nan' is not a number")
        self.refused("run", "--top-p", "1.5", "-p", "x", contains="from 0 to 1")
        self.refused("run", "--seed", "-5", "-p", "x", contains="'-5' is neither")

    def test_a_prompt_from_one_place_only_and_from_a_file_that_is_one(self):
        self.refused("run", "-p", "x", "--tokens", "1", contains="give one of -p, -f and --tokens")
        self.refused("run", "-f", "/nonexistent", contains="cannot read '/nonexistent'")
        with tempfile.TemporaryDirectory() as folder:
            self.refused("run", "-f", folder, contains="cannot read")

    def test_help_states_the_defaults(self):
        for command, defaults in (("run", ("default: 512", "default: 0.8", "default: 40", "default: 0.95", "default: 0.05", "all cores")),
                                  ("logits", ("default: 5", "default: f16")), ("bench", ("default: 5", "default: 128,512")),
                                  ("inspect", ("default: SmolLM2",)), ("tokenize", ("default: standard input",))):
            text = " ".join(assay(command, "--help").stdout.split())
            for default in defaults:
                self.assertIn(default, text, command)

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full on this system")
    def test_a_full_disk_is_an_error_even_for_the_help(self):
        for arguments in (["--help"], ["--version"], ["run", "--help"]):
            with open("/dev/full", "w") as full:
                result = subprocess.run([BINARY, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertEqual(result.stderr, "assay: cannot write to standard output: No space left on device\n")


@unittest.skipUnless(MODEL.exists(), f"the default model is not there: {MODEL}")
class DefaultModelEdges(unittest.TestCase):
    refused = Refusals.refused

    def test_a_file_cut_short_says_both_sizes(self):
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file, MODEL.open("rb") as model:
            file.write(model.read(20_000_000))
            file.flush()
            self.refused("run", file.name, "-p", "x", contains="20000000")
            self.refused("inspect", file.name, contains=str(MODEL.stat().st_size))

    def test_forced_instruction_sets(self):
        want = assay("logits", "--tokens", "1,2,3").stdout
        machine = os.uname().machine
        if machine == "x86_64":
            self.assertEqual(assay("logits", "--tokens", "1,2,3", env={"ASSAY_ISA": "avx2"}).stdout, want)
            self.refused("run", "-p", "x", code=3, contains="'neon'", env={"ASSAY_ISA": "neon"})

    def test_no_tokens_wanted_gives_none(self):
        result = json.loads(assay("run", "-p", FRANCE, "-n", 0, "--json").stdout)
        self.assertEqual((result["tokens"], result["text"], result["finish_reason"]), ([], "", "length"))
        self.assertEqual(assay("run", "-p", FRANCE, "-n", 0).stdout, "")

    def test_layers_that_are_not_there_are_named(self):
        self.refused("run", "-p", "x", "--stats", "--layers", "0,30", contains="no layer 30; the model has layers 0 to 29")
        self.refused("run", "-p", "x", "--layers", "0", contains="--stats")

    def test_cuts_of_one_token(self):
        self.refused("logits", "--tokens", "1", "--cut", "1", contains="a single token cannot be cut")

    def test_output_never_replaces_what_is_no_file(self):
        with tempfile.TemporaryDirectory() as folder:
            fifo = pathlib.Path(folder) / "fifo"
            os.mkfifo(fifo)
            self.refused("logits", "--tokens", "1", "-o", fifo, contains="it is not a regular file")
            self.assertTrue(fifo.is_fifo())
            self.refused("logits", "--tokens", "1", "-o", folder, contains="it is not a regular file")
            self.assertEqual(os.listdir(folder), ["fifo"])

    def test_nothing_to_measure(self):
        self.refused("bench", "--prompt", 0, "--generation", 0, contains="nothing to measure")

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full on this system")
    def test_a_full_disk_is_an_error(self):
        for arguments in (["run", "-p", "a", "-n", "2"], ["run", "-p", "a", "-n", "2", "--json"], ["tokenize", "-p", "a"],
                          ["logits", "--tokens", "1"], ["inspect"]):
            with open("/dev/full", "w") as full:
                result = subprocess.run([BINARY, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertTrue(result.stderr.endswith("assay: cannot write to standard output: No space left on device\n"))

    def test_interrupt_in_a_long_prompt(self):
        # 3000 tokens in steps of 8: many seconds. The signal comes once the device has been named.
        process = subprocess.Popen([BINARY, "run", "--tokens", ",".join(["28"] * 3000), "-b", "8", "-t", "1", "--json"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.assertIn("device:", process.stderr.readline())
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        result = json.loads(output)
        self.assertEqual((result["finish_reason"], result["tokens"]), ("interrupted", []))

    def test_hashing_the_file_does_not_hold_it_in_memory(self):
        # --json hashes all of the file; it may add two pieces of 4 MiB and the JSON, not the file's 98 MB.
        report = assay("run", "-p", "a", "-n", 1)
        plain = float(report.stderr.rsplit("peak ", 1)[1].split()[0]) * 1e6
        hashed = json.loads(assay("run", "-p", "a", "-n", 1, "--json").stdout)["peak_bytes"]
        self.assertLess(hashed - plain, 30e6)

    def on_terminal(self, *arguments):
        """What stderr shows on a terminal, stdout, and the longest time without a sign on stderr."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen([BINARY, *map(str, arguments)], stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL)
        os.close(theirs)
        seen, last, silence = b"", time.monotonic(), 0
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux: the other side has closed
                break
            if not part:
                break
            silence, last = max(silence, time.monotonic() - last), time.monotonic()
            seen += part
        output = process.stdout.read()
        process.stdout.close()
        process.wait(timeout=60)
        os.close(ours)
        self.assertNotIn(b"\x1b", seen)  # no colours at all, so NO_COLOR has nothing to switch off
        return seen.decode().replace("\r\n", "\n"), output, silence

    def assert_erased(self, seen):
        # What a line still shows: the text after its last carriage return, which erasing makes blank.
        for line in seen.split("\n"):
            self.assertNotRegex(line.rsplit("\r", 1)[-1], r"\d s *$|\[=")

    def test_work_of_more_than_a_second_shows_a_line_that_is_erased(self):
        # 600 tokens in steps of 8 on one thread take some seconds.
        seen, output, silence = self.on_terminal("run", "--tokens", ",".join(["28"] * 600), "-b", 8, "-t", 1, "-n", 1, "--temp", 0)
        self.assertRegex(seen, r"\rprompt \[=+ *\] +\d+ %  \d+ s")
        self.assertLess(silence, 3)
        self.assert_erased(seen)
        self.assertNotIn(b"\r", output)
        seen, _, silence = self.on_terminal("verify", "--synthetic", "-t", 1)
        self.assertRegex(seen, r"\rverify ")
        self.assertLess(silence, 3)
        self.assert_erased(seen)

    def test_quick_work_shows_no_line(self):
        seen, output, _ = self.on_terminal("inspect", "--plan")
        self.assertEqual(seen, "")
        self.assertIn(b"operations in", output)


@unittest.skipUnless((SHARED / "architectures/llama-dense.gguf").exists(), f"shared data is not there: {SHARED}")
class WithoutTokenizer(unittest.TestCase):
    refused = Refusals.refused

    def test_text_is_refused_and_ids_are_said_to_be_printed(self):
        model = SHARED / "architectures/llama-dense.gguf"
        self.refused("run", model, "-p", "x", contains="'test'")
        self.refused("tokenize", model, "-p", "x", contains="'test'")
        self.assertIn("printing token ids", assay("run", model, "--tokens", "1", "-n", 1).stderr)
        result = json.loads(assay("run", model, "--tokens", "1,2", "-n", 2, "--temp", 0, "--json").stdout)
        self.assertEqual(result["text"], ",".join(map(str, result["tokens"])))


if __name__ == "__main__":
    unittest.main()
