#!/usr/bin/env python3
"""Writes the tables of src/jinja/unicode.h from Python's own character properties, so that upper(),
isalpha() and repr() of a template's strings are Python's. Run it by hand; the output is committed.

    python3 tests/jinja/make_unicode_table.py kinds > src/jinja/unicode_kinds.cpp
    python3 tests/jinja/make_unicode_table.py cases > src/jinja/unicode_cases.cpp
"""
import sys
import unicodedata

CODES = [code for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]


def ranges(holds):
    """[first, last] of every run of code points for which holds(character)."""
    found = []
    for code in range(0x110000):
        if 0xD800 <= code <= 0xDFFF or not holds(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def mappings(change):
    """(first, last, stride, delta) of every run of code points that map to code + delta."""
    found = []
    for code in CODES:
        changed = change(chr(code))
        if len(changed) != 1 or ord(changed) == code:
            continue
        delta = ord(changed) - code
        last = found[-1] if found else None
        if last and last[3] == delta and last[0] == last[1] and code - last[1] in (1, 2):
            last[1], last[2] = code, code - last[1]
        elif last and last[3] == delta and code - last[1] == last[2]:
            last[1] = code
        else:
            found.append([code, code, 1, delta])
    return found


def expansions(change):
    """(code, up to three code points) of every character that maps to several."""
    found = []
    for code in CODES:
        changed = [ord(c) for c in change(chr(code))]
        if len(changed) > 1:
            found.append([code] + changed + [0] * (3 - len(changed)))
    return found


def emit(kind, name, rows):
    text = ", ".join("{" + ", ".join(str(number) for number in row) + "}" for row in rows)
    print(f"const {kind} {name}_rows[] = {{")
    line = "   "
    for piece in text.replace("}, ", "},\n").split("\n"):
        if len(line) + 1 + len(piece) > 100:
            print(line)
            line = "   "
        line += " " + piece
    print(line)
    print("};")
    print(f"const std::span<const {kind}> {name} = {name}_rows;\n")


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in ("kinds", "cases"):
        sys.exit("usage: make_unicode_table.py kinds|cases")
    print("// Made by tests/jinja/make_unicode_table.py from Unicode "
          f"{unicodedata.unidata_version}; not edited by hand.")
    print("// clang-format off")
    print('#include "jinja/unicode.h"\n\nnamespace assay::jinja::table {\n')
    if sys.argv[1] == "kinds":
        emit("Range", "alpha", ranges(str.isalpha))
        emit("Range", "numeric", ranges(lambda c: c.isnumeric() and not c.isdigit()))
        emit("Range", "digit", ranges(str.isdigit))
        emit("Range", "unprintable", ranges(lambda c: not c.isprintable()))
    else:
        emit("Range", "upper", ranges(str.isupper))
        emit("Range", "lower", ranges(str.islower))
        emit("Range", "title", ranges(lambda c: unicodedata.category(c) == "Lt"))
        emit("Mapping", "to_upper", mappings(str.upper))
        emit("Mapping", "to_lower", mappings(str.lower))
        emit("Mapping", "to_title", mappings(str.title))
        emit("Expansion", "upper_expansion", expansions(str.upper))
        emit("Expansion", "title_expansion", expansions(str.title))
    print("}  // namespace assay::jinja::table")


if __name__ == "__main__":
    main()
