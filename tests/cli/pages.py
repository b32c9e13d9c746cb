"""Runs the commands of a documentation page literally: each must print what stands under it.

A command is a line that begins with four spaces and "$ "; the indented lines under it are its output. … stands for the rest of a line,
alone on a line for any number of lines.
"""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from cli_test import BINARY, ROOT


def steps(page):
    """[(command, lines under it)] of the indented blocks of a page. Prose ends the lines of a command."""
    found, open_block = [], False
    for line in page.splitlines():
        if line.startswith("    $ "):
            found.append((line[6:], []))
            open_block = True
        elif line.startswith("    ") and open_block:
            found[-1][1].append(line[4:])
        elif not line and open_block and found[-1][1]:
            found[-1][1].append("")
        elif line:
            open_block = False
    return [(command, "\n".join(lines).strip("\n").splitlines()) for command, lines in found]


def pattern(lines):
    """Lines of the page as a regular expression."""
    whole = ""
    for line in lines:
        parts = ".*".join(re.escape(part) for part in line.rstrip().split("…"))
        whole += r"(?:.*\n)*" if line.strip() == "…" else parts + r" *\n"
    return "^" + whole + r"\s*$"


def follow(test, commands, copied, replaced=None, environment=None):
    """Runs all commands in one shell, in a folder with the program and the `copied` parts of the project; asserts what each prints."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for source, target in copied.items():
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / source, folder / target)
        (folder / "build/release").mkdir(parents=True)
        (folder / "build/release/assay").symlink_to(BINARY)
        script = "".join(f"{(replaced or {}).get(command, command)}\necho; echo \"<<{i}>>\"\n" for i, (command, _) in enumerate(commands))
        done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=300,
                              env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})})
    printed = re.split(r"<<\d+>>\n", done.stdout)
    for (command, wanted), got in zip(commands, printed):
        with test.subTest(command):
            test.assertRegex(got, pattern(wanted), done.stderr)
    test.assertEqual(len(printed), len(commands) + 1, done.stderr)
