"""Options as a user of llama.cpp types them, misspelt ones, and what the help shows of the right ones."""
import json
import os
import re
import subprocess
import tempfile
import unittest

from cli_test import BINARY, FRANCE, MODEL, assay


def commands_below(command=""):
    """The commands that the help lists, and those below them: "trace", "trace record", …"""
    listed = assay(*command.split(), "--help", env={"COLUMNS": "200"}).stdout.partition("Commands:\n")[2].split("\n\n")[0]
    names = [f"{command} {name}".strip() for name in re.findall(r"^  (\S+)  ", listed, re.MULTILINE)]
    return [found for name in names for found in (name, *commands_below(name))]


COMMANDS = commands_below()


class Refusing(unittest.TestCase):
    def refused(self, *arguments, contains, see=None):
        result = assay(*arguments)
        self.assertEqual((result.returncode, result.stdout), (2, ""), result.stderr)
        self.assertRegex(result.stderr, r"\Aassay: [^\n]+\n\Z")
        self.assertNotIn("is not a number", result.stderr)
        for text in [contains] if isinstance(contains, str) else contains:
            self.assertIn(text, result.stderr)
        self.assertRegex(result.stderr, rf"[sS]ee '{see or 'assay ' + arguments[0]} --help'\n\Z")


class OptionsOfLlamaCpp(Refusing):
    def test_what_has_no_equal_gets_one_sentence_that_names_the_equivalent(self):
        for arguments, contains in (
                (("-ngl", "99"), "--device cuda"), (("--n-gpu-layers", "99"), "--device"), (("--gpu-layers=all",), "--device"),
                (("-ngl=0",), "--device cpu"), (("-ngl99",), "--device"), (("-fa", "off"), "attention"), (("-fa", "0"), "attention"),
                (("-ctk", "q8_0"), ("--kv f16", "--kv f32", "not there yet")), (("-ctv", "q8_0"), "--kv f32"),
                (("--cache-type-k", "q4_0"), "--kv"), (("-cnv",), "'assay chat'"), (("-i",), "'assay chat'"),
                (("-hf", "a/b"), "not there yet"), (("-hfr", "a/b"), "not there yet"), (("-mu", "http://x"), "not there yet"),
                (("-ub", "512"), "-b"), (("-tb", "4"), "-t"), (("--mlock",), "maps the file"), (("--no-mmap",), "maps the file"),
                (("-sm", "row"), "--device"), (("-ts", "1,1"), "--device"), (("-dev", "CUDA0"), "--device"),
                (("--list-devices",), "--version"), (("--mirostat", "2"), "--top-k"), (("--xtc-probability", "0.5"), "sampler"),
                (("--samplers", "top_k"), "fixed"), (("--grammar", "x"), "--stop"), (("-j", "{}"), "cannot do that yet"),
                (("--rope-scaling", "yarn"), "the file"), (("--override-kv", "a=int:1"), "the file"),
                (("--lora", "x.gguf"), "merge"), (("-md", "x.gguf"), "draft"), (("-r", "User:"), "--stop"),
                (("-sysf", "x.txt"), "--system"), (("--no-perf",), "/dev/null"), (("--log-disable",), "/dev/null"),
                (("-lv", "3"), "use -v"), (("--verbose-prompt",), "assay tokenize"), (("--prompt-cache", "x"), "--session")):
            self.refused("run", "-p", "x", *arguments, contains=contains)

    def test_a_value_that_looks_like_an_option_stays_a_value(self):
        result = assay("tokenize", "-p", "-ngl", "--ids")
        if MODEL.exists():
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertEqual(result.stdout, assay("tokenize", "--prompt=-ngl", "--ids").stdout)

    def test_commands_without_the_equal_option_say_so(self):
        self.refused("inspect", "-sys", "x", contains=("--system", "'assay inspect' does not have"))
        self.refused("chat", "-no-cnv", contains="assay run")
        self.refused("chat", "--ignore-eos", contains="'assay run' has")

    @unittest.skipUnless(MODEL.exists(), f"the default model is not there: {MODEL}")
    def test_what_means_the_same_is_accepted(self):
        plain = assay("run", "-p", FRANCE, "-n", 5, "--temp", 0, "--seed", 3)
        self.assertEqual(plain.returncode, 0, plain.stderr)
        for arguments in (("-p", FRANCE, "--n-predict", 5, "--temperature", 0, "-s", 3),
                          ("-p", FRANCE, "-n5", "--temp=0", "-s3", "-t2", "--batch-size", 64, "--ctx-size", 64),
                          ("-p", FRANCE, "--n_predict", 5, "--temp", 0, "-fa", "on", "-ctk", "f16", "-ctv", "f16"),
                          ("-fa", "-p", FRANCE, "--predict", 5, "--temp", 0, "--flash-attn", "auto", "--mmap", "--no-warmup"),
                          ("-p", FRANCE, "-n", 5, "--temp", 0, "-no-cnv", "--no-display-prompt", "--jinja", "-kvu", "--perf", "--no-escape"),
                          ("-p", FRANCE, "-n=5", "--temp", 0, "--mirostat", 0, "--typical", "1.0", "-np", 1)):
            result = assay("run", *arguments)
            self.assertEqual((result.returncode, result.stdout), (0, plain.stdout), result.stderr)
        asked = assay("run", "--chat", "--system", "Be brief.", "-p", "Hi", "-n", 4, "--temp", 0)
        self.assertEqual(assay("run", "-st", "-sys", "Be brief.", "-p", "Hi", "-n", 4, "--temp", 0).stdout, asked.stdout)
        talk = assay("chat", "-cnv", "-sys", "Be brief.", "-n", 4, "--temp", 0, stdin="Hi\n")
        self.assertEqual((talk.returncode, talk.stdout), (0, asked.stdout + "\n"))
        twice = assay("run", "-p", "x", "-ctk", "f16", "--kv", "f32")
        self.assertEqual(twice.returncode, 2)

    @unittest.skipUnless(MODEL.exists(), f"the default model is not there: {MODEL}")
    def test_escapes_are_read_with_e_only(self):
        def tokens(*arguments):
            return json.loads(assay("run", "-n", 1, "--temp", 0, "--json", *arguments).stdout)["prompt_tokens"]
        text = "a\n\tb\\c\"d'e é\x01\\q\\x1"
        typed = r"a\n\tb\\c\"d\'e \xc3\xa9\x01\q\x1"
        self.assertEqual(tokens("-e", "-p", typed), tokens("-p", text))
        self.assertEqual(tokens("--escape", "-p", typed), tokens("-p", text))
        self.assertNotEqual(tokens("-p", typed), tokens("-p", text))
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(typed)
            file.flush()
            self.assertEqual(tokens("-e", "-f", file.name), tokens("-p", text))
        self.assertEqual(tokens("-e", "--chat", "--system", r"a\nb", "-p", "x"), tokens("--chat", "--system", "a\nb", "-p", "x"))

    @unittest.skipUnless(MODEL.exists(), f"the default model is not there: {MODEL}")
    def test_ignore_eos_goes_on_where_the_text_would_end(self):
        question = ("run", "--chat", "-p", "Hi", "--temp", 0, "--json")
        short = json.loads(assay(*question, "-n", 60).stdout)
        self.assertEqual(short["finish_reason"], "stop")
        more = len(short["tokens"]) + 5
        for sampling in ((), ("--top-k", 0), ("--repeat-penalty", 1.1)):
            long = json.loads(assay(*question, "--ignore-eos", "-n", more, *sampling).stdout)
            self.assertEqual((long["finish_reason"], len(long["tokens"])), ("length", more))
            self.assertNotIn(2, long["tokens"])  # <|im_end|>
        self.assertEqual(json.loads(assay(*question, "--ignore-eos", "-n", more).stdout)["tokens"][:len(short["tokens"])],
                         short["tokens"])

    @unittest.skipUnless(MODEL.exists(), f"the default model is not there: {MODEL}")
    def test_v_says_more_on_stderr_and_nothing_on_stdout(self):
        quiet = assay("run", "-p", FRANCE, "-n", 2, "--temp", 0)
        result = assay("run", "-p", FRANCE, "-n", 2, "--temp", 0, "-v")
        self.assertEqual(result.stdout, quiet.stdout)
        self.assertRegex(result.stderr, r"model: .*\.gguf \(llama, 272 tensors, [\d.]+ MB\)\n")
        self.assertIn("exit code 0", result.stderr)
        self.assertEqual(assay("inspect", "-v").returncode, 0)


