"""docs/tutorial.md, followed literally: its commands run one after the other, and each must print what stands under it."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import BINARY, MODEL, ROOT

# The packages are here already; a test downloads nothing.
REPLACED = {"python3 -m venv build/tutorial && build/tutorial/bin/pip install -q numpy gguf":
            f"mkdir -p build/tutorial/bin && printf '#!/bin/sh\nexec \"{sys.executable}\" \"$@\"' > build/tutorial/bin/python &&"
            " chmod +x build/tutorial/bin/python"}


def steps(page):
    """[(command, lines under it)] of the indented blocks of a page."""
    found = []
    for line in page.splitlines():
        if line.startswith("    $ "):
            found.append((line[6:], []))
        elif line.startswith("    ") and found:
            found[-1][1].append(line[4:])
        elif not line and found and found[-1][1]:
            found[-1][1].append("")
    return [(command, "\n".join(lines).strip("\n").splitlines()) for command, lines in found]


def pattern(lines):
    """Lines of the page as a regular expression: … stands for the rest of a line, alone for any number of lines."""
    whole = ""
    for line in lines:
        parts = ".*".join(re.escape(part) for part in line.rstrip().split("…"))
        whole += r"(?:.*\n)*" if line.strip() == "…" else parts + r" *\n"
    return "^" + whole + r"\s*$"


class Tutorial(unittest.TestCase):
    @unittest.skipUnless(MODEL.exists(), "the default model is not in the cache (make model)")
    def test_every_command_prints_what_the_page_says(self):
        commands = steps((ROOT / "docs/tutorial.md").read_text())
        self.assertGreater(len(commands), 10)
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for part in ("docs/tutorial", "python"):
                shutil.copytree(ROOT / part, folder / part)
            (folder / "build/release").mkdir(parents=True)
            (folder / "build/release/assay").symlink_to(BINARY)
            script = "".join(f"{REPLACED.get(command, command)}\necho; echo \"<<{i}>>\"\n" for i, (command, _) in enumerate(commands))
            done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=300,
                                  env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        printed = re.split(r"<<\d+>>\n", done.stdout)
        for (command, wanted), got in zip(commands, printed):
            with self.subTest(command):
                self.assertRegex(got, pattern(wanted), done.stderr)


if __name__ == "__main__":
    unittest.main()
