"""Named kinds of damage, each as a file that the built `assay` must refuse: exit code 2 and one clear sentence on one
line of stderr, no signal, under a second, and memory in proportion to the file. The files come from small_gguf.py."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import kinds  # noqa: E402
from small_gguf import add_byte_pairs, add_sentence_pieces, small_model  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("ASSAY_BINARY", str(ROOT / "build/release/assay"))
MEBIBYTE = 1 << 20
# What the commands of a group must refuse; those of the other groups may answer or refuse, and must not crash.
COMMANDS = {
    "inspect": ["inspect", "MODEL"],
    "tokens": ["run", "MODEL", "--tokens", "1,2", "-n", "1"],
    "text": ["run", "MODEL", "-p", "hi", "-n", "1"],
    "tokenize": ["tokenize", "MODEL", "-p", "hi"],
    "chat": ["run", "MODEL", "--chat", "-p", "hi", "-n", "1"],
}
REFUSE = {
    kinds.FILE: ["inspect", "tokens", "text", "tokenize", "chat"],
    kinds.MODEL: ["tokens", "text", "chat"],
    kinds.TOKENIZER: ["text", "tokenize", "chat"],
    kinds.TEMPLATE: ["chat"],
}


def has_chat():
    done = subprocess.run([BINARY, "run", "--help"], capture_output=True, text=True)
    return "--chat" in done.stdout


class Outcome:
    """One run of the program: exit code (negative: the signal), output, processor seconds, most memory in bytes."""
    launcher = None

    def __init__(self, folder, arguments):
        if Outcome.launcher is None:
            here = pathlib.Path(__file__).resolve().parent
            Outcome.launcher = subprocess.Popen([sys.executable, "-S", "-E", str(here / "launch.py")], text=True,
                                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            unittest.addModuleCleanup(Outcome.stop)
        out, err = str(folder / "out"), str(folder / "err")
        Outcome.launcher.stdin.write(json.dumps([[BINARY, *arguments], out, err]) + "\n")
        Outcome.launcher.stdin.flush()
        for key, value in json.loads(Outcome.launcher.stdout.readline()).items():
            setattr(self, key, value)
        self.stdout, self.stderr = pathlib.Path(out).read_bytes(), pathlib.Path(err).read_bytes()

    @staticmethod
    def stop():
        Outcome.launcher.communicate()
        Outcome.launcher = None


class Damage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.holder.name)
        cls.commands = {name: words for name, words in COMMANDS.items() if name != "chat" or has_chat()}
        whole = cls.folder / "whole.gguf"
        whole.write_bytes(small_model().bytes())
        cls.base = max(Outcome(cls.folder, cls.words(name, whole)).memory for name in cls.commands)

    @classmethod
    def tearDownClass(cls):
        cls.holder.cleanup()

    @staticmethod
    def words(command, path):
        return [str(path) if word == "MODEL" else word for word in COMMANDS[command]]

    def check(self, command, path, size, refuse, contains):
        """Runs one command on one damaged file; returns its outcome."""
        done = Outcome(self.folder, self.words(command, path))
        shown = done.stderr.decode(errors="replace")
        self.assertIn(done.code, (0, 2), f"signal or wrong exit code; stderr: {shown[:500]}")
        self.assertLess(done.seconds, 2.0, "processor time: under 1 s, or a busy machine's second")
        # A template's limits (steps, lengths) bound its memory by a number of their own.
        more = 200 if command == "chat" else 8
        self.assertLess(done.memory, self.base + 2 * size + more * MEBIBYTE, f"memory; a whole file takes {self.base}")
        if not refuse and done.code == 0:
            return done
        self.assertEqual(done.code, 2, f"not refused; stderr: {shown[:500]}")
        self.assertEqual(done.stdout, b"")
        self.assertTrue(done.stderr.endswith(b"\n"), shown[:500])
        self.assertEqual(done.stderr.count(b"\n"), 1, f"more than one line: {shown[:500]}")
        sentence = shown[:-1]
        self.assertTrue(sentence.isprintable(), f"control characters: {sentence[:500]!r}")
        self.assertLess(len(sentence), 1500, f"too long: {sentence[:500]}")
        self.assertRegex(sentence, r"^assay: \S")
        self.assertNotRegex(sentence, r"[.\s]$|terminate called|std::|exception|assert")
        if refuse:
            self.assertIn(contains, sentence)
        return done

    def try_kind(self, kind):
        folder = self.folder / f"kind{kinds.ALL.index(kind)}"
        folder.mkdir()
        path = kind.make(folder)
        size = sum(item.stat().st_size for item in folder.iterdir() if item.is_file())
        for command in self.commands:
            with self.subTest(kind=kind.name, command=command):
                self.check(command, path, size, command in REFUSE[kind.group], kind.contains)

    def test_whole_files_are_not_refused(self):
        """Else the rest would prove nothing."""
        for tokenizer in (add_byte_pairs, add_sentence_pieces):
            path = self.folder / f"{tokenizer.__name__}.gguf"
            path.write_bytes(small_model(tokenizer).bytes())
            for command in self.commands:
                with self.subTest(tokenizer=tokenizer.__name__, command=command):
                    done = Outcome(self.folder, self.words(command, path))
                    self.assertEqual(done.code, 0, done.stderr.decode(errors="replace"))

    def test_the_kinds_have_names_of_their_own(self):
        names = [kind.name for kind in kinds.ALL]
        self.assertEqual(len(names), len(set(names)))
        self.assertGreaterEqual(len(names), 40)

    def test_token_ids_beyond_the_vocabulary(self):
        path = self.folder / "ids.gguf"
        path.write_bytes(small_model().bytes())
        for ids in ("259", "-1", "2147483647", "2147483648", "4294967296", "99999999999999999999", "1e3", "x"):
            with self.subTest(ids=ids):
                done = Outcome(self.folder, ["run", str(path), f"--tokens={ids}", "-n", "1"])
                self.assertEqual(done.code, 2, done.stderr)
                self.assertEqual(done.stdout, b"")
                # "device: …" may stand before: the vocabulary is known only once the model is there.
                self.assertTrue(done.stderr.splitlines()[-1].startswith(b"assay: "), done.stderr)

    def test_unreadable_files(self):
        missing = self.folder / "missing.gguf"
        self.check("inspect", missing, 0, True, "missing.gguf")
        if os.geteuid() != 0:  # root reads everything
            closed = self.folder / "closed.gguf"
            closed.write_bytes(small_model().bytes())
            closed.chmod(0)
            self.check("inspect", closed, 0, True, "Permission denied")


def add_group(group):
    """test_GROUP over the kinds of one group."""
    def test(self):
        if group == kinds.TEMPLATE and "chat" not in self.commands:
            self.skipTest("this build has no --chat")
        for kind in kinds.ALL:
            if kind.group == group:
                self.try_kind(kind)
    setattr(Damage, f"test_damaged_{group}", test)


for name in REFUSE:
    add_group(name)


if __name__ == "__main__":
    unittest.main()
