"""`assay chat` as a person sees it: driven through a pseudo-terminal; and as a script does: through pipes."""
import codecs
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import BINARY, MODEL, assay
from text_test import CHANNELS, harmony, thinking

STATE = tempfile.TemporaryDirectory()  # not the history of whoever runs the tests
os.environ["XDG_STATE_HOME"] = STATE.name
PASTE_BEGINS, PASTE_ENDS = "\x1b[200~", "\x1b[201~"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r|\x1b[^A-Za-z]*$")  # the last: not all of it read yet
TALK = ("chat", "--temp", "0", "-t", "2", "--system", "You are a helpful assistant.")


class Terminal:
    """A program on a pseudo-terminal of 80 columns."""

    def __init__(self, *arguments, cwd=None, env=None):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {**os.environ, "TERM": "xterm", "LINES": "24", "COLUMNS": "80", "LC_ALL": "C.UTF-8", **(env or {})}
        self.process = subprocess.Popen([BINARY, *arguments], stdin=slave, stdout=slave, stderr=slave, cwd=cwd,
                                        env=environment, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
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
        t.type("\x1b[A")  # what Ctrl-C took away is in the history
        t.wait_for(r"half a line")
        t.type("\x15\x03")
        t.wait_for(r"Ctrl-D or /bye leaves\n> ")
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
            for name in ("system", "clear", "regen", "undo", "drop", "set", "show", "save", "load", "stats", "quit"):
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
            t.say("/save a.json")
            t.wait_for(r"'a.json' exists; /save! a.json replaces it\n> ")
            t.say("/save! a.json")
            t.wait_for(r"saved 3 messages to a.json\n> ")
            t.say("/clear")
            t.wait_for(r"empty again; the system message stays \(/undo brings it back\)\n> ")
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
        t.wait_for(r"context full: 64 positions; the answer ends here \(/drop N leaves out the N oldest exchanges\)\n> ")
        t.say("More.")
        t.wait_for(r"context full: the conversation has \d+ tokens, the limit is 64; this message was not sent .*-c sets the limit\)\n> ")
        t.say("/stats")
        t.wait_for(r"; 3 messages")  # the message that found no room was taken back
        t.say("/undo")
        t.wait_for(r"took back the last exchange; 1 messages are left\n> ")
        t.say("Hi.")
        t.wait_for(r"\n.+\n> ")
        self.assertEqual(t.close(), 0)

    def test_what_is_typed_during_an_answer_waits_for_its_turn(self):
        t = self.start("-n", "120")
        t.say("Write a very long story about a dragon.")
        t.wait_for(r"\n.{40}")
        t.type("Who?\rAnd" + PASTE_BEGINS + " why\nnot" + PASTE_ENDS)
        t.wait_for(r"waits: Who\? ⏎ And why not")
        t.wait_for(r"-n sets the limit\)\n> Who\?\n")
        t.wait_for(r"> And why\r?\n?not")  # the begun line is there to be edited
        t.say(" then?")
        t.wait_for(r"\n.+\n> ")
        t.say("/stats")
        t.wait_for(r"; 7 messages")
        self.assertEqual(t.close(), 0)


class WithAScript(unittest.TestCase):
    """A model that answers "hmyes" to everything, of which "hm" are thoughts."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.model = thinking().write(self.folder / "m.gguf")

    def start(self, *arguments, **options):
        terminal = Terminal("chat", self.model, "--temp", "0", *arguments, cwd=self.folder, **options)
        self.addCleanup(terminal.kill)
        terminal.wait_for(r"/help lists the commands; Ctrl-D leaves\n> ")
        return terminal

    def piped(self, lines, *arguments, code=0):
        result = assay("chat", self.model, "--temp", 0, *arguments, stdin="\n".join(lines) + "\n", cwd=self.folder)
        self.assertEqual(result.returncode, code, result.stderr)
        return result

    def messages(self, name="s.json"):
        return [m["content"] for m in json.loads((self.folder / name).read_text())["messages"] if m["role"] == "user"]

    def test_a_pasted_text_is_one_message(self):
        t = self.start("--session", "s.json")
        t.type(PASTE_BEGINS + "one\r\ntwo\rthree é" + PASTE_ENDS + "!")
        t.wait_for(r"three é!")
        t.say("")
        t.wait_for(r"yes\n> ")
        t.type("\x1b[A")  # it comes back whole
        t.say("?")
        t.wait_for(r"yes\n> ")
        long = "\n".join(f"é {i}" for i in range(30))
        t.type("See: " + PASTE_BEGINS + long + PASTE_ENDS)
        t.wait_for(r"See: \[pasted text 1: 30 lines\]")
        t.say("!")
        t.wait_for(r"yes\n> ")
        self.assertEqual(t.close(), 0)
        self.assertEqual(self.messages(), ["one\ntwo\nthree é!", "one\ntwo\nthree é!?", f"See: {long}!"])

    def test_thoughts_are_dim(self):
        t = self.start()
        t.say("?")
        t.wait_for(r"yes\n> ")
        self.assertIn(b"\x1b[2mhm\x1b[22myes", t.raw)
        plain = self.start(env={"NO_COLOR": "1"})
        plain.say("?")
        plain.wait_for(r"\[THINK\]hm\[/THINK\]yes\n> ")
        self.assertNotIn(b"\x1b[2m", plain.raw)

    def test_only_harmonys_final_channel_is_not_dim(self):
        harmony().write(self.model)
        t = self.start()
        for _ in range(2):  # the second prompt holds the first answer
            t.say("?")
            t.wait_for(r"yes\n> ")
        self.assertEqual(t.raw.count(b"\x1b[2mhm\x1b[22myes"), 2)
        self.assertNotRegex(t.text(), "analysis|assistant|final|<")
        plain = self.start("--wrap", "off", env={"NO_COLOR": "1"})
        plain.say("?")
        plain.wait_for(re.escape(CHANNELS) + r"\n> ")

    def test_a_template_that_begins_with_thoughts(self):
        script = thinking(template="<|user|>{{ messages[-1].content }}<|assistant|>[THINK]\n")
        script.say("\n", "h").write(self.model)
        t = self.start()
        t.say("?")
        t.wait_for(r"yes\n> ")
        self.assertIn(b"\x1b[2mhm\x1b[22myes", t.raw)

    def test_lines_break_between_words(self):
        thinking(context=1024).say("<|assistant|>", "a", "b", "c", "d", "e", "f", " ", "a").write(self.model)
        t = self.start("-n", "300")
        t.say("?")
        text = t.wait_for(r"-n sets the limit\)\n> ")
        lines = [line.split("%")[-1].strip() for line in text.splitlines() if "abcdef" in line]  # after the bar
        self.assertEqual(lines[0], " ".join(["abcdef"] * 11))  # of 7 columns, and 79 fit
        self.assertTrue(all(re.fullmatch(r"(abcdef ?)+[a-f]*", line) for line in lines), lines)
        t.say("/set wrap off")
        t.wait_for(r"\n> ")
        t.say("?")
        text = t.wait_for(r"-n sets the limit\)\n> ")
        self.assertIn(" ".join(["abcdef"] * 40), text)
        self.assertEqual(t.close(), 0)

    def test_settings(self):
        t = self.start()
        t.say("/set temp 0.25")
        t.wait_for(r"\n> ")
        t.say("/set seed 7")
        t.wait_for(r"\n> ")
        t.say("/set stop yes")
        t.wait_for(r"\n> ")
        t.say("/show")
        shown = t.wait_for(r"special.*\n> ")
        for line in (r"temp +0\.25 ", r"seed +7 ", r"stop +'yes' ", r"context-full +stop ", r"model: .*m\.gguf", r"system: none"):
            self.assertRegex(shown, line)
        t.say("/set temp hot")
        t.wait_for(r"'hot' is not a number from 0 to 1000\n> ")
        t.say("/set temp")
        t.wait_for(r"/set temp needs a value\n> ")
        t.say("/set colour 1")
        t.wait_for(r"there is no setting 'colour'; /show lists all\n> ")
        t.say("/set stop off")
        t.wait_for(r"\n> ")
        t.say("/set temp 0")
        t.wait_for(r"\n> ")
        t.say("/set speed on")
        t.wait_for(r"\n> ")
        t.say("?")
        t.wait_for(r"yes\n\[read \d+ tokens, [\d.]+ t/s; wrote 7 tokens, [\d.]+ t/s\]\n> ")
        t.say("/exit")
        self.assertEqual(t.process.wait(20), 0)

    def test_tab_completes(self):
        (self.folder / "talk.json").write_text("")
        t = self.start()
        t.type("/sy\t")
        t.wait_for(r"/system ")
        t.type("\x15/s\t")
        t.wait_for(r"/system  /set  /show  /save  /save!  /stats\n")
        t.type("\x15/set te\t")
        t.wait_for(r"/set temp ")
        t.type("\x15/load ta\t")
        t.wait_for(r"/load talk.json|lk.json ")
        t.type("\x15")
        t.say("/bye")
        self.assertEqual(t.process.wait(20), 0)

    def test_the_history_is_kept_between_runs(self):
        state = {"XDG_STATE_HOME": str(self.folder / "state")}
        file = self.folder / "state/assay/history"
        t = self.start(env=state)
        t.type(PASTE_BEGINS + "one\ntwo" + PASTE_ENDS)
        t.say("")
        t.wait_for(r"yes\n> ")
        self.assertEqual(t.close(), 0)
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        t = self.start("--history", "off", env=state)
        t.say("secret")
        t.wait_for(r"yes\n> ")
        self.assertEqual(t.close(), 0)
        self.assertEqual(file.read_text(), '"one\\ntwo"\n"/quit"\n')
        t = self.start("--session", "s.json", env=state)
        t.type("\x1b[A\x1b[A")
        t.say("!")
        t.wait_for(r"yes\n> ")
        self.assertEqual(t.close(), 0)
        self.assertEqual(self.messages(), ["one\ntwo!"])

    def test_the_terminal_is_as_before(self):
        for leave in ("\x04", "/quit\r"):
            t = self.start()
            t.say("?")
            t.wait_for(r"yes\n> ")
            t.type(leave)
            self.assertEqual(t.process.wait(20), 0)
            self.assertTrue(termios.tcgetattr(t.master)[3] & termios.ECHO)
            t.wait_for("", 1)
            while select.select([t.master], [], [], 0.2)[0]:
                try:
                    t.raw += os.read(t.master, 65536)
                except OSError:
                    break
            self.assertGreater(t.raw.rfind(b"\x1b[?2004l"), t.raw.rfind(b"\x1b[?2004h"))

    def test_what_a_session_holds_is_kept(self):
        path = self.folder / "s.json"
        talk = {"schema": "assay.chat/1", "model": "m", "title": "mine", "messages": [
            {"role": "user", "content": "one", "name": "Ann"},
            {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [{"function": {"name": "f"}}]},
            {"role": "tool", "content": "1"},
            {"role": "assistant", "content": "two"}]}
        thinking(template="{% for m in messages %}{{ m.content or '' }}{% endfor %}<|assistant|>").write(self.model)
        path.write_text(json.dumps(talk))
        before = path.read_bytes()
        self.piped(["/stats"], "--session", "s.json")
        self.assertEqual(path.read_bytes(), before, "nothing was said")
        self.piped(["three"], "--session", "s.json")
        after = json.loads(path.read_text())
        self.assertEqual(after["messages"][:4], talk["messages"])
        self.assertEqual((len(after["messages"]), after["title"]), (6, "mine"))

    def test_bytes_that_are_not_utf8_come_back(self):
        run = subprocess.run([BINARY, "chat", self.model, "--temp", "0", "--session", self.folder / "s.json"], input=b"caf\xe9\n",
                             capture_output=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(json.loads((self.folder / "s.json").read_text())["messages"][0],
                         {"role": "user", "content": "caf\ufffd", "content_hex": "636166e9"})

    def test_clear_and_load_keep_the_sessions_file_until_there_is_another_answer(self):
        self.piped(["one"], "--session", "s.json")
        first = (self.folder / "s.json").read_bytes()
        said = self.piped(["/clear"], "--session", "s.json").stderr
        self.assertIn("'s.json' keeps the conversation before", said)
        self.assertEqual((self.folder / "s.json").read_bytes(), first)
        said = self.piped(["/clear", "two"], "--session", "s.json").stderr
        self.assertIn("the conversation that 's.json' held before is kept in 's.json.1'", said)
        self.assertEqual((self.folder / "s.json.1").read_bytes(), first)
        self.assertEqual(self.messages(), ["two"])
        self.piped(["/load s.json.1", "three"], "--session", "s.json")
        self.assertEqual(self.messages(), ["one", "three"])
        self.assertEqual(self.messages("s.json.2"), ["two"])
        self.piped(["/clear", "/load s.json.2", "/undo", "/undo", "four"], "--session", "s.json")
        self.assertEqual(self.messages(), ["one", "three", "four"])
        self.assertFalse((self.folder / "s.json.3").exists(), "what was undone replaced nothing")

    def test_a_session_that_cannot_be_written_is_refused_before_the_answer(self):
        for path in ("no/s.json", "/dev/null"):
            result = self.piped(["one"], "--session", path, code=2)
            self.assertEqual(result.stdout, "")
            self.assertIn(f"cannot write '{path}'", result.stderr)

    def test_a_full_context_drops_what_it_is_told_to(self):
        # <|user|> a <end> <|assistant|> and "yes" <end> are 8 tokens an exchange; a new message has 4, its answer 7.
        stopped = self.piped(["a", "b", "c", "d"], "-c", 28, "--session", "s.json", code=2)
        self.assertIn("context full: the conversation has 28 tokens, the limit is 28; this message was not sent", stopped.stderr)
        self.assertEqual(self.messages(), ["a", "b", "c"])
        dropped = self.piped(["/drop 1", "d", "/stats", "/drop 9"], "-c", 28, "--session", "s.json", code=2)
        self.assertIn("the model no longer sees the oldest exchange; the conversation keeps it", dropped.stderr)
        self.assertIn("8 messages, of which the model does not see the oldest exchange", dropped.stderr)
        self.assertIn("/drop takes a number from 1 to 3", dropped.stderr)
        self.assertEqual(self.messages(), ["a", "b", "c", "d"])
        oldest = self.piped(["e", "f"], "-c", 28, "--session", "s.json", "--context-full", "drop-oldest")
        self.assertIn("context full: the model no longer sees the oldest 2 exchanges of 5; the conversation keeps them", oldest.stderr)
        self.assertEqual(oldest.stdout, "hmyes\n" * 2)
        self.assertEqual(self.messages(), list("abcdef"))


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
