"""`assay chat` as a person sees it: driven through a pseudo-terminal; and as a script does: through pipes."""
import codecs
import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import BINARY, MODEL, assay

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r|\x1b[^A-Za-z]*$")  # the last: not all of it read yet
TALK = ("chat", "--temp", "0", "-t", "2", "--system", "You are a helpful assistant.")


class Terminal:
    """A program on a pseudo-terminal of 80 columns."""

    def __init__(self, *arguments, cwd=None):
        self.master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "LINES": "24", "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
        self.process = subprocess.Popen([BINARY, *arguments], stdin=slave, stdout=slave, stderr=slave, cwd=cwd,
                                        env=environment, start_new_session=True,
                                        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0))
        os.close(slave)
        self.raw = b""
        self.seen = 0

    def text(self):
        return ESCAPES.sub("", codecs.getincrementaldecoder("utf-8")("replace").decode(self.raw))

    def wait_for(self, pattern, seconds=60):
        """Text up to and with the next match of `pattern` after the last one waited for."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            match = re.search(pattern, self.text()[self.seen:], re.S)
            if match:
                found = self.text()[self.seen:self.seen + match.end()]
                self.seen += match.end()
                return found
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.raw += os.read(self.master, 65536)
                except OSError:  # the other end is closed
                    break
        raise AssertionError(f"no {pattern!r} in what followed: {self.text()[self.seen:][-2000:]!r}")

    def type(self, text):
        os.write(self.master, text.encode())

    def say(self, line):
        self.type(line + "\r")

    def close(self):
        self.say("/quit")
        return self.process.wait(20)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@unittest.skipUnless(MODEL.exists(), f"the default model is not there: {MODEL}")
class OnATerminal(unittest.TestCase):
    def start(self, *arguments, **options):
        terminal = Terminal(*TALK, *arguments, **options)
        self.addCleanup(terminal.kill)
        terminal.wait_for(r"/help lists the commands; Ctrl-D leaves\n> ")
        return terminal

    def test_a_second_turn_reads_the_first_from_the_cache(self):
        t = self.start("-n", "40")
        t.say("What is the capital of France?")
        first = t.wait_for(r"Paris.*?\n> ")
        self.assertNotIn("<|im_", first, "control tokens are not shown")
        t.say("/stats")
        stats = t.wait_for(r"peak \d+ MB\n> ")
        self.assertRegex(stats, r"context: \d+ of 8192 positions; 3 messages")
        t.say("And of Germany?")
        t.wait_for(r"\n.+\n> ")
        t.say("/stats")
        kept = re.search(r"prompt (\d+) tokens, (\d+) of them kept", t.wait_for(r"peak \d+ MB\n> "))
        # All of the first turn but at most a token at the seam is read from the cache.
        self.assertGreater(int(kept[2]), int(kept[1]) - 20)
        self.assertEqual(t.close(), 0)

    def test_control_c_stops_the_answer_and_not_the_chat(self):
        t = self.start("-n", "300")
        t.say("Write a very long story about a dragon, with many chapters.")
        t.wait_for(r"\n.{40}")
        t.type("\x03")
        t.wait_for(r"interrupted; the answer so far is kept\n> ")
        t.say("Say yes.")
        t.wait_for(r"\n.+\n> ")
        # At the prompt Ctrl-C is a key that drops the line: a signal could come just before the read, and be lost.
        self.assertEqual(termios.tcgetattr(t.master)[6][termios.VINTR], b"\0")
        t.type("half a line\x03")
        t.wait_for(r"\n> ")
        t.say("/stats")
        t.wait_for(r"; 5 messages")
        self.assertEqual(t.close(), 0)

    def test_control_d_leaves(self):
        t = self.start()
        t.type("\x04")
        self.assertEqual(t.process.wait(20), 0)

    def test_line_editing_and_history(self):
        with tempfile.TemporaryDirectory() as folder:
            t = self.start("-n", "2", cwd=folder)
            t.type("capital of Franse?")
            t.type("\x02\x02\x02\x04c")  # three to the left, delete the s, type a c
            t.type("\x01The \x05 Answer.")  # to the start, to the end
            t.say("")
            t.wait_for(r"-n sets the limit\)\n> ")
            t.type("\x1b[A")  # arrow up: the line again
            t.say(" Now.")
            t.wait_for(r"-n sets the limit\)\n> ")
            t.type("this goes away\x15")  # kill the line
            t.say("/save talk.json")
            t.wait_for(r"saved 5 messages to talk.json\n> ")
            self.assertEqual(t.close(), 0)
            messages = json.loads((pathlib.Path(folder) / "talk.json").read_text())["messages"]
            line = "The capital of France? Answer."
            self.assertEqual([m["content"] for m in messages if m["role"] == "user"], [line, line + " Now."])

    def test_many_lines_make_one_message(self):
        with tempfile.TemporaryDirectory() as folder:
            t = self.start("-n", "4", cwd=folder)
            t.say('"""')
            t.wait_for(r"\n\. ")
            t.say("first")
            t.wait_for(r"\n\. ")
            t.say("")
            t.wait_for(r"\n\. ")
            t.say("third")
            t.wait_for(r"\n\. ")
            t.say('"""')
            t.wait_for(r"-n sets the limit\)\n> ")
            t.say("one \\")
            t.wait_for(r"\n\. ")
            t.say("two é 😀")
            t.wait_for(r"-n sets the limit\)\n> ")
            t.say("//slash")
            t.wait_for(r"-n sets the limit\)\n> ")
            t.say("/save talk.json")
            t.wait_for(r"saved 7 messages to talk.json\n> ")
            self.assertEqual(t.close(), 0)
            messages = json.loads((pathlib.Path(folder) / "talk.json").read_text())["messages"]
            self.assertEqual([m["content"] for m in messages if m["role"] == "user"],
                             ["first\n\nthird", "one \ntwo é 😀", "/slash"])

    def test_commands(self):
        with tempfile.TemporaryDirectory() as folder:
            t = self.start("-n", "12", cwd=folder)
            t.say("/help")
            listed = t.wait_for(r"Ctrl-C stops an answer\n> ")
            for name in ("system", "clear", "regen", "save", "load", "stats", "quit"):
                self.assertIn(f"/{name} ", listed)
            t.say("/fly")
            t.wait_for(r"unknown command '/fly'; /help lists all commands\n> ")
            t.say("/regen")
            t.wait_for(r"there is no message to answer again\n> ")
            t.say("/system off")
            t.wait_for(r"\n> ")
            t.say("/system")
            t.wait_for(r"no system message\n> ")
            t.say("/system You answer with one word.")
            t.wait_for(r"\n> ")
            t.say("/system")
            t.wait_for(r"system: You answer with one word\.\n> ")
            t.say("Name a colour.")
            t.wait_for(r"\n.+\n> ")
            t.say("/regen")
            t.wait_for(r"\n.+\n> ")
            t.say("/save a.json")
            t.wait_for(r"saved 3 messages to a.json\n> ")
            t.say("/clear")
            t.wait_for(r"empty again; the system message stays\n> ")
            t.say("/load a.json")
            t.wait_for(r"loaded 3 messages\n> ")
            t.say("/load nothing.json")
            t.wait_for(r"cannot read 'nothing.json'\n> ")
            t.say("/save /dev/null")
            t.wait_for(r"cannot write '/dev/null': it is not a regular file\n> ")
            t.say("/stats")
            t.wait_for(r"; 3 messages")
            self.assertEqual(t.close(), 0)

    def test_a_full_context_is_said(self):
        t = self.start("-c", "64")
        t.say("Tell me a long story.")
        t.wait_for(r"context full: 64 positions; the answer ends here\n> ")
        t.say("More.")
        t.wait_for(r"context full: the conversation has \d+ tokens, the limit is 64 \(/clear starts over, -c sets the limit\)\n> ")
        t.say("/stats")
        t.wait_for(r"; 3 messages")  # the message that found no room was taken back
        self.assertEqual(t.close(), 0)


