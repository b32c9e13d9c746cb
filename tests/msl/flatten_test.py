"""One kernel file as one text: each include once, places kept, nothing of the host."""
import contextlib
import io
import pathlib
import re
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import flatten_kernels  # noqa: E402


class Flatten(unittest.TestCase):
    def flatten(self, files, start="kernel/a.h"):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder).resolve()
            for name, text in files.items():
                (root / "src" / name).parent.mkdir(parents=True, exist_ok=True)
                (root / "src" / name).write_text(text)
            return flatten_kernels.flatten(root / "src" / start, root)

    def test_all_kernels_flatten_with_their_places(self):
        text = flatten_kernels.flatten(ROOT / "src/kernel/list.h")
        lines = text.splitlines()
        self.assertEqual(lines[0], "#include <metal_stdlib>")
        self.assertEqual(text.count("#include"), 1)
        self.assertEqual(text.count("struct alignas(16) Words4 {"), 1)
        self.assertNotIn("__dp4a", text)
        file, number, sources = "", 0, {}
        for line in lines[1:]:
            match = re.match(r'#line (\d+) "(.+)"', line)
            if match:
                number, file = int(match.group(1)), match.group(2)
                sources.setdefault(file, (ROOT / file).read_text().splitlines())
                continue
            self.assertEqual(line, sources[file][number - 1], f"{file}:{number}")
            number += 1
        self.assertIn("src/lang/lang_metal.h", sources)
        self.assertIn("src/quant/q4_k.h", sources)
        self.assertNotIn("src/lang/lang_emulated.h", sources)

    def test_each_file_once_where_first_asked_for(self):
        text = self.flatten({"kernel/a.h": '#pragma once\n#include "kernel/b.h"\n#include "quant/c.h"\nint a;\n',
                             "kernel/b.h": '#include "quant/c.h"\nint b;\n', "quant/c.h": "int c;\n"})
        self.assertEqual(re.findall(r"int (\w);", text), ["c", "b", "a"])

    def test_the_metal_branch_is_taken(self):
        text = self.flatten({"kernel/a.h": "#if defined(__METAL_VERSION__)\nint metal;\n"
                                           '#elif defined(__CUDACC__)\n#include <cuda.h>\n#else\nint host;\n#endif\n'
                                           "int both;\n"})
        self.assertEqual(re.findall(r"int (\w+);", text), ["metal", "both"])

    def test_refusals_name_the_chain(self):
        lang = {"kernel/a.h": '#include "kernel/b.h"\n'}
        for text, wanted in (
                ("\n#include <cmath>\n", "src/kernel/b.h:2: <cmath> is a header of the host"),
                ('#include "base/result.h"\n', 'b.h:1: "base/result.h" is for the host'),
                ('#include "kernel/none.h"\n', 'b.h:1: "kernel/none.h" is no file'),
                ("#include <metal_stdlib>\n", "b.h:1: <metal_stdlib> is a header of the host"),
                ("#define X 1\n", "b.h:1: #define is no word of a kernel file"),
                ("#if 1\n#endif\n", "b.h:1: #if is no word"),
                ("#if defined(__METAL_VERSION__)\n", "b.h: #if without #endif")):
            with self.subTest(wanted):
                with self.assertRaises(flatten_kernels.CannotFlatten) as caught:
                    self.flatten(lang | {"kernel/b.h": text})
                self.assertIn(wanted, str(caught.exception))
                self.assertIn("(src/kernel/a.h → src/kernel/b.h)", str(caught.exception))

    def test_headers_of_the_host_are_refused(self):
        for name in ("gpu/plan.h", "gpu/encode.h", "lang/lang_emulated.h", "lang/lang_cuda.h"):
            with self.subTest(name), self.assertRaises(flatten_kernels.CannotFlatten):
                flatten_kernels.flatten(ROOT / "src" / name)

    def test_the_program_says_what_is_wrong(self):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            self.assertEqual(flatten_kernels.main(["src/kernel/absent.h"]), 2)
        self.assertIn("absent.h", errors.getvalue())


if __name__ == "__main__":
    unittest.main()