class Misspelt(Refusing):
    def test_the_nearest_command_is_named(self):
        for typed, meant in (("rnu", "run"), ("runn", "run"), ("inspekt", "inspect"), ("tokenise", "tokenize"), ("chta", "chat"),
                             ("Verify", "verify"), ("docter", "doctor"), ("dif", "diff"), ("benchmarks", "bench"), ("insp", "inspect")):
            self.refused(typed, "x", contains=f"no command '{typed}'; did you mean 'assay {meant}'?", see="assay")
        self.refused("trace", "recrod", contains="did you mean 'assay trace record'?", see="assay trace")
        self.refused("golden", "verify", contains="no command 'golden verify'", see="assay golden")
        self.refused("fly", contains="no command 'fly'", see="assay")

    def test_commands_of_other_programs_are_explained(self):
        for typed, contains in (("generate", "assay run"), ("serve", "no server yet"), ("pull", "download the GGUF file"),
                                ("list", "path of a GGUF file"), ("info", "assay inspect"), ("quantize", "not do that yet")):
            self.refused(typed, contains=contains, see="assay")

    def test_the_nearest_option_is_named(self):
        for command, typed, meant in (("run", "--temprature", "--temp"), ("run", "--tmp", "--temp"), ("run", "--topk", "--top-k"),
                                      ("run", "--promt", "--prompt"), ("run", "--modle", "--model"), ("run", "-prompt", "--prompt"),
                                      ("run", "-temp", "--temp"), ("run", "--max-token", "--predict"), ("run", "-N", "-n"),
                                      ("run", "--n-predcit", "--predict"), ("chat", "--sytem", "--system"),
                                      ("diff", "--htlm", "--html"), ("verify", "--levle", "--level"), ("run", "--jsno", "--json")):
            self.refused(command, typed, contains=f"has no option {typed}; did you mean {meant}?")
        self.refused("run", "--gpu-layer", "9", contains=("did you mean --gpu-layers?", "--device"))
        self.refused("run", "-mmodel.gguf", contains="a value stands apart: -m model.gguf")
        self.refused("run", "-nmany", contains="has no option -nmany")
        self.refused("run", "--rerpack", contains="did you mean --repack?")
        self.refused("trace", "record", "--filtre", "x", contains="did you mean --filter?", see="assay trace record")
        self.refused("run", "--nonsense", contains="has no option --nonsense")

    def test_options_of_other_commands_are_named_with_them(self):
        self.refused("inspect", "-n", "3", contains="'assay inspect' has no option -n, but 'assay run'")
        self.refused("run", "--html", "x", contains="have")
        self.refused("-m", "model.gguf", "-p", "x", contains="-m comes after a command, as in 'assay run -m'", see="assay")
        self.refused("-v", contains="'assay --version' prints the version", see="assay")
        self.refused("-ngl", "9", contains="--device", see="assay")

    def test_a_file_without_a_command(self):
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            self.refused(file.name, contains=f"'assay run {file.name}'", see="assay")

    def test_errors_point_to_the_help_of_the_deepest_command(self):
        self.refused("trace", contains="record, show, names or replay", see="assay trace")
        self.refused("golden", contains="update or check", see="assay golden")
        self.refused("trace", "show", contains="'assay trace show' needs A;", see="assay trace show")
        self.refused("trace", "record", "-p", "x", contains="--output", see="assay trace record")
        self.refused("golden", "check", "a", "b", "c", contains="c", see="assay golden check")
        self.refused("run", "x.gguf", "Hello", contains="does not expect 'Hello'; a text goes after -p")
        self.refused("run", "-p", contains="-p needs a value")
        self.refused("run", "--kv", contains="--kv needs a value")
        self.refused("run", "--kv", "q8_0", contains="f16")


