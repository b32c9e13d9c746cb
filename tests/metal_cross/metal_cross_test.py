"""The command line with the Metal device as a program for arm64 macOS: built here, read here, run nowhere here."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/metal_cross.py"
PROGRAM = ROOT / "build/metal-cross/assay"


def run(*arguments):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class MetalCross(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.built = run("--symbols")
        if cls.built.returncode == 77:
            raise unittest.SkipTest(cls.built.stdout.strip().splitlines()[-1])

    def test_is_whole_and_leaves_open_what_the_system_has(self):
        self.assertEqual(self.built.returncode, 0, self.built.stdout)
        self.assertRegex(self.built.stdout, "program for arm64 macOS 13.0, [0-9]+ kernel texts")
        for symbol in ("_MTLCreateSystemDefaultDevice", "_objc_msgSend", "_memcpy"):
            self.assertIn(f"\n{symbol} ", self.built.stdout)
        print(self.built.stdout)

    def altered(self, old, new):
        """What is said of the program with bytes changed."""
        data = PROGRAM.read_bytes()
        self.assertIn(old, data)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data.replace(old, new))
            file.flush()
            return run("--check", file.name)

    def test_an_unknown_symbol_is_seen(self):
        said = self.altered(b"\0_MTLCreateSystemDefaultDevice\0", b"\0_MYLCreateSystemDefaultDevice\0")
        self.assertEqual(said.returncode, 1)
        self.assertIn("error: no library is known to have _MYLCreateSystemDefaultDevice", said.stdout)

    def test_an_altered_kernel_is_seen(self):
        said = self.altered(b"K_KERNEL(rms_norm,", b"K_KERNEL(rms_norn,")
        self.assertEqual(said.returncode, 1)
        self.assertIn("error: the text of kernel/norm.h is not in it", said.stdout)

    def test_another_system_s_program_is_refused(self):
        said = run("--check", sys.executable)
        self.assertEqual(said.returncode, 1)
        self.assertIn("no Mach-O file of 64 bits", said.stdout)


if __name__ == "__main__":
    unittest.main()
