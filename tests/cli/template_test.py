"""`assay template`, and the templates of `run --chat`: files that hold a name, or no template at all."""
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import MODEL, assay

HELLO = [{"role": "user", "content": "Hi"}]


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, content):
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path


class WithoutAModel(Folder):
    def rendered(self, source, messages, *arguments, code=0):
        result = assay("template", self.write("t.jinja", source), "--messages",
                       self.write("m.json", messages), *arguments)
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout if code == 0 else result.stderr

    def test_stdout_is_the_rendering_alone(self):
        source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ '>' if add_generation_prompt }}"
        self.assertEqual(self.rendered(source, HELLO), "<user>Hi>")
        self.assertEqual(self.rendered(source, {"messages": HELLO}), "<user>Hi>")
        self.assertEqual(self.rendered(source, HELLO, "--add-generation-prompt"), "<user>Hi>")
        self.assertEqual(self.rendered(source, HELLO, "--no-generation-prompt"), "<user>Hi")
        result = assay("template", self.write("t.jinja", source), "--messages", "-", stdin=json.dumps(HELLO))
        self.assertEqual((result.stdout, result.stderr), ("<user>Hi>", ""))

    def test_tools_and_further_variables(self):
        tools = '[{"name": "f", "maximum": 18446744073709551616}]'
        source = "{{ messages[0].content }}{{ tools | tojson }}{{ enable_thinking }}{{ x }}"
        for content in (tools, f'{{"tools": {tools}}}'):
            self.assertEqual(
                self.rendered(source, HELLO, "--tools", self.write("tools.json", content), "--set",
                              "enable_thinking=false", "--set", 'x="<s>"'),
                f"Hi{tools}False<s>")
        self.assertEqual(self.rendered(source, f'{{"messages": {json.dumps(HELLO)}, "tools": {tools}}}'),
                         f"Hi{tools}")
        body = {"messages": HELLO, "documents": ["d"], "chat_template_kwargs": {"x": 1}, "temperature": 0}
        self.assertEqual(self.rendered("{{ messages[0].content }}{{ documents[0] }}{{ x }}", body), "Hid1")
        self.assertEqual(self.rendered("{{ messages[0].content }}{{ x }}", body, "--set", "x=2"), "Hi2")
        self.assertEqual(self.rendered("{{ messages[0].content }}{{ strftime_now('%d %b') }}", HELLO,
                                       "--date", "2024-07-26"), "Hi26 Jul")

    def test_errors_have_line_and_column(self):
        self.assertIn("t.jinja: line 2, column 4: unknown tag 'bad'",
                      self.rendered("a\n{% bad %}", HELLO, code=2))
        self.assertIn("t.jinja: line 1, column 6: division by zero", self.rendered("{{ 1 / 0 }}", HELLO, code=2))
        self.assertIn("m.json: line 2, column", self.rendered("x", "[\n{'role': 1}]", code=2))
        self.assertIn("m.json: expected a list of messages", self.rendered("x", {"message": []}, code=2))
        self.assertIn("the value is not JSON", self.rendered("x", HELLO, "--set", "x=False", code=2))
        self.assertIn("expected NAME=JSON", self.rendered("x", HELLO, "--set", "x", code=2))
        self.assertIn("--date", self.rendered("x", HELLO, "--date", "today", code=2))
        self.assertEqual(assay("template", self.folder / "absent", "--messages", "m").returncode, 2)
        self.assertEqual(assay("template", self.folder / "t.jinja").returncode, 2)

    def test_a_template_without_the_users_message_is_told(self):
        result = assay("template", self.write("t.jinja", "alpaca"), "--messages", self.write("m.json", HELLO))
        self.assertEqual((result.returncode, result.stdout), (0, "alpaca"))
        self.assertEqual(result.stderr, "assay: the template leaves out the user's last message\n")

    def test_a_name(self):
        result = assay("template", "chatml", "--messages", self.write("m.json", HELLO), "--json")
        document = json.loads(result.stdout)
        self.assertEqual(document, {"schema": "assay.template/1",
                                    "text": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
                                    "quoted": [[17, 19]], "has_question": True})


@unittest.skipUnless(MODEL.exists(), f"the default model is not there: {MODEL}")
class WithTheDefaultModel(Folder):
    def prompt(self, *arguments):
        """The text that the tokens of `run --chat` spell."""
        result = assay("run", "--chat", "-p", "Hi", "-n", "1", "--json", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        ids = json.loads(result.stdout)["prompt_tokens"]
        pieces = {}
        tokens = json.loads(assay("tokenize", "--json", "-p", "<|im_start|><|im_end|>").stdout)
        pieces.update(zip(tokens["tokens"], tokens["pieces"]))
        return len(ids), [pieces.get(token) for token in ids if token in pieces]

    def test_a_template_that_ignores_the_user_is_refused(self):
        for name, source in (("ignores.jinja", "{{ bos_token }}Hello"), ("word.jinja", "alpaca")):
            result = assay("run", "--chat", "-p", "Hi", "--chat-template", self.write(name, source))
            self.assertEqual((result.returncode, result.stdout), (2, ""), result.stderr)
            self.assertIn("leaves out the user's last message", result.stderr.splitlines()[-1])

    def test_other_templates_by_name_and_by_file(self):
        own = self.prompt("--system", "")
        self.assertEqual(own[1][0], "<|im_start|>")
        self.assertEqual(self.prompt("--chat-template", "chatml")[1],
                         ["<|im_start|>", "<|im_end|>", "<|im_start|>"])
        count, control = self.prompt("--chat-template", self.write("x.jinja", "{{ messages[0].content }}"))
        self.assertEqual((count, control), (1, []))
        for arguments, words in ((["--chat-template", "alpaca"], "neither a file nor the name"),
                                 (["--chat-template", self.write("bad.jinja", "{% x %}")], "line 1, column 4")):
            result = assay("run", "--chat", "-p", "Hi", *arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            self.assertIn(words, result.stderr.splitlines()[-1])

    def test_an_empty_system_message_switches_off_the_templates_own(self):
        template = self.write("kind.jinja", "{% if messages[0].role != 'system' %}<|im_start|>Be kind.{% endif %}"
                                            "{% for m in messages %}{{ m.content }}{% endfor %}")
        self.assertEqual(self.prompt("--chat-template", template)[1], ["<|im_start|>"])
        self.assertEqual(self.prompt("--chat-template", template, "--system", "")[1], [])
        self.assertEqual(self.prompt("--chat-template", template, "--system", "x")[1], [])

    def test_a_system_message_that_the_template_leaves_out_is_told(self):
        template = self.write("user.jinja", "{{ messages[-1].content }}")
        for system, told in (("Be kind.", True), ("", False)):
            result = assay("run", "--chat", "-p", "Hi", "-n", "1", "--chat-template", template, "--system", system)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual("leaves out the system message" in result.stderr, told, result.stderr)

    def test_the_models_own_template(self):
        messages = self.write("m.json", json.dumps(HELLO))
        result = assay("template", MODEL, "--messages", messages)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(result.stdout.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"))
        self.assertEqual(assay("template", "--messages", messages).stdout, result.stdout)

    def test_a_chat_says_the_same(self):
        result = assay("chat", "--chat-template", self.write("w.jinja", "alpaca"), stdin="Hi\n")
        self.assertEqual(result.returncode, 2)
        self.assertIn("leaves out the user's last message", result.stderr)


if __name__ == "__main__":
    unittest.main()
