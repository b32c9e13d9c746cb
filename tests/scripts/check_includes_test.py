import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import check_includes  # noqa: E402

TABLE = """# x
## The include table
text
| folder | may include |
|---|---|
| `base` | the standard library only |
| `lang` | the standard library only |
| `quant` | `lang/lang.h` |
| `kernel` | `quant` |
| `gguf` | `base` `quant/formats.h` |

## Next
| `late` | `base` |
"""


class CheckIncludes(unittest.TestCase):
    def errors(self, files):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder)
            for name, text in files.items():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_text(text)
            return check_includes.errors_of(source, check_includes.read_table(TABLE))

    def test_the_table_ends_with_its_section(self):
        table = check_includes.read_table(TABLE)
        self.assertEqual(table["gguf"], {"base", "quant/formats.h"})
        self.assertEqual(sorted(table), ["base", "gguf", "kernel", "lang", "quant"])

    def test_a_row_that_names_one_below_it_is_refused(self):
        turned = TABLE.replace("| `base` | the standard library only |", "| `base` | `gguf` |")
        with self.assertRaisesRegex(ValueError, "the row of base names gguf, which has no row above it"):
            check_includes.read_table(turned)

    def test_allowed_directions_pass(self):
        files = {"base/a.h": "#include <vector>\n", "quant/formats.h": '#include "lang/lang.h"\n',
                 "lang/lang.h": "", "gguf/f.h": '#include "base/a.h"\n #  include "quant/formats.h"\n',
                 "gguf/f.cpp": '#include "gguf/f.h"\n'}
        self.assertEqual(self.errors(files), [])

    def test_a_wrong_direction_is_named_with_its_line(self):
        files = {"base/a.h": '#include <vector>\n#include "gguf/f.h"\n', "gguf/f.h": ""}
        self.assertEqual(self.errors(files), ['src/base/a.h:2: base may not include "gguf/f.h"'])

    def test_a_header_entry_does_not_open_its_folder(self):
        files = {"gguf/f.h": '#include "quant/q4_1.h"\n', "quant/q4_1.h": ""}
        self.assertEqual(self.errors(files), ['src/gguf/f.h:1: gguf may not include "quant/q4_1.h"'])

    def test_a_folder_without_a_row_and_a_relative_path_are_errors(self):
        errors = self.errors({"late/a.h": "", "base/a.h": '#include "b.h"\n', "base/b.h": ""})
        self.assertEqual(len(errors), 2)
        self.assertIn("no row `late`", errors[1])
        self.assertIn('"b.h" is no file below src/', errors[0])

    def test_the_table_of_this_repository_covers_every_folder(self):
        table = check_includes.read_table((ROOT / "HACKING.md").read_text())
        folders = {path.name for path in (ROOT / "src").iterdir() if path.is_dir()}
        self.assertEqual(folders - set(table), set())


if __name__ == "__main__":
    unittest.main()
