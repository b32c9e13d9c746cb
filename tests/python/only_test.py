"""--only: which outputs a recording keeps, and what llama.cpp's nodes are called."""
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))
from assay import llama_names  # noqa: E402
from assay.only import Only  # noqa: E402


class Names(unittest.TestCase):
    def kept(self, text, *names):
        only = Only(text)
        return [name for name in names if only.wants(name)]

    def test_a_star_is_any_characters_but_a_dot(self):
        names = ("embd", "blk.0.out", "blk.10.out", "blk.1.attn_out", "blk.1.q", "blk.1.q_rope", "out_norm", "logits", "blkx2.out")
        for text, wanted in (("blk.*.out", ["blk.0.out", "blk.10.out"]), ("blk.1.*", ["blk.1.attn_out", "blk.1.q", "blk.1.q_rope"]),
                             ("blk.1*.out", ["blk.10.out"]), ("logits, embd", ["embd", "logits"]), ("*", ["embd", "out_norm", "logits"]),
                             ("blk.1.q*,blk.1.q", ["blk.1.q", "blk.1.q_rope"]), (["blk.0.out", "logits"], ["blk.0.out", "logits"]),
                             (None, list(names))):
            with self.subTest(text):
                self.assertEqual(self.kept(text, *names), wanted)

    def test_one_of_several_names_is_enough(self):
        only = Only("blk.1.q,blk.2.routing")
        self.assertTrue(only.wants("blk.1.qkv", "blk.1.q", "blk.1.k"))
        self.assertTrue(only.wants("blk.2.routing_ids"))
        self.assertTrue(only.wants("blk.2.routing_weights"))
        self.assertFalse(only.wants("blk.1.routing_ids"))
        self.assertFalse(only.wants())
        self.assertEqual(only.unmatched(), "")

    def test_names_that_nothing_has_are_said_with_those_that_there_are(self):
        only = Only("blk.*.out,blk.7.out,foo")
        for name in ("embd", "blk.0.q", "blk.0.out", "blk.1.q", "blk.1.out"):
            only.wants(name)
        self.assertEqual(only.unmatched(), "no output is called 'blk.7.out', 'foo'; there are embd, blk.N.q, blk.N.out")
        self.assertEqual(Only().unmatched(), "")
        self.assertIn("there are none", Only("x").unmatched())

    def test_an_empty_name_is_refused(self):
        for text in ("", ",", "blk.*.out,", " ", [], ["a", ""]):
            with self.assertRaisesRegex(ValueError, "is not a list of names"):
                Only(text)


class LlamaNames(unittest.TestCase):
    def test_the_table_is_that_of_the_reader(self):
        """Row for row and in both directions: src/trace/llama_names.cpp reads what is called so here."""
        source = (ROOT / "src/trace/llama_names.cpp").read_text()

        def part(name):
            found = re.search(rf"constexpr std::array {name} = \{{(.*?)\n\}};", source, re.S)
            return [tuple(re.findall(r'"([^"]*)"', row)) for row in re.findall(r"(?:Row|Product)\{([^}]*)\}", found[1])]

        def products(table):
            return {name: canonical for canonical, names in table.items() for name in names.split()}

        rows = {f"{name}.{operation}": canonical for name, operation, canonical in part("of_layers")}
        self.assertGreater(len(rows), 50)
        self.assertEqual(llama_names.turned(llama_names.OF_LAYERS), rows)
        self.assertEqual(llama_names.turned(llama_names.OF_THE_WHOLE),
                         {f"{name}.{operation}": canonical for name, operation, canonical in part("of_the_whole")})
        self.assertEqual(products(llama_names.PRODUCTS), dict(part("products_of_layers")))
        self.assertEqual(products({"logits": llama_names.LOGITS}), dict(part("products_of_the_whole")))

    def test_names_of_nodes(self):
        for arguments, first, others in (
                (("l_out-3", "ADD"), "blk.3.out", []), (("Qcur-12", "ROPE"), "blk.12.q_rope", []),
                (("Qcur-1", "ADD"), "blk.1.q", []), (("Qcur-1", "MUL_MAT"), "blk.1.q", ["blk.1.q_unscaled"]),
                (("ffn_inp-0", "ADD"), "blk.0.attn_residual", []), (("embd", "GET_ROWS"), "embd", []),
                (("kqv_out-2", "RESHAPE"), "blk.2.kqv", []), (("result_norm", "MUL"), "out_norm", []),
                (("result_output", "SCALE"), "logits", ["logits_scaled", "logits_capped"])):
            self.assertEqual(llama_names.names(*arguments), [first, *others], arguments)
        for arguments in (("norm-3", "RMS_NORM"), ("l_out-3", "MUL"), ("l_out", "ADD"), ("embd-1", "GET_ROWS"), ("node_7", "ADD"), ("-3", "ADD")):
            self.assertEqual(llama_names.names(*arguments), [], arguments)

    def test_one_node_may_be_several_outputs(self):
        self.assertLessEqual({"blk.1.q", "blk.1.k", "blk.1.v"}, set(llama_names.names("wqkv-1", "MUL_MAT")))
        self.assertIn("blk.1.gate", llama_names.names("ffn_up-1", "MUL_MAT", fused=True))
        self.assertNotIn("blk.1.gate", llama_names.names("ffn_up-1", "MUL_MAT"))
        self.assertEqual(llama_names.names("ffn_swiglu-1", "GLU", shared=True), ["blk.1.shared_act"])
        self.assertEqual(llama_names.names("ffn_moe_out-1", "ADD", shared=True), ["blk.1.experts"])


if __name__ == "__main__":
    unittest.main()
