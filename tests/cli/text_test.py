"""Text on its way to tokens and back, in every command: control tokens, stop strings, bytes that get lost."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import BINARY
from script_model import Script

TEMPLATE = ("{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' and '[/THINK]' in m.content %}"
            "{{ m.content.split('[/THINK]')[-1] }}{% else %}{{ m.content }}{% endif %}<end>{% endfor %}"
            "{% if add_generation_prompt %}<|assistant|>{% endif %}")
CONTROL, USER_DEFINED = 3, 4
SPECIALS = [("<end>", CONTROL), ("<|user|>", CONTROL), ("<|assistant|>", CONTROL), ("[THINK]", CONTROL), ("[/THINK]", CONTROL),
            ("<tool>", USER_DEFINED), ("<s>", CONTROL)]


def thinking(**options):
    """Thinks "hm", then says "yes"."""
    script = Script(SPECIALS, **{"template": TEMPLATE, "eos": "<end>", **options})
    return script.say("<|assistant|>", "[THINK]", "h", "m", "[/THINK]", "y", "e", "s", "<end>")


HARMONY = ("{% for m in messages %}{% if '<|channel|>' in m.content %}{{ raise_exception('a channel in the content') }}{% endif %}"
           "<|start|>{{ m.role }}{{ '<|channel|>final' if m.role == 'assistant' else '' }}<|message|>{{ m.content }}<|end|>{% endfor %}"
           "<|start|>assistant")
FRAMES = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>"]
CHANNELS = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>yes"


def harmony():
    """Thinks "hm" in the channel "analysis", then says "yes" in the channel "final"."""
    script = Script([(frame, CONTROL) for frame in FRAMES] + [("analysis", 1), ("assistant", 1), ("final", 1)],
                    template=HARMONY, eos="<|return|>")
    script.say("t", "<|channel|>", "analysis", "<|message|>", "h", "m", "<|end|>", "<|start|>", "assistant", "<|channel|>")
    script.once_said("assistant", "<|channel|>", "final").once_said("assistant", "<|message|>", "y")
    return script.say("final", "<|message|>").say("y", "e", "s", "<|return|>")


class Text(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def model(self, script):
        return script.write(self.folder / "m.gguf")

    def assay(self, *arguments, stdin=b"", code=0):
        if isinstance(stdin, str):
            stdin = stdin.encode()
        result = subprocess.run([BINARY, *map(str, arguments)], input=stdin, capture_output=True, timeout=120, cwd=self.folder)
        self.assertEqual(result.returncode, code, result.stderr)
        result.out, result.err = result.stdout.decode(), result.stderr.decode()
        return result

    def test_control_tokens_are_in_the_raw_text_alone(self):
        run = ("run", self.model(thinking()), "--chat", "-p", "?", "--temp", 0)
        self.assertEqual(self.assay(*run).out, "hmyes")
        self.assertEqual(self.assay(*run, "--special").out, "[THINK]hm[/THINK]yes")
        result = json.loads(self.assay(*run, "--json").out)
        self.assertEqual((result["text"], result["raw_text"], result["finish_reason"]), ("hmyes", "[THINK]hm[/THINK]yes", "stop"))
        self.assertEqual(json.loads(self.assay(*run, "--json", "--special").out)["text"], "[THINK]hm[/THINK]yes")

    def test_stop_strings_see_control_tokens(self):
        run = ("run", self.model(thinking()), "--chat", "-p", "?", "--temp", 0, "--json", "--stop")
        for stop, text in (("[/THINK]", "hm"), ("[THINK]", ""), ("m[/TH", "h"), ("]ye", "hm"), ("hm", "")):
            result = json.loads(self.assay(*run, stop).out)
            self.assertEqual((result["text"], result["finish_reason"]), (text, "stop"), stop)

    def test_the_template_sees_the_thoughts_of_the_history_and_strips_them(self):
        model = self.model(thinking())
        chat = ("chat", model, "--temp", 0, "--session", "s.json")
        self.assertEqual(self.assay(*chat, stdin="?\n").out, "hmyes\n")
        messages = json.loads((self.folder / "s.json").read_text())["messages"]
        self.assertEqual(messages[-1], {"role": "assistant", "content": "[THINK]hm[/THINK]yes", "control_tokens": [[0, 7], [9, 17]]})
        second = self.assay(*chat, stdin="!\n/stats\n")
        # <|user|> ? <end> <|assistant|> yes <end> <|user|> ! <end> <|assistant|>: the thoughts are 4 tokens, or 17 letters.
        self.assertIn("last answer: prompt 12 tokens", second.err)

    def test_a_control_token_of_the_history_is_that_token_again_and_what_a_user_spells_is_not(self):
        keeps = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<end>{% endfor %}<|assistant|>"
        chat = ("chat", self.model(thinking(template=keeps)), "--temp", 0, "--session", "s.json")
        said = self.assay(*chat, stdin="[THINK]\n!\n/stats\n")
        # <|user|> 7 letters <end> <|assistant|> [THINK] h m [/THINK] y e s <end> <|user|> ! <end> <|assistant|>
        self.assertIn("last answer: prompt 22 tokens, 17 of them kept", said.err)
        again = self.assay(*chat, stdin="/regen\n/stats\n")
        self.assertIn("last answer: prompt 22 tokens", again.err, "the file knows it, too")

    def test_tokens_that_the_file_suppresses_are_never_drawn(self):
        model = self.model(thinking(suppressed=["[THINK]"]))  # the one that follows; all others are equal, and the lowest id wins
        self.assertEqual(json.loads(self.assay("run", model, "--chat", "-p", "?", "--temp", 0, "-n", 1, "--json").out)["tokens"], [0])
        self.assertEqual(self.assay("chat", model, "--temp", 0, "-n", 1, stdin="?\n").out, "\0\n")

    def test_the_channels_of_harmony_are_kept_apart(self):
        model = self.model(harmony())
        run = json.loads(self.assay("run", model, "--chat", "-p", "?", "--temp", 0, "--json").out)
        self.assertEqual((run["text"], run["raw_text"], run["finish_reason"]), (CHANNELS, CHANNELS, "stop"))
        chat = ("chat", model, "--temp", 0, "--session", "s.json")
        said = self.assay(*chat, stdin="<|end|>\n!\n/stats\n")
        self.assertEqual(said.out, f"{CHANNELS}\n{CHANNELS}\n")
        self.assertNotIn("the chat template ends each answer", said.err)
        answers = json.loads((self.folder / "s.json").read_text())["messages"][1::2]
        self.assertEqual(answers, [{"role": "assistant", "content": "yes", "thinking": "hm"}] * 2)
        # <|start|> user <|message|> 7 letters <|end|>, 1 + 9 + 1 + 5 + 1 + 3 + 1 of the answer without thoughts, 8 for "!", 10.
        self.assertIn("last answer: prompt 53 tokens", said.err)

    def test_chat_takes_stop_strings(self):
        model = self.model(thinking())
        self.assertEqual(self.assay("chat", model, "--temp", 0, "--stop", "[/THINK]", stdin="?\n").out, "hm\n")

    def test_a_turn_that_nothing_ends_is_told(self):
        model = self.model(thinking(eos="<s>"))
        note = "the chat template ends each answer with '<end>'"
        for command in (("run", model, "--chat", "-p", "?", "-n", 1), ("chat", model, "-n", 1)):
            self.assertIn(note, self.assay(*command).err)
            self.assertNotIn(note, self.assay(*command, "--stop", "<end>").err)
        self.assertNotIn(note, self.assay("run", self.model(thinking()), "--chat", "-p", "?", "-n", 1).err)

    def test_lost_bytes_are_told_by_every_command(self):
        model = self.model(thinking(drop=b"\x04\x06"))
        text = "a\x04b\x06"
        trace = ("trace", "record", model, "-o", "t.safetensors", "-p", text)
        for command in (("tokenize", model, "-p", text), ("run", model, "-n", 1, "-p", text), ("logits", model, "-p", text), trace,
                        ("golden", "update", "g.golden.json", "-m", model, "-p", text), ("run", model, "-n", 1, "--chat", "-p", text),
                        ("diff", "--run", model, "--device", "cpu", "--device", "reference", "-p", text),
                        ("kit", model, "-o", "kit", "--force", "-p", text)):
            err = self.assay(*command).err
            self.assertIn("2 of 4 bytes have no token in this vocabulary and were left out (04, 06)", err, command)
        chat = self.assay("chat", model, "-n", 1, stdin=text + "\nab\n").err
        self.assertEqual(chat.count("bytes have no token"), 1, "an old message is not told again")
        self.assertNotIn("bytes", self.assay("run", model, "-n", 1, "-p", "ab").err)

    def test_other_encodings_and_a_second_bos_are_told(self):
        model = self.model(thinking(bos="<s>"))
        run = ("run", model, "-n", 1)
        self.assertIn("looks like UTF-16", self.assay(*run, stdin="hi there".encode("utf-16")).err)
        self.assertIn("looks like UTF-16", self.assay(*run, stdin="hi there".encode("utf-16-le")).err)
        self.assertIn("byte order mark", self.assay(*run, stdin="hi".encode("utf-8-sig")).err)
        self.assertIn("1 byte of the text is not UTF-8 (the first is E9, at offset 3)", self.assay(*run, stdin=b"caf\xe9").err)
        self.assertIn("two beginning-of-sequence tokens", self.assay(*run, "-p", "<s>hi").err)
        self.assertNotIn("two", self.assay(*run, "-p", "<s>hi", "--no-bos").err)
        self.assertIn("U+FFFD in their place", self.assay("chat", model, "-n", 1, stdin=b"caf\xe9\n").err)

    def test_one_line_end_at_the_end_of_a_file_or_pipe_is_not_part_of_the_prompt(self):
        run = ("run", self.model(thinking()), "-n", 1, "--json")
        (self.folder / "p.txt").write_bytes(b"a\n\n")
        for result in (self.assay(*run, stdin=b"a\n\n"), self.assay(*run, "-f", "p.txt"), self.assay(*run, "-f", "-", stdin=b"a\n\n")):
            self.assertEqual(json.loads(result.out)["prompt_tokens"], [ord("a"), ord("\n")])
        self.assertEqual(json.loads(self.assay(*run, "-p", "a\n").out)["prompt_tokens"], [ord("a"), ord("\n")])
        self.assertIn("the prompt is empty", self.assay("run", self.folder / "m.gguf", stdin=b"\n", code=2).err)

    def test_the_timings_begin_on_a_line_of_their_own(self):
        script = thinking()
        text = self.assay("run", self.model(script), "--chat", "-p", "?", "--temp", 0)
        self.assertEqual(text.out, "hmyes")
        self.assertIn("\n\nload ", text.err)
        script.say("s", "\n", "<end>")
        ended = self.assay("run", self.model(script), "--chat", "-p", "?", "--temp", 0)
        self.assertEqual(ended.out, "hmyes\n")
        self.assertNotIn("\n\nload ", ended.err)

    def test_logits_show_the_text_of_the_best_tokens(self):
        model = self.model(thinking())
        self.assertRegex(self.assay("logits", model, "-p", "y", "--top", 1).out, r"top +101 +[\d.]+  'e'\n")
        best = json.loads(self.assay("logits", model, "-p", "<|assistant|>", "--top", 1, "--json").out)["top"]
        self.assertEqual([(each["id"], each["text"]) for each in best], [(256 + 3, "[THINK]")])

    def test_a_context_full_of_special_spellings_is_refused_in_seconds(self):
        # 88 s when each of the 400,000 marks was inserted into the text alone.
        (self.folder / "p.txt").write_text("<end>" * 400_000)
        result = subprocess.run([BINARY, "run", self.model(thinking()), "--chat", "-f", self.folder / "p.txt"],
                                capture_output=True, text=True, timeout=30)
        self.assertEqual(result.returncode, 2)
        self.assertIn("context full", result.stderr)


if __name__ == "__main__":
    unittest.main()
