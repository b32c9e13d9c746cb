#!/usr/bin/env python3
"""One kernel file with all that it includes, as one text: what Metal compiles at run time.

    flatten_kernels.py src/kernel/norm.h [-o norm.metal]

`#include <metal_stdlib>` comes first; each "lang/…", "kernel/…" and "quant/…" once, where it is first asked for; `#line`
keeps the places of the sources. Of `#if defined(__METAL_VERSION__)` the Metal branch is taken. Any other
directive, header of the host or `#define` outside lang_metal.h is an error that names the chain of includes.
Exit: 0 done, 2 a file that cannot be flattened.
"""
import argparse
import dataclasses
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("lang/", "kernel/", "quant/")
WORDS = "src/lang/lang_metal.h"  # the only file with macros, and with <metal_stdlib>
DIRECTIVE = re.compile(r"\s*#\s*(\w+)\s*(.*?)\s*(?://.*)?$")
METAL_BRANCH = "defined(__METAL_VERSION__)"


class CannotFlatten(Exception):
    pass


@dataclasses.dataclass
class Flattener:
    source: pathlib.Path              # the folder that includes are relative to: src/
    root: pathlib.Path                # what #line names are relative to
    lines: list = dataclasses.field(default_factory=list)
    seen: set = dataclasses.field(default_factory=set)

    def name_of(self, path):
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def add(self, path, chain):
        """Appends the text of `path`; `chain`: the names of the files that led here."""
        name = self.name_of(path)
        chain = chain + [name]
        self.seen.add(path.resolve())
        branch = None                 # inside #if: True in the Metal branch, False in the others
        wanted_line = -1              # the number that the next line of the text stands for
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = DIRECTIVE.match(line)
            word, rest = match.groups() if match else ("", "")

            def fail(reason):
                raise CannotFlatten(f"{name}:{number}: {reason} ({' → '.join(chain)})")

            if word == "if" and rest == METAL_BRANCH and branch is None:
                branch = True
            elif word in ("elif", "else") and branch is not None:
                branch = False
            elif word == "endif" and branch is not None:
                branch = None
            elif branch is False or (word == "pragma" and rest == "once"):
                pass
            elif word == "include":
                self.include(rest, chain, fail)
            elif word and not (word == "define" and name == WORDS):
                fail(f"#{word} is no word of a kernel file")
            else:
                if number != wanted_line:
                    self.lines.append(f'#line {number} "{name}"')
                self.lines.append(line)
                wanted_line = number + 1
        if branch is not None:
            raise CannotFlatten(f"{name}: #if without #endif ({' → '.join(chain)})")

    def include(self, rest, chain, fail):
        if rest == "<metal_stdlib>" and chain[-1] == WORDS:
            return                    # flatten() puts it first
        if not rest.startswith('"'):
            fail(f"{rest} is a header of the host; a kernel has the words of lang/lang.h only")
        header = rest.strip('"')
        path = self.source / header
        if not header.startswith(FOLDERS):
            fail(f'"{header}" is for the host; a kernel includes "lang/…", "kernel/…" and "quant/…" only')
        if not path.is_file():
            fail(f'"{header}" is no file below src/')
        if path.resolve() not in self.seen:
            self.add(path, chain)


def flatten(path, root=ROOT):
    """The text of a kernel file. Raises CannotFlatten, OSError, UnicodeDecodeError."""
    flattener = Flattener(root / "src", root)
    flattener.add(pathlib.Path(path).resolve(), [])
    return "\n".join(["#include <metal_stdlib>", *flattener.lines]) + "\n"


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kernel", help="src/kernel/NAME.h")
    parser.add_argument("-o", "--output", help="default: standard output")
    options = parser.parse_args(arguments)
    try:
        text = flatten(options.kernel)
        if options.output:
            pathlib.Path(options.output).write_text(text, encoding="utf-8")
        else:
            sys.stdout.write(text)
    except (CannotFlatten, OSError, UnicodeDecodeError) as error:
        print(f"flatten: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
