"""`assay guide --for-agents`: the folder it writes, and every command of its pages, run in the order of the loop."""
import os
import pathlib
import re
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import ROOT, assay
from pages import follow, steps

PAGES = ROOT / "docs/agents"
LOOP = ("record", "diff", "narrow", "mend", "golden")
KJV = ROOT / "tests/data/kjv/kjv.gguf"


class Guide(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name, "skills", "assay")

    def test_writes_the_pages_of_the_documentation(self):
        done = assay("guide", "--for-agents", self.path)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        written = {path.name: path.read_text() for path in self.path.iterdir()}
        self.assertEqual(written, {path.name: path.read_text() for path in PAGES.iterdir()})
        self.assertEqual(set(written), {"SKILL.md", *(f"{name}.md" for name in LOOP)})

    def test_writes_again_and_leaves_other_files(self):
        for _ in range(2):
            self.assertEqual(assay("guide", "--for-agents", self.path).returncode, 0)
            (self.path / "mine.md").write_text("mine")
            (self.path / "SKILL.md").write_text("old")
        assay("guide", "--for-agents", self.path)
        self.assertEqual((self.path / "mine.md").read_text(), "mine")
        self.assertEqual((self.path / "SKILL.md").read_text(), (PAGES / "SKILL.md").read_text())

    def test_what_cannot_be_written_is_said(self):
        file = pathlib.Path(self.folder.name, "file")
        file.write_text("")
        for arguments, sentence in ((("--for-agents", file), "cannot make the folder"), ((), "'assay guide' needs --for-agents DIR")):
            done = assay("guide", *arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(sentence, done.stderr)

    def test_front_matter(self):
        head = re.match(r"---\nname: ([a-z0-9-]{1,64})\ndescription: (.{1,1024})\n---\n\n# ", (PAGES / "SKILL.md").read_text())
        self.assertTrue(head)
        self.assertEqual(head[1], "assay")
        self.assertNotIn(": ", head[2])  # it would end a YAML scalar without quotes

    def test_links_lead_to_pages(self):
        for page in PAGES.iterdir():
            for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
                self.assertTrue((PAGES / link).exists(), f"{page.name}: {link}")


class Commands(unittest.TestCase):
    def test_every_command_prints_what_its_page_says(self):
        commands = []
        for name in LOOP:
            of_page = steps((PAGES / f"{name}.md").read_text())
            self.assertGreater(len(of_page), 1, name)
            commands += of_page
        with tempfile.TemporaryDirectory() as folder:
            python = pathlib.Path(folder, "python3")
            python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
            python.chmod(0o755)
            (pathlib.Path(folder) / "assay").symlink_to(os.environ.get("ASSAY_BINARY", ROOT / "build/release/assay"))
            follow(self, commands, {"docs/tutorial/engine.py": "engine.py"},
                   environment={"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "python"), "MODEL": str(KJV)})

    def test_fields_that_the_pages_name_exist(self):
        """Fields in the table of diff.md are those of the JSON."""
        source = (ROOT / "src/diff/json.cpp").read_text()
        table = (PAGES / "diff.md").read_text().split("## Fields of the JSON")[1]
        names = re.findall(r"`([a-z_.]+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `")))
        self.assertGreater(len(names), 20)
        for name in names:
            self.assertIn(f'{{"{name.split(".")[-1]}", ', source, name)

    def test_causes_that_the_pages_name_exist(self):
        known = "".join(path.read_text() for path in (ROOT / "src").glob("diagnose/*.cpp"))
        for pattern in re.findall(r"`([a-z0-9…-]+)`", (PAGES / "mend.md").read_text().split("| cause.id |")[1].split("\n\n")[0]):
            if "-" in pattern or pattern == "clipped":
                self.assertIn('"' + pattern.rstrip("…").rstrip("-"), known, pattern)


if __name__ == "__main__":
    unittest.main()
