import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import mutate  # noqa: E402

BLOCK = "file: src/a/b.h\nold: x < y\nnew: x <= y\ntests: a Suite.Name:Other*\n"


def tests_of(program):
    """"Suite.Name", or "Prefix/Suite.Name" of a TEST_P, for each test that stands in the program's folder."""
    folder = next(path for path in (ROOT / "tests").rglob("*") if path.is_dir()
                  and "test_" + "_".join(path.relative_to(ROOT / "tests").parts) == program)
    text = "".join(path.read_text() for path in sorted(folder.glob("*.[ch]*")))
    prefixes = re.findall(r"\bINSTANTIATE_TEST_SUITE_P\(\s*(\w+),\s*(\w+)", text)
    names = []
    for macro, suite, name in re.findall(r"^(TEST|TEST_F|TEST_P)\(\s*(\w+),\s*(\w+)\)", text, re.MULTILINE):
        made = [f"{prefix}/{suite}" for prefix, of in prefixes if of == suite] if macro == "TEST_P" else [suite]
        names += [f"{each}.{name}" for each in made]
    return names


def names_some(piece, names):
    """Whether a piece of a filter can name one of the tests; what follows its first * is not looked at."""
    begin, star, _ = piece.partition("*")
    return any((name.startswith(begin) if star else name == begin) or begin.startswith(name + "/") for name in names)


class Mutate(unittest.TestCase):
    def test_a_block_is_read(self):
        found = mutate.parse("# comment\n\n" + BLOCK + "survivor: equal for integers\n\n\n" + BLOCK)
        self.assertEqual(len(found), 2)
        self.assertEqual(found[0], mutate.Mutation(3, "src/a/b.h", "x < y", "x <= y", "test_a",
                                                   "Suite.Name:Other*", "equal for integers"))
        self.assertEqual(found[1].survivor, "")

    def test_a_value_keeps_its_leading_spaces(self):
        found = mutate.parse(BLOCK.replace("old: x", "old:   x"))
        self.assertEqual(found[0].old, "  x < y")

    def test_malformed_blocks_name_their_line(self):
        for text in ("file: a\nold: x\n", BLOCK.replace("x <= y", "x < y"), BLOCK + "old: twice\n",
                     BLOCK + "nonsense\n", BLOCK.replace("a Suite.Name:Other*", "a")):
            with self.assertRaisesRegex(ValueError, r"line \d+"):
                mutate.parse(text)

    def test_old_must_stand_exactly_once(self):
        one = mutate.parse(BLOCK)[0]
        self.assertEqual(mutate.mutated("if (x < y)", one), "if (x <= y)")
        self.assertEqual(mutate.mutated("if (x <\n    y)", one), "if (x <= y)")
        for text in ("x > y", "x < y; x < y", "x<y"):
            with self.assertRaises(ValueError):
                mutate.mutated(text, one)

    def test_a_short_list_and_a_bare_folder_are_errors(self):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder)
            for name in ("a", "b"):
                (source / name).mkdir()
                (source / name / "x.h").write_text("")
            errors = mutate.coverage_errors(mutate.parse((BLOCK + "\n") * 40), source)
            self.assertEqual(errors, ["src/b has 0 mutations, at least 2 are wanted"])
            self.assertIn("39 mutations", mutate.coverage_errors(mutate.parse((BLOCK + "\n") * 39), source)[0])

    def test_synchronise_leaves_equal_files_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            a, b = pathlib.Path(folder, "a"), pathlib.Path(folder, "b")
            (a / "in").mkdir(parents=True)
            (a / "in" / "same").write_text("1")
            (a / "changed").write_text("1")
            mutate.synchronise(a, b)
            before = (b / "in" / "same").stat().st_mtime_ns
            (b / "extra").write_text("")
            (a / "changed").write_text("2")
            mutate.synchronise(a, b)
            self.assertEqual((b / "in" / "same").stat().st_mtime_ns, before)
            self.assertEqual((b / "changed").read_text(), "2")
            self.assertFalse((b / "extra").exists())

    def test_every_mutation_of_the_list_fits_the_sources(self):
        for mutation in mutate.parse(mutate.LIST.read_text()):
            with self.subTest(line=mutation.line):
                mutate.mutated((ROOT / mutation.file).read_text(), mutation)

    def test_every_folder_of_the_sources_has_its_mutations(self):
        self.assertEqual(mutate.coverage_errors(mutate.parse(mutate.LIST.read_text()), ROOT / "src"), [])

    def test_every_filter_of_the_list_names_tests(self):
        names = {}
        for mutation in mutate.parse(mutate.LIST.read_text()):
            if mutation.program not in names:
                names[mutation.program] = tests_of(mutation.program)
            for piece in mutation.filter.split(":"):
                with self.subTest(line=mutation.line, piece=piece):
                    self.assertTrue(names_some(piece, names[mutation.program]))

    def test_a_filter_names_a_test_by_its_beginning(self):
        names = ["Suite.Name", "All/Suite.Each"]
        for piece in ("Suite.Name", "Suite.*", "S*", "All/Suite.Each/f16", "All/Su*f16"):
            self.assertTrue(names_some(piece, names), piece)
        for piece in ("Suite.Na", "Suite.Other*", "All/Suite.Ea", "Each.*"):
            self.assertFalse(names_some(piece, names), piece)


if __name__ == "__main__":
    unittest.main()
