#!/usr/bin/env python3
"""clang-format over the C++ files; --check only compares. Uses the version pinned in .venv."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("src", "cli", "tools", "bench", "tests", "include", "python")


def main(arguments):
    program = ROOT / ".venv" / "bin" / "clang-format"
    if not program.exists():
        print("format: .venv/bin/clang-format is missing; run scripts/install.sh test", file=sys.stderr)
        return 2
    files = sorted(str(path.relative_to(ROOT)) for folder in FOLDERS
                   for path in (ROOT / folder).rglob("*") if path.suffix in (".h", ".cpp", ".inl", ".cu"))
    if not files:
        return 0
    mode = ["--dry-run", "--Werror"] if "--check" in arguments else ["-i"]
    return subprocess.run([str(program), *mode, *files], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
