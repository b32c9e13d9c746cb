"""What `cmake --install` leaves: a program, headers that compile, completions that complete, a man page without errors."""
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from cli_test import BINARY, assay

BUILD = pathlib.Path(BINARY).resolve().parent


def completions(words):
    """What bash offers for the last word."""
    script = f"""source "$1"; COMP_WORDS=({" ".join(f'"{word}"' for word in words)}); COMP_CWORD={len(words) - 1}
      compopt() {{ echo "files"; }}; _assay; printf '%s\\n' "${{COMPREPLY[@]}}" """
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(assay("completions", "bash").stdout)
        file.flush()
        result = subprocess.run(["bash", "-c", script, "bash", file.name], capture_output=True, text=True, timeout=60)
    assert result.stderr == "", result.stderr
    return result.stdout.split()


class Completions(unittest.TestCase):
    def test_bash_completes_commands_options_and_values(self):
        self.assertIn("inspect", completions(["assay", "ins"]))
        self.assertEqual(completions(["assay", "trace", "re"]), ["record", "replay"])
        self.assertEqual(completions(["assay", "run", "--top"]), ["--top-k", "--top-p"])
        self.assertEqual(completions(["assay", "run", "-p", "x", "--kv", ""]), ["f16", "f32"])
        self.assertIn("cuda", completions(["assay", "trace", "record", "--device", "c"]))
        self.assertEqual(completions(["assay", "chat", "--history", ""]), ["on", "off"])
        self.assertEqual(completions(["assay", "run", "-m", ""]), ["files"])
        self.assertEqual(completions(["assay", "run", "--chat-template", ""]), ["files"])
        self.assertEqual(completions(["assay", "inspect", "model"]), ["files"])

    def test_every_option_of_the_help_is_completed(self):
        for command in (["run"], ["trace", "show"], ["verify"]):
            offered = completions(["assay", *command, "-"])
            for line in assay(*command, "--help", env={"COLUMNS": "200"}).stdout.splitlines():
                for word in line.split("   ")[0].replace(",", "").split() if line.startswith("  ") else []:
                    if word.startswith("-"):
                        self.assertIn(word, offered)

    @unittest.skipUnless(shutil.which("zsh"), "no zsh")
    def test_zsh_reads_its_file(self):
        script = assay("completions", "zsh").stdout
        result = subprocess.run(["zsh", "-n", "/dev/stdin"], input=script, capture_output=True, text=True, timeout=60)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    @unittest.skipUnless(shutil.which("fish"), "no fish")
    def test_fish_completes(self):
        with tempfile.NamedTemporaryFile("w", suffix=".fish") as file:
            file.write(assay("completions", "fish").stdout)
            file.flush()
            def offered(line):
                result = subprocess.run(["fish", "--no-config", "-c", f"source {file.name}; complete -C '{line}'"],
                                        capture_output=True, text=True, timeout=60)
                self.assertEqual(result.stderr, "")
                return [word.split("\t")[0] for word in result.stdout.splitlines()]
            self.assertIn("inspect", offered("assay ins"))
            self.assertEqual(offered("assay trace re"), ["record", "replay"])
            self.assertEqual(offered("assay run --kv "), ["f16", "f32"])
            self.assertIn("--top-k", offered("assay run --to"))

    def test_shells_that_are_not_known_are_refused(self):
        result = assay("completions", "tcsh")
        self.assertEqual(result.returncode, 2)
        self.assertIn("fish", result.stderr)


@unittest.skipUnless((BUILD / "cmake_install.cmake").exists() and shutil.which("cmake"), "the program lies in no build folder")
class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.prefix = pathlib.Path(cls.folder.name)
        subprocess.run(["cmake", "--install", BUILD, "--prefix", cls.prefix], check=True, capture_output=True, timeout=120)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_the_files_are_there_and_the_program_runs(self):
        for path in ("bin/assay", "share/bash-completion/completions/assay", "share/zsh/site-functions/_assay",
                     "share/fish/vendor_completions.d/assay.fish", "share/man/man1/assay.1",
                     "share/assay/python/assay/capture.py", "include/assay/quant/q4_k.h", "include/assay/lang/math.h"):
            self.assertTrue((self.prefix / path).is_file(), path)
        result = subprocess.run([self.prefix / "bin/assay", "--version"], capture_output=True, text=True, timeout=60)
        self.assertEqual(result.stdout, assay("--version").stdout)
        self.assertEqual((self.prefix / "share/bash-completion/completions/assay").read_text(), assay("completions", "bash").stdout)

    @unittest.skipUnless(shutil.which("c++"), "no compiler")
    def test_the_headers_decode_a_block_without_a_library(self):
        source = self.prefix / "decode.cpp"
        source.write_text("""#include <cstdio>
#include "lang/activation.h"
#include "quant/q8_0.h"
int main() {
  unsigned char block[34] = {0x00, 0x38};  // d = 0.5
  block[2 + 7] = 253;                      // code -3
  using Format = assay::quant::Q8_0;
  const float scale = Format::scale(block, 0);
  std::printf("%g\\n", scale * (float(Format::code(block, 7)) - float(Format::code_offset)));
}
""")
        include = self.prefix / "include/assay"
        subprocess.run(["c++", "-std=c++20", "-I", include, source, "-o", self.prefix / "decode"], check=True, timeout=120)
        result = subprocess.run([self.prefix / "decode"], capture_output=True, text=True, timeout=60)
        self.assertEqual(result.stdout, "-1.5\n")
        for header in sorted((include / "quant").glob("*.h")):
            text = f'#include "quant/{header.name}"\nint main() {{}}\n'
            subprocess.run(["c++", "-std=c++20", "-fsyntax-only", "-x", "c++", "-I", include, "-"], input=text, text=True,
                           check=True, timeout=120)

    @unittest.skipUnless(shutil.which("groff"), "no groff")
    def test_the_man_page_is_whole_and_has_every_option(self):
        page = self.prefix / "share/man/man1/assay.1"
        result = subprocess.run(["groff", "-k", "-man", "-Tutf8", "-ww", "-rLL=100n", page], capture_output=True, text=True,
                                timeout=60)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        text = re.sub("\x1b\\[[0-9;]*m|.\x08", "", result.stdout).replace("\u2212", "-").replace("\u2010", "-")
        for word in ("--temp", "--ignore-eos", "assay trace record", "EXIT STATUS", "ASSAY_CACHE", "\\n"):
            self.assertIn(word, text)


if __name__ == "__main__":
    unittest.main()
