"""What makes the Metal build: the kernels' embedded text, parts of wheels, and the reader of Mach-O files."""
import contextlib
import hashlib
import io
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import embed_kernels  # noqa: E402
import fetch_wheel  # noqa: E402
import macho  # noqa: E402
import metal_cross  # noqa: E402

METAL = metal_cross.FRAMEWORK.format("Metal")


class EmbedKernels(unittest.TestCase):
    def tree(self, files):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        root = pathlib.Path(folder.name)
        for name, text in files.items():
            (root / "src/kernel").mkdir(parents=True, exist_ok=True)
            (root / "src" / name).write_text(text)
        return root

    def test_a_file_names_the_kernels_that_it_defines(self):
        root = self.tree({"kernel/list.h": '#include "kernel/a.h"\n#include "kernel/b.h"\n#include "kernel/words.h"\n',
                          "kernel/a.h": '#include "kernel/b.h"\nK_KERNEL(one, Args, None) {}\nK_KERNEL(two, A, N) {}\n',
                          "kernel/b.h": "K_KERNEL(three, Args, None) {}\n", "kernel/words.h": "// none\n"})
        self.assertEqual(embed_kernels.kernel_files(root),
                         {"kernel/a.h": ["one", "two"], "kernel/b.h": ["three"]})
        source = embed_kernels.source(root)
        self.assertIn('names_0[] = {"one", "two"};', source)
        self.assertIn("K_KERNEL(three", embed_kernels.metal_text("kernel/a.h", root))

    def test_a_kernel_that_is_defined_twice_is_refused(self):
        root = self.tree({"kernel/list.h": '#include "kernel/a.h"\n#include "kernel/b.h"\n',
                          "kernel/a.h": "K_KERNEL(one, Args, None) {}\n", "kernel/b.h": "K_KERNEL(one, Args, None) {}\n"})
        with self.assertRaisesRegex(embed_kernels.CannotEmbed, "the kernel one is defined twice"):
            embed_kernels.kernel_files(root)

    def test_literals_hold_the_text_in_short_pieces(self):
        text = "".join(f"line {i} \\n \"quoted\"\n" for i in range(3000))
        literal = embed_kernels.literal(text)
        pieces = literal.split('R"metal(')[1:]
        self.assertGreater(len(pieces), 3)
        self.assertEqual("".join(piece.rsplit(')metal"', 1)[0] for piece in pieces), text)
        self.assertLess(max(map(len, pieces)), 65536)


