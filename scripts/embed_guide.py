#!/usr/bin/env python3
"""The pages of docs/agents as one C++ source: what `assay guide --for-agents` writes out.

    embed_guide.py OUTPUT.cpp
"""
import pathlib
import sys

from embed_kernels import literal

PAGES = pathlib.Path(__file__).resolve().parent.parent / "docs/agents"


def source(folder=PAGES):
    pages = sorted(folder.glob("*.md"))
    if not any(page.name == "SKILL.md" for page in pages):
        raise OSError(f"{folder} has no SKILL.md")
    entries = [f'    {{"{page.name}", {literal(page.read_text(encoding="utf-8"))}}},' for page in pages]
    return "\n".join(["// Made by scripts/embed_guide.py.", '#include "guide.h"', "", "constexpr GuidePage pages[] = {", *entries,
                      "};", "", "std::span<const GuidePage> guide_pages() {", "  return pages;", "}", ""])


def main(arguments):
    if len(arguments) != 1:
        print("usage: embed_guide.py OUTPUT.cpp", file=sys.stderr)
        return 2
    try:
        pathlib.Path(arguments[0]).write_text(source(), encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        print(f"embed: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