class Help(unittest.TestCase):
    def help(self, command, columns=None):
        environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
        if columns is not None:
            environment["COLUMNS"] = str(columns)
        result = subprocess.run([BINARY, *command.split(), "--help"], capture_output=True, text=True, env=environment,
                                stdin=subprocess.DEVNULL, timeout=60)
        self.assertEqual((result.returncode, result.stderr), (0, ""), command)
        return result.stdout

    def test_help_is_as_wide_as_columns_or_80(self):
        for command in ("", *COMMANDS):
            for columns in (40, 60, 80, 120):
                text = self.help(command, columns)
                widest = max(map(len, text.splitlines()))
                self.assertLessEqual(widest, columns, f"{command} at {columns}")
                if command in ("run", "verify", "check"):
                    self.assertGreater(widest, columns - 16, f"{command} at {columns}")
            self.assertEqual(self.help(command), self.help(command, 80), command)
            self.assertEqual(self.help(command, "wide"), self.help(command, 80), command)
        words = [self.help("run", columns).replace("\\\n", " ").split() for columns in (40, 120)]
        self.assertEqual(*words)  # nothing is lost

    def test_each_command_has_two_examples_with_options_that_exist(self):
        self.assertLessEqual({"run", "chat", "trace record", "golden check", "verify"}, set(COMMANDS))
        for command in ("", *COMMANDS):
            lines = [line for line in self.help(command, 200).splitlines() if line.startswith("assay ")]
            self.assertGreaterEqual(len(lines), 2, command)
            for line in lines:
                self.assertTrue(line.startswith(f"assay {command}"), line)
                # The words are read and each option is known before --help is obeyed.
                result = subprocess.run(["bash", "-c", line.replace("assay", f"'{BINARY}'", 1) + " --help"], capture_output=True,
                                        text=True, stdin=subprocess.DEVNULL, timeout=60)
                self.assertEqual(result.returncode, 0, f"{line}: {result.stderr}")

    def test_options_stand_in_groups_and_those_of_developers_last(self):
        text = self.help("run")
        titles = re.findall(r"^(\S.*):$", text, re.MULTILINE)
        self.assertEqual(titles[:6], ["Model", "Prompt", "Sampling", "Device", "Output", "For engine authors"])
        if "--fault" in text:
            self.assertEqual(titles[-2:], ["For the developers of assay", "Examples"])
        for command in COMMANDS:
            self.assertNotIn("TEXT:", self.help(command), command)

    def test_help_can_be_asked_for_in_other_ways(self):
        self.assertEqual(assay("help").stdout, assay("--help").stdout)
        self.assertEqual(assay("help", "trace", "show").stdout, assay("trace", "show", "-h").stdout)
        self.assertEqual(assay("version").stdout, assay("--version").stdout)

    def test_version_names_commit_and_devices(self):
        text = assay("--version").stdout
        self.assertRegex(text, r"\Aassay \d+\.\d+\.\d+, contract assay/1\ncommit \w+\ndevices:\n")
        for device in ("cpu", "cuda", "metal", "emulated", "reference"):
            self.assertRegex(text, rf"\n  {device} +\S")


if __name__ == "__main__":
    unittest.main()