class FetchWheel(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.path = self.folder / "x.whl"
        with zipfile.ZipFile(self.path, "w") as archive:
            archive.writestr("x/include/a.hpp", "a")
            archive.writestr("x/other", "b")

    def fetch(self, sha256, prefix="x/include/"):
        wheel = fetch_wheel.Wheel("x==1.0", "any", sha256, prefix)
        errors, output = io.StringIO(), io.StringIO()
        with unittest.mock.patch.dict(fetch_wheel.WHEELS, {"x": wheel}), \
                unittest.mock.patch.dict("os.environ", {"ASSAY_CACHE": str(self.folder / "cache")}), \
                contextlib.redirect_stderr(errors), contextlib.redirect_stdout(output):
            code = fetch_wheel.main(["x", str(self.path)])
        return code, output.getvalue().strip(), errors.getvalue()

    def test_takes_the_part_that_is_asked_for(self):
        code, folder, _ = self.fetch(hashlib.sha256(self.path.read_bytes()).hexdigest())
        self.assertEqual(code, 0)
        self.assertEqual([path.name for path in pathlib.Path(folder).rglob("*")], ["a.hpp"])

    def test_another_file_is_refused_and_leaves_nothing(self):
        code, _, errors = self.fetch("0" * 64)
        self.assertEqual(code, 1)
        self.assertIn("x.whl has SHA-256 ", errors)
        self.assertEqual(list((self.folder / "cache/wheels").iterdir()), [])

    def test_only_an_index_that_does_not_answer_is_unreachable(self):
        wheel = fetch_wheel.Wheel("x==1.0", "any", "", "")
        for said, error in (("Could not find a version of x==1.0 (from versions: none)", fetch_wheel.Unreachable),
                            ("ReadTimeoutError: read timed out.", fetch_wheel.Unreachable),
                            ("Could not find a version of x==1.0 (from versions: 0.8, 0.9)", fetch_wheel.FetchError),
                            ("No space left on device", fetch_wheel.FetchError)):
            pip = subprocess.CompletedProcess([], 1, stdout=said)
            with unittest.mock.patch("subprocess.run", return_value=pip), \
                    contextlib.redirect_stderr(io.StringIO()), self.assertRaises(fetch_wheel.FetchError) as raised:
                fetch_wheel.download(wheel, self.folder)
            self.assertIs(type(raised.exception), error, said)

    def test_a_wheel_without_the_part_is_refused(self):
        code, _, errors = self.fetch(hashlib.sha256(self.path.read_bytes()).hexdigest(), "y/")
        self.assertEqual(code, 1)
        self.assertIn("x.whl holds nothing below y/", errors)


def mach_o(symbols, libraries=(METAL, metal_cross.SYSTEM), machine=macho.ARM64, text=b"kernel void f"):
    """A program with the undefined `symbols`: (name, library ordinal)."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name, _ in symbols)
    commands = []
    for library in libraries:
        name = library.encode() + b"\0" * (8 - len(library) % 8)
        commands.append(struct.pack("<IIIIII", macho.LOAD_DYLIB, 24 + len(name), 24, 0, 0, 0) + name)
    commands.append(struct.pack("<IIIIII", macho.BUILD_VERSION, 24, 1, 13 << 16, 0, 0))
    size = sum(map(len, commands)) + 24 + 152
    start = 32 + size
    table, at = b"", 1
    for name, ordinal in symbols:
        table += struct.pack("<IBBHQ", at, macho.EXTERNAL, 0, ordinal << 8, 0)
        at += len(name) + 1
    commands.append(struct.pack("<IIIIII", macho.SYMTAB, 24, start, len(symbols), start + len(table), len(strings)))
    segment = struct.pack("<II16sQQQQIIII", macho.SEGMENT, 152, b"__TEXT", 0, 0, 0, 0, 0, 0, 1, 0)
    section = struct.pack("<16s16sQQIIIIIIII", b"__const", b"__TEXT", 0, len(text), start + len(table) + len(strings),
                          0, 0, 0, 0, 0, 0, 0)
    commands.append(segment + section)
    header = struct.pack("<IIIIIIII", macho.MAGIC, machine, 0, 2, len(commands), size, 0, 0)
    return header + b"".join(commands) + table + strings + text


class MachO(unittest.TestCase):
    def test_reads_what_a_program_says_of_itself(self):
        found = macho.parse(mach_o([("_MTLCreateSystemDefaultDevice", 1), ("_malloc", 2), ("_NSx", 0xfe)]))
        self.assertEqual((found.kind, found.machine, found.least_system), ("program", macho.ARM64, "13.0"))
        self.assertEqual(found.libraries, [METAL, metal_cross.SYSTEM])
        self.assertEqual([(symbol.name, symbol.library) for symbol in found.undefined()],
                         [("_MTLCreateSystemDefaultDevice", METAL), ("_malloc", metal_cross.SYSTEM), ("_NSx", "")])
        self.assertEqual(found.sections["__TEXT,__const"], b"kernel void f")

    def test_cut_off_anywhere_it_is_refused_or_shorter(self):
        whole = mach_o([("_MTLCreateSystemDefaultDevice", 1)], text=b"")
        for length in range(len(whole) - 1):
            with self.assertRaises(macho.NotMachO, msg=length):
                macho.parse(whole[:length])
        with self.assertRaisesRegex(macho.NotMachO, "it begins with 0x464c457f"):
            macho.parse(b"\x7fELF" + bytes(100))


class Verdict(unittest.TestCase):
    def errors(self, symbols, texts=None, **options):
        return metal_cross.errors_of(macho.parse(mach_o(symbols, **options)), texts or {"a": "kernel void f"})

    def test_a_whole_program_has_none(self):
        self.assertEqual(self.errors([("_MTLCreateSystemDefaultDevice", 0xfe), ("_malloc", 2), ("_sel_registerName", 0xfe)]),
                         [])

    def test_a_symbol_that_no_library_has_is_named(self):
        self.assertEqual(self.errors([("_MTLCreateSystemDefaultDevice", 0xfe), ("_assay_forgotten", 0xfe)]),
                         ["no library is known to have _assay_forgotten"])
        self.assertEqual(self.errors([("_malloc", 0xfe)]), ["no library is known to have _malloc"])

    def test_a_library_that_is_not_loaded_is_named(self):
        self.assertEqual(self.errors([("_NSCocoaErrorDomain", 0xfe)]),
                         [metal_cross.FRAMEWORK.format("Foundation") + " is not loaded"])

    def test_another_machine_or_a_lost_text_is_named(self):
        self.assertEqual(self.errors([], machine=0x01000007), ["a program for machine 0x1000007, not a program for arm64"])
        self.assertEqual(self.errors([], texts={"kernel/norm.h": "kernel void g"}), ["the text of kernel/norm.h is not in it"])


if __name__ == "__main__":
    unittest.main()
