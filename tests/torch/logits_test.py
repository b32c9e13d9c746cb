"""assay's logits of small random models against transformers' stored ones; no torch is needed (`make test-torch` has it).

A context beyond an attention window is skipped, by assay's own words; everything else must agree.
"""
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

try:
    import compare
    import models
except ImportError as missing:
    raise unittest.SkipTest(f"{missing}") from None


class Stored(unittest.TestCase):
    def test_every_case_is_stored_as_it_is_drawn_now(self):
        self.assertEqual({path.stem for path in models.STORED.glob("*.safetensors")}, set(models.CASES))
        for name, case in models.CASES.items():
            with self.subTest(name):
                file = compare.stored(name)
                self.assertEqual(file.metadata["weights_sha256"], models.hash_of(models.draw(case)))
                self.assertEqual(json.loads(file.metadata["config"]), case.config)
                self.assertEqual(file.metadata["limit"], str(case.context))
                self.assertEqual(file.tensors["positions"].tolist(), models.positions(case))
                self.assertEqual(file.tensors["logits"].shape, (len(models.positions(case)), models.VOCABULARY))
                self.assertLess((models.STORED / f"{name}.safetensors").stat().st_size, 300_000)

    def test_adjacent_pairs(self):
        rows = models.numpy.arange(16).reshape(16, 1)  # two heads of 8
        self.assertEqual(models.adjacent_pairs(rows, 8).ravel().tolist(),
                         [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15])


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "model.gguf"

    def error(self, case, device, truth, limit=None, change=None):
        models.write_gguf(self.path, case, models.draw(case), change)
        try:
            return compare.error(case, self.path, device, truth, limit)
        except compare.Refused as refused:
            if refused.unsupported:
                self.skipTest(f"not yet supported: {refused}")
            self.fail(str(refused))


class Agrees(Files):
    """One test a case, made below."""


def agrees(name):
    def test(self):
        case, truth = models.CASES[name], compare.stored(name).tensors["logits"]
        for device, limit in compare.LIMITS.items():
            error = self.error(case, device, truth)
            self.assertTrue(error <= limit, f"{device}: {error:.2e}, allowed {limit:.0e}")
    return test


for each in models.CASES:
    setattr(Agrees, f"test_{each.replace('-', '_')}", agrees(each))


class Notices(Files):
    """The comparison fails when a number of the file is a little wrong, so its agreement means something."""

    def differs(self, name, limit=None, **changes):
        def change(values):
            for key, factor in changes.items():
                key = next(one for one in values if one.endswith(key))
                values[key] = type(values[key])(values[key] * factor)
        error = self.error(models.CASES[name], "reference", compare.stored(name).tensors["logits"], limit, change)
        self.assertTrue(error > 10 * compare.LIMITS["reference"], f"{error:.2e}")

    def test_a_base_of_rope(self):
        self.differs("llama", freq_base=1.001)

    def test_an_eps(self):
        self.differs("llama", epsilon=100)

    def test_pairs_of_the_other_kind(self):
        case = models.CASES["llama"]
        weights = models.draw(case)
        for key in list(weights):
            if key.endswith(("q_proj.weight", "k_proj.weight")):
                weights[key] = models.adjacent_pairs(weights[key], case.head)
        models.write_gguf(self.path, case, weights)
        self.assertTrue(compare.error(case, self.path, "reference", compare.stored("llama").tensors["logits"]) > 1e-2)

    def test_yarn_left_out(self):
        self.differs("qwen2-yarn", factor=0.25)

    def test_the_dimensions_that_rope_turns(self):
        self.differs("phi3", dimension_count=2 / 3)

    def test_the_window_left_out(self):
        self.differs("phi3-window", sliding_window=0)

    def test_a_context_within_the_window_needs_none(self):
        case, truth = models.CASES["phi3-window"], compare.stored("phi3-window").tensors["logits"]
        models.write_gguf(self.path, case, models.draw(case))
        ours = compare.run(case, self.path, "reference", limit=64, count=64)
        self.assertGreater(len(ours), 3)
        self.assertTrue(models.error(ours, truth[:len(ours)]) <= compare.LIMITS["reference"])
        self.assertTrue(compare.error(case, self.path, "reference", truth) <= compare.LIMITS["reference"])

    def test_the_context_limit_chooses_the_factors(self):
        self.differs("phi3-short", limit=models.CASES["phi3-long"].context)

    def test_the_magnitude_of_longrope(self):
        self.differs("phi3-short", attn_factor=1.001)


del Files, each
if __name__ == "__main__":
    unittest.main()
