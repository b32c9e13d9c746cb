"""Reads what a Mach-O file of 64 bits says of itself: kind, machine, libraries, symbols, sections.

Layout: Apple's <mach-o/loader.h> and <mach-o/nlist.h>; all numbers little-endian.
"""
import dataclasses
import struct

MAGIC, ARM64 = 0xfeedfacf, 0x0100000c
KINDS = {1: "object", 2: "program", 6: "library"}
LOAD_DYLIB, LOAD_WEAK_DYLIB, REEXPORT_DYLIB = 0xc, 0x80000018, 0x8000001f
SYMTAB, SEGMENT, BUILD_VERSION = 0x2, 0x19, 0x32
SELF, DYNAMIC_LOOKUP, EXECUTABLE = 0, 0xfe, 0xff  # library ordinals that name no library
STAB, TYPE, EXTERNAL, UNDEFINED = 0xe0, 0x0e, 0x01, 0x0
WEAK_REFERENCE = 0x40


class NotMachO(Exception):
    pass


@dataclasses.dataclass
class Symbol:
    name: str
    undefined: bool
    weak: bool = False
    library: str = ""      # of an undefined symbol; "" where it is looked up in all


@dataclasses.dataclass
class MachO:
    machine: int = 0
    kind: str = ""
    libraries: list = dataclasses.field(default_factory=list)
    symbols: list = dataclasses.field(default_factory=list)
    sections: dict = dataclasses.field(default_factory=dict)  # "__TEXT,__const": bytes
    least_system: str = ""                                     # "13.0"

    def undefined(self):
        return [symbol for symbol in self.symbols if symbol.undefined]


def text_at(data, at):
    return data[at:data.index(b"\0", at)].decode("utf-8", "replace")


def fixed_text(data):
    return data.split(b"\0", 1)[0].decode("ascii", "replace")


def read_sections(data, at, sections):
    """The sections of the LC_SEGMENT_64 at `at`."""
    count = struct.unpack_from("<I", data, at + 64)[0]
    for index in range(count):
        section = at + 72 + 80 * index
        name = f"{fixed_text(data[section + 16:section + 32])},{fixed_text(data[section:section + 16])}"
        size, offset = struct.unpack_from("<QI", data, section + 40)
        sections[name] = data[offset:offset + size] if offset else b""


def read_symbols(data, at, libraries):
    offset, count, strings, _ = struct.unpack_from("<IIII", data, at + 8)
    symbols = []
    for index in range(count):
        name, kind, _, flags, value = struct.unpack_from("<IBBHQ", data, offset + 16 * index)
        if kind & STAB or not kind & EXTERNAL:
            continue
        undefined = kind & TYPE == UNDEFINED and value == 0
        ordinal = flags >> 8
        known = undefined and ordinal not in (SELF, DYNAMIC_LOOKUP, EXECUTABLE)
        symbols.append(Symbol(text_at(data, strings + name), undefined, bool(flags & WEAK_REFERENCE),
                              libraries[ordinal - 1] if known else ""))
    return symbols


def parse(data):
    """Raises NotMachO."""
    try:
        magic, machine, _, kind, count, _ = struct.unpack_from("<IIIIII", data, 0)
        if magic != MAGIC:
            raise NotMachO(f"no Mach-O file of 64 bits: it begins with {magic:#010x}")
        found = MachO(machine, KINDS.get(kind, str(kind)))
        at, symbols_at = 32, None
        for _ in range(count):
            command, size = struct.unpack_from("<II", data, at)
            if command in (LOAD_DYLIB, LOAD_WEAK_DYLIB, REEXPORT_DYLIB):
                found.libraries.append(text_at(data, at + struct.unpack_from("<I", data, at + 8)[0]))
            elif command == SEGMENT:
                read_sections(data, at, found.sections)
            elif command == SYMTAB:
                symbols_at = at
            elif command == BUILD_VERSION:
                least = struct.unpack_from("<I", data, at + 12)[0]
                found.least_system = f"{least >> 16}.{least >> 8 & 255}"
            at += size
        if symbols_at is not None:
            found.symbols = read_symbols(data, symbols_at, found.libraries)
        return found
    except (struct.error, IndexError, ValueError) as error:
        raise NotMachO(f"a Mach-O file that is cut off or damaged: {error}") from error
