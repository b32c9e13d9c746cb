import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import test as runner  # noqa: E402

# The four shapes that ctest writes: passed, failed, skipped by GTEST_SKIP, not built.
JUNIT = """<?xml version="1.0"?><testsuite tests="5">
<testcase name="A.passes" status="run"><system-out>ok</system-out></testcase>
<testcase name="A.fails" status="fail"><failure message="Failed"/><system-out>x</system-out></testcase>
<testcase name="A.model" status="notrun"><skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>
<system-out>[ RUN ] A.model
the default model is absent
[  SKIPPED ] A.model (0 ms)</system-out></testcase>
<testcase name="A.isa" status="notrun"><skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>
<system-out>no AVX-512 here
[  SKIPPED ] A.isa (0 ms)</system-out></testcase>
<testcase name="test_b_NOT_BUILT" status="notrun"><skipped message="Unable to find executable"/>
<system-out>Unable to find executable</system-out></testcase>
</testsuite>"""


class Counting(unittest.TestCase):
    def count(self, strict):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "junit.xml")
            path.write_text(JUNIT)
            counts = runner.count_ctest(path, strict)
            return counts.passed, counts.failed, counts.skipped

    def test_a_program_that_was_not_built_has_failed(self):
        self.assertEqual(self.count(False), (1, 2, 2))

    def test_strict_makes_missing_files_failures_but_not_a_missing_instruction_set(self):
        self.assertEqual(self.count(True), (1, 3, 1))

    def test_unittest_output(self):
        def count(text, code, strict=False):
            counts = runner.count_unittest(text, code, strict)
            return counts.passed, counts.failed, counts.skipped
        self.assertEqual(count("..\nRan 7 tests in 0.1s\n\nOK (skipped=2)\n", 0), (5, 0, 2))
        self.assertEqual(count("Ran 7 tests in 0.1s\n\nFAILED (failures=1, errors=2, skipped=1)\n", 1), (3, 3, 1))
        self.assertEqual(count("ModuleNotFoundError", 1), (0, 1, 0))
        skips = ("test_a (m.C) ... ok\ntest_b (m.C) ... skipped 'the model has not been fetched'\n"
                 "test_c (m.C)\nWhat it does. ... skipped 'no AVX-512 here'\nRan 3 tests in 0.1s\n\nOK (skipped=2)\n")
        self.assertEqual(count(skips, 0), (1, 0, 2))
        self.assertEqual(count(skips, 0, strict=True), (1, 1, 1))

    def test_unittest_prints_the_reasons_of_skips(self):
        """As Python itself writes them: else `strict` would see none."""
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "x_test.py").write_text(
                "import unittest\n"
                "class C(unittest.TestCase):\n"
                "    def test_a(self):\n        self.skipTest('the default model is absent')\n"
                "@unittest.skip('no shared data')\n"
                "class D(unittest.TestCase):\n    def test_b(self): pass\n"
                "class E(unittest.TestCase):\n"
                "    def test_c(self):\n        'Its own words.'\n        pass\n")
            part = runner.Part("x", "unittest", runner.unittest(folder), 60)
            with contextlib.redirect_stdout(io.StringIO()):  # whoever counts our skips must not count these
                counts, lenient = runner.run_part(part, 60, True), runner.run_part(part, 60, False)
            self.assertEqual((counts.passed, counts.failed, counts.skipped), (1, 2, 0), counts.notes)
            counts = lenient
            self.assertEqual((counts.passed, counts.failed, counts.skipped), (1, 0, 2), counts.notes)

    def test_the_budgets_fit_the_whole(self):
        whole = sum(part.budget for part in runner.PARTS) + runner.INSTALL_BUDGET
        self.assertLessEqual(whole, runner.TOTAL_BUDGET)

    def test_a_part_that_hangs_is_stopped_and_failed(self):
        part = runner.Part("sleep", "step", ["sleep", "30"], 1)
        self.assertEqual(runner.run_part(part, 0.2, False).failed, 1)


if __name__ == "__main__":
    unittest.main()
