"""docs/tutorial.md, followed literally: its commands run one after the other, and each must print what stands under it."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from cli_test import MODEL, ROOT
from pages import follow, steps

sys.path[:0] = [str(ROOT / "python"), str(ROOT / "docs/tutorial")]
import engine
from assay import trace

# The packages are here already; a test downloads nothing.
REPLACED = {"python3 -m venv build/tutorial && build/tutorial/bin/pip install -q numpy gguf":
            f"mkdir -p build/tutorial/bin && printf '#!/bin/sh\nexec \"{sys.executable}\" \"$@\"' > build/tutorial/bin/python &&"
            " chmod +x build/tutorial/bin/python"}


class Tutorial(unittest.TestCase):
    @unittest.skipUnless(MODEL.exists(), "the default model is not in the cache (make model)")
    def test_every_command_prints_what_the_page_says(self):
        commands = steps((ROOT / "docs/tutorial.md").read_text())
        self.assertGreater(len(commands), 10)
        follow(self, commands, {"docs/tutorial": "docs/tutorial", "python": "python"}, REPLACED)


class Bfloat16(unittest.TestCase):
    """The engine's --bf16: what PyTorch's bfloat16 would keep."""
    def test_rounds_to_nearest_ties_to_even(self):
        ulp = 2.0 ** -7  # of bfloat16 at 1
        for x, wanted in ((1, 1), (1 + ulp / 2, 1), (1 + 3 * ulp / 2, 1 + 2 * ulp), (1 + 0.51 * ulp, 1 + ulp), (-1 - 3 * ulp / 2, -1 - 2 * ulp),
                          (-np.inf, -np.inf), (0, 0), (2.0 ** -130, 2.0 ** -130), (3.4e38, np.inf)):
            self.assertEqual(engine.bf16(np.float32(x)), np.float32(wanted), x)

    def test_every_result_is_a_bfloat16_and_near_that_of_float32(self):
        with tempfile.TemporaryDirectory() as folder:
            traces = []
            for arguments in ([], ["--bf16"]):
                path = pathlib.Path(folder, "trace")
                done = subprocess.run([sys.executable, ROOT / "docs/tutorial/engine.py", ROOT / "tests/data/kjv/kjv.gguf", "1,300,391,394",
                                       "-n", "0", "--trace", path, *arguments], capture_output=True, text=True, timeout=120,
                                      env={"PYTHONPATH": str(ROOT / "python"), "PYTHONDONTWRITEBYTECODE": "1"})
                self.assertEqual(done.returncode, 0, done.stderr)
                traces.append(trace.read(path))
        wide, narrow = traces
        self.assertEqual((wide.metadata.get("contract"), narrow.metadata["contract"]), (None, "bf16"))
        self.assertEqual(list(wide.tensors), list(narrow.tensors))
        for key, x in narrow.tensors.items():
            self.assertFalse((x.view(np.uint32) & 0xFFFF).any(), key)
            # A sum of many roundings of 2^-9 each.
            self.assertLess(np.abs(x - wide.tensors[key]).max(), 0.1 * np.abs(wide.tensors[key]).max(), key)


if __name__ == "__main__":
    unittest.main()
