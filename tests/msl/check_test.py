"""Every kernel is legal Metal, each planted mistake is refused at its line, and what is right passes."""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import msl_check  # noqa: E402

FOLDER = ROOT / "tests/msl"
MARK = "// mistake: "
# The kinds that must never get past, by the planted files' names.
KINDS = ("space_missing", "method_on", "double", "lambda", "static_local", "recursion", "group_variable",
         "space_cast_implicit", "header_standard", "vector_of_three")
CLANG = msl_check.find_clang()


def errors_of(files):
    """{file: errors} of each by itself, and {file: kernels}."""
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(msl_check.check_file, [CLANG] * len(files), files))
    return {file: found for file, (found, _) in zip(files, results)}, \
        {file: names for file, (_, names) in zip(files, results)}


@unittest.skipIf(CLANG is None, f"no clang {msl_check.OLDEST_CLANG} or newer")
class Check(unittest.TestCase):
    def test_every_kernel_is_legal(self):
        files = msl_check.kernel_files()
        errors, kernels = errors_of(files)
        self.assertEqual(set().union(*errors.values()), set())
        for file in files:
            written = set(re.findall(r"^K_KERNEL\((\w+),", file.read_text(), re.MULTILINE))
            self.assertTrue(written)
            self.assertLessEqual(written, set(kernels[file]), file.name)

    def test_planted_mistakes_are_refused_at_their_line(self):
        files = sorted((FOLDER / "planted").glob("*.h"))
        names = [file.stem for file in files]
        for kind in KINDS:
            self.assertTrue(any(name.startswith(kind) for name in names), kind)
        errors, _ = errors_of(files)
        for file in files:
            with self.subTest(file.name):
                marks = [(number, line.split(MARK)[1]) for number, line in enumerate(file.read_text().splitlines(), 1)
                         if MARK in line]
                self.assertEqual(len(marks), 1)
                number, wanted = marks[0]
                here = f"{file.relative_to(ROOT).as_posix()}:{number}: "
                self.assertTrue(any(error.startswith(here) and wanted in error for error in errors[file]),
                                f"{here}{wanted!r} is not in {errors[file]}")
                elsewhere = {error for error in errors[file] if not error.startswith(here.split(":")[0])}
                self.assertEqual(elsewhere, set(), "a mistake of another file")

    def test_what_is_right_passes(self):
        errors, kernels = errors_of(sorted((FOLDER / "clean").glob("*.h")))
        self.assertTrue(errors)
        for file, found in errors.items():
            with self.subTest(file.name):
                self.assertEqual(found, set())
                self.assertEqual(set(kernels[file]), {"planted"})

    def test_the_example_of_the_docs_is_legal(self):
        text = (ROOT / "docs/kernels.md").read_text().split("## A whole kernel\n", 1)[1].split("\nPut it in", 1)[0]
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "squares.h"
            file.write_text(textwrap.dedent(text))
            errors, kernels = msl_check.check_file(CLANG, file)
        self.assertEqual(errors, set())
        self.assertEqual(set(kernels), {"squares"})

    def test_places_are_the_sources_own(self):
        text = msl_check.text_for_clang(msl_check.flatten_kernels.flatten(FOLDER / "clean/spaces.h"))
        lines = msl_check.msl_rules.Lines.of(text.encode())
        offset = text.encode().index(b"const assay::Pair pair")
        source = (FOLDER / "clean/spaces.h").read_text().splitlines()
        file, number = lines.at(offset)
        self.assertEqual(file, "tests/msl/clean/spaces.h")
        self.assertIn("const assay::Pair pair", source[number - 1])

    def run_program(self, *files, path=None):
        environment = {**os.environ, "PATH": path or os.environ["PATH"], "ASSAY_CLANG": "" if path else CLANG}
        done = subprocess.run([sys.executable, str(ROOT / "scripts/msl_check.py"), *map(str, files)],
                              capture_output=True, text=True, env=environment)
        return done.returncode, done.stdout + done.stderr

    def test_the_program_says_what_it_found(self):
        code, text = self.run_program(FOLDER / "clean/words.h")
        self.assertEqual((code, text), (0, "msl-check: 1 kernels of 1 files are legal Metal\n"))
        code, text = self.run_program(FOLDER / "planted/lambda.h")
        self.assertEqual(code, 1)
        self.assertRegex(text, r"\Atests/msl/planted/lambda\.h:18: Metal has no lambda\nmsl-check: 1 mistakes\n\Z")
        code, text = self.run_program(FOLDER / "clean/words.h", FOLDER / "clean/spaces.h")
        self.assertEqual(code, 1)
        self.assertIn("'planted' is a kernel of tests/msl/clean/words.h:", text)
        code, text = self.run_program("absent.h")
        self.assertEqual(code, 1)
        self.assertIn("absent.h", text)

    def test_without_clang_it_cannot(self):
        with tempfile.TemporaryDirectory() as folder:
            code, text = self.run_program(path=folder)
        self.assertEqual(code, 2)
        self.assertIn("no clang 16 or newer", text)


if __name__ == "__main__":
    unittest.main()
