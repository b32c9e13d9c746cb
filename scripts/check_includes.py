#!/usr/bin/env python3
"""Checks every `#include "..."` under src/ against the include table of HACKING.md.

The table is the only place where the directions stand: its rows are | `folder` | what it may include |,
where an entry is a folder (`base`) or one header (`quant/formats.h`) of a row above. A folder may always include itself.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADING = "## The include table"
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


def read_table(markdown):
    """{folder: set of folders and headers} from the table below HEADING."""
    table = {}
    section = markdown.split(HEADING, 1)
    if len(section) != 2:
        raise ValueError(f"HACKING.md has no heading '{HEADING}'")
    for line in section[1].split("\n## ", 1)[0].splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|") or len(cells) < 2 or not cells[0].startswith("`"):
            continue
        folder = cells[0].strip("`")
        if folder in table:
            raise ValueError(f"the include table names {folder} twice")
        allowed = set(re.findall(r"`([^`]+)`", cells[1]))
        for entry in sorted(allowed):
            if entry.split("/")[0] not in table:
                raise ValueError(f"the row of {folder} names {entry}, which has no row above it: "
                                 "dependencies go one way, from a row to those above it")
        table[folder] = allowed
    if not table:
        raise ValueError(f"no rows below '{HEADING}'")
    return table


def errors_of(source, table):
    """One sentence for each include that the table does not allow, or that names no file."""
    errors = []
    for path in sorted(source.rglob("*")):
        if path.suffix not in (".h", ".cpp", ".inl", ".cu", ".mm", ".metal"):
            continue
        name = path.relative_to(source).as_posix()
        folder = name.split("/")[0]
        if folder not in table:
            errors.append(f"src/{name}: the include table has no row `{folder}`")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            header = match.group(1)
            place = f"src/{name}:{number}: "
            allowed = table[folder]
            if not (source / header).is_file():
                errors.append(f'{place}"{header}" is no file below src/ (write folder/file.h)')
            elif header.split("/")[0] != folder and header not in allowed \
                    and header.split("/")[0] not in allowed:
                errors.append(f'{place}{folder} may not include "{header}"')
    return errors


def main(arguments):
    root = pathlib.Path(arguments[0]) if arguments else ROOT
    try:
        table = read_table((root / "HACKING.md").read_text())
    except (OSError, ValueError) as error:
        print(f"includes: {error}", file=sys.stderr)
        return 2
    errors = errors_of(root / "src", table)
    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