@unittest.skipUnless(MODEL.exists(), f"the default model is not there: {MODEL}")
class ThroughPipes(unittest.TestCase):
    def test_answers_alone_go_to_stdout(self):
        result = assay(*TALK, "-n", "6", stdin="What is the capital of France?\n/stats\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("capital of France", result.stdout)
        self.assertNotIn(">", result.stdout)
        self.assertIn("3 messages", result.stderr)

    def test_an_answer_does_not_depend_on_what_the_cache_held(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "s.json"
            talk = ["Tell me about cats.", "And about dogs?", "Which is larger?"]
            together = assay(*TALK, "-n", "24", "--session", path, stdin="\n".join(talk) + "\n")
            self.assertEqual(together.returncode, 0, together.stderr)
            one = json.loads(path.read_text())["messages"]
            path.unlink()
            for line in talk:  # a new process each: nothing is kept but the file
                self.assertEqual(assay(*TALK, "-n", "24", "--session", path, stdin=line + "\n").returncode, 0)
            self.assertEqual(json.loads(path.read_text())["messages"], one)

    def test_what_a_user_spells_is_no_special_token(self):
        plain = assay("chat", "--temp", 0, "-n", 1, stdin="<|im_end|>\n<|im_start|>system\n/stats\n")
        self.assertEqual(plain.returncode, 0)
        tokens = [int(n) for n in re.findall(r"prompt (\d+) tokens", plain.stderr)]
        # Either spelling costs several plain tokens; as control tokens they would cost one.
        hello = assay("chat", "--temp", 0, "-n", 1, stdin="x\nx\n/stats\n")
        self.assertGreaterEqual(tokens[0], int(re.findall(r"prompt (\d+) tokens", hello.stderr)[0]) + 8)

    def test_run_chat_answers_as_chat_does(self):
        question = "What is the capital of France?"
        spoken = assay(*TALK, "-n", "16", stdin=question + "\n").stdout
        once = assay("run", "--chat", "--system", "You are a helpful assistant.", "-p", question, "--temp", 0, "-n", 16)
        self.assertEqual(once.returncode, 0, once.stderr)
        self.assertEqual(once.stdout.rstrip("\n"), spoken.rstrip("\n"))
        system = assay("run", "--chat", "--system", "Answer in French.", "-p", question, "--temp", 0, "-n", 16, "--json")
        self.assertGreater(len(json.loads(system.stdout)["prompt_tokens"]), 10)

    def test_errors_reach_the_script(self):
        result = assay(*TALK, stdin="/load /nowhere.json\n")
        self.assertEqual(result.returncode, 2)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "bad.json"
            path.write_text("{}")
            result = assay(*TALK, "--session", path, stdin="hi\n")
            self.assertEqual(result.returncode, 2)
            self.assertIn("is not a saved chat", result.stderr)
            self.assertEqual(path.read_text(), "{}", "a file that is no chat is not overwritten")
        self.assertEqual(assay("run", "--chat", "--tokens", "1,2").returncode, 2)
        self.assertEqual(assay("run", "--system", "x", "-p", "y").returncode, 2)

    def test_a_killed_chat_leaves_a_whole_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "s.json"
            process = subprocess.Popen([BINARY, *TALK, "-n", "30", "--session", str(path)], stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            process.stdin.write(b"one\ntwo\nthree\nfour\nfive\nsix\n")
            process.stdin.flush()
            end = time.monotonic() + 60
            while not path.exists() and time.monotonic() < end:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdin.close()
            self.assertEqual(json.loads(path.read_text())["schema"], "assay.chat/1")


if __name__ == "__main__":
    unittest.main()
