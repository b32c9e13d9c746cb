"""The three forms of the kernel language have the same words."""
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEVICES = ("emulated", "cuda", "metal")
# A host's registration of kernels, the emulator's report of an address, and what a device makes its own words and
# entries of: no words for kernels.
NOT_WORDS = {"Kernel", "KernelEntry", "check_alignment", "let_next_begin", "tile_add_16", "tile_sums"}
FUNCTION = re.compile(r"^(?:K_FN )?(?:void|float|u?int32_t|Words4|TileSums) (\w+)\(([^)]*)\)", re.MULTILINE)


def words_of(text):
    """{word: its parameters, without spaces, places and const of a value}."""
    words = {name: "" for name in re.findall(r"^#define (K_\w+)", text, re.MULTILINE)}
    words |= {name: re.sub(r"\s+", " ", body).strip()
              for name, body in re.findall(r"^struct (?:alignas\(16\) )?(\w+) \{\n(.*?)^\};", text, re.MULTILINE | re.DOTALL)}
    for name, parameters in FUNCTION.findall(text):
        kept = [re.sub(r"\bK_THREAD ", "", parameter).split()[:-1] + [parameter.split()[-1]]
                for parameter in re.sub(r"\s+", " ", parameters).split(", ")
                if parameter and "__builtin_" not in parameter]
        words[name] = ", ".join(" ".join(parameter) for parameter in kept)
    return {name: text for name, text in words.items() if name not in NOT_WORDS}


def text_of(name):
    """The file, and lang_f16.h where it is a part."""
    text = (ROOT / "src/lang" / name).read_text()
    return text + (text_of("lang_f16.h") if '"lang/lang_f16.h"' in text else "")


class Words(unittest.TestCase):
    def test_every_device_has_the_same_words(self):
        words = {device: words_of(text_of(f"lang_{device}.h")) for device in DEVICES}
        self.assertIn("tile_mma_32", words["emulated"])
        self.assertIn("K_KERNEL", words["emulated"])
        self.assertIn("TileSums", words["emulated"])
        self.assertGreaterEqual(len(words["emulated"]), 27)
        for device in DEVICES[1:]:
            with self.subTest(device):
                self.assertEqual(words[device], words["emulated"])

    def test_metals_entry_asks_for_where_the_thread_stands(self):
        """Neither clang nor a run here knows the attributes: their names are the specification's."""
        text = (ROOT / "src/lang/lang_metal.h").read_text()
        entry = re.sub(r"[\\\s]+", " ", re.search(r"kernel void name\((.*?)\}\s*\\", text, re.DOTALL).group(1))
        attributes = {name: attribute for name, attribute in re.findall(r"(\w+) \[\[(\w+)", entry)}
        self.assertEqual(attributes, {
            "a": "buffer", "group": "threadgroup_position_in_grid", "group_size": "threads_per_threadgroup",
            "index": "thread_index_in_threadgroup", "lane": "thread_index_in_simdgroup",
            "simd": "simdgroup_index_in_threadgroup"})
        self.assertRegex(text, r"\[\[max_total_threads_per_threadgroup\(Group::most_threads\)\]\] kernel void name")
        given = re.search(r"Thread\{(.*?)\}", entry).group(1).replace("group_size.x", "group_size").replace(".", "_")
        fields = re.search(r"struct Thread \{\s*uint32_t (.*?);", text, re.DOTALL).group(1)
        self.assertEqual(given.split(", "), fields.split(", "))

    def test_a_word_too_few_or_of_another_form_is_seen(self):
        text = (ROOT / "src/lang/lang_metal.h").read_text()
        words = words_of(text)
        self.assertNotEqual(words_of(text.replace("k_round", "k_rint")), words)
        self.assertNotEqual(words_of(text.replace("uint32_t mask)", "uint32_t mask, uint32_t width)")), words)
        self.assertNotEqual(words_of(text.replace("#define K_UNROLL", "#define UNROLL")), words)


if __name__ == "__main__":
    unittest.main()
