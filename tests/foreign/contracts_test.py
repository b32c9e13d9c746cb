"""Engines that compute in other arithmetic than f32 are right, and their faults are found at the right operation.

Each arithmetic is judged twice: as its trace declares it, and found by trying. One draw of the prompt each;
ASSAY_SLOW=1: ten.
"""
import os
import pathlib
import random
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(pathlib.Path(__file__).parent), str(ROOT / "tests/cli")]

try:
    import engine
    from arithmetic import to_bf16
    from foreign_test import DEFAULT, KJV, SLOW, Named
except ImportError as missing:
    raise unittest.SkipTest(f"{missing}") from None
import json

from cli_test import assay

SEEDS = range(1, 11 if SLOW else 2)

KINDS = [
    "bf16",
    "f16",
    "bf16, attention bf16 products f32",  # flash attention: the softmax alone is rounded
    "bf16, attention f32 result bf16, norm f32 result bf16, rope f32 result bf16, elementwise f32 result bf16",
    "f16, attention f32 result f16, norm f32 result f16, rope f32 result f16, elementwise f32 result f16",
    "f32, matmul inputs bf16",
    "f32, matmul inputs f16",
    "f32, matmul inputs bf16 weights bf16",
    "tf32",
    "tf32/cut",
    "f32, matmul inputs int8/32",
    "f32, matmul inputs int8/row",
    "f32, matmul inputs int8/tensor",
    "bf16, matmul bf16 inputs int8/row",
    "f32, matmul inputs e4m3/row",
    "f32, matmul inputs e4m3/tensor weights bf16",
    "f32, matmul inputs e5m2",
    "f32, kv f16",
    "f32, kv bf16",
    "f32, kv q8_0",
    "f32, kv q4_0",
    "f32, kv e4m3",
    "bf16, kv q8_0",
    "bf16, norm f32, residual f32",
    "f32, matmul bf16",
    "f32, residual bf16",
    "bf16, norm bf16 sums bf16",
    "f16, matmul f16 sums f16",
    "bf16, matmul bf16 sums bf16",
    "bf16, attention bf16 sums bf16",
]

# Faults that are larger than what bf16 rounds away, one of each family of operations, and a value for each.
FAULTS = {
    "transposed-q": "", "other-layer": "", "wrong-rows": "", "shifted-rows": "", "k-tail": ",tail=40", "m-tail": "",
    "rope-base": ",base=1500", "rope-pairing": "", "norm-plus-one": "", "norm-omitted": "", "gelu-erf": "",
    "gate-up": "", "gqa-modulo": "", "mask-missing": "", "scale-twice": "", "window": ",window=3",
    "residual-missing": "", "residual-scale": ",c=0.7", "clipped": ",c=0.2", "embedding-next": "", "scaled-weight": "",
}


# Arithmetics, and what engines with fused kernels record, of which the rest is computed.
COARSE_KINDS = ["bf16", "f16", "tf32", "bf16, norm f32, residual f32"]
COARSE_RECORDS = [("kqv", "out", "logits"), ("kqv", "attn_residual", "out"), ("attn_residual", "act", "out"),
                  ("q_rope", "k_rope", "v", "kqv", "attn_residual", "out"), ("kqv", "attn_out", "out"), ("out",)]


class NotFinite(engine.Engine):
    """One number of one result is another: `place` is (operation, token, channel, number)."""
    place = ()

    def keep(self, name, y, family):
        y = super().keep(name, y, family)
        operation, token, channel, number = self.place
        if name == operation and len(y) > token:
            y[token, channel] = number
        return y


class Contracts(Named):
    def judge(self, model, path, text, fault, declared, tokens, decode, **options):
        engine.run(model, tokens, decode, engine.Fault(fault), self.path("trace"), text, declared, **options)
        done = assay("diff", self.path("trace"), "-m", path, "--runs", "0", "--json")
        if not done.stdout:
            raise AssertionError(done.stderr)
        return done.returncode, json.loads(done.stdout)

    def prompt(self, draw):
        return self.tokens(draw)[:draw.randrange(2, 15)], [draw.randrange(3, 2000)]

    def all_pass(self, path, seeds):
        model = engine.Model(str(path))
        for seed in seeds:
            for text in KINDS:
                draw = random.Random(f"{seed} {text}")
                prompt = self.prompt(draw)
                for declared in (True, False):
                    with self.subTest(contract=text, seed=seed, declared=declared):
                        code, report = self.judge(model, path, text, "", declared, *prompt)
                        self.assertEqual((code, report["verdict"]), (0, "PASS"),
                                         f"{text} {declared} {prompt}: {report['sentence']}")
                        self.assertEqual(report["a"]["found"], not declared, report["a"])

    def all_found(self, path, kinds, names, seeds):
        model = engine.Model(str(path))
        for seed in seeds:
            for text in kinds:
                for name in names:
                    draw = random.Random(f"{seed} {text} {name}")
                    layer, declared = draw.randrange(model.layers), bool(draw.randrange(2))
                    fault = f"{name}:layer={layer}{FAULTS[name]}"
                    prompt = self.tokens(draw), [draw.randrange(3, 2000)]
                    with self.subTest(contract=text, fault=fault, seed=seed, declared=declared):
                        code, report = self.judge(model, path, text, fault, declared, *prompt)
                        operation = engine.FAULTS[name][0]
                        if operation != "embd":
                            operation = f"blk.{layer}.{operation}"
                        self.assertEqual((code, report["verdict"]), (1, "FAIL"), f"{text} {fault}: {report['sentence']}")
                        self.assertEqual(report["first"]["operation"], operation, f"{text} {fault}: {report['sentence']}")

    def test_right_engines_pass(self):
        self.all_pass(KJV, SEEDS)

    def test_faults_are_found_at_the_right_operation(self):
        if SLOW:
            return self.all_found(KJV, KINDS, FAULTS, range(1, 3))
        draw = random.Random(1)
        for text in KINDS:
            self.all_found(KJV, [text], draw.sample(sorted(FAULTS), 1), [1])

    def test_coarse_records_of_right_engines_pass(self):
        model = engine.Model(str(KJV))
        for seed in SEEDS:
            for text in COARSE_KINDS:
                draw = random.Random(f"{seed} {text}")
                for names in COARSE_RECORDS if SLOW else draw.sample(COARSE_RECORDS, 2):
                    prompt = self.prompt(draw)
                    for declared in (True, False) if SLOW else (bool(draw.randrange(2)),):
                        with self.subTest(contract=text, names=names, seed=seed, declared=declared):
                            code, report = self.judge(model, KJV, text, "", declared, *prompt,
                                                      only=lambda name, names=names: name.rsplit(".", 1)[-1] in names)
                            self.assertEqual((code, report["verdict"]), (0, "PASS"),
                                             f"{text} {names} {declared} {prompt}: {report['sentence']}")

    def test_what_is_not_finite_says_nothing_of_the_contract(self):
        model = engine.Model(str(KJV))
        for text, declared, place in (("bf16", True, ("blk.0.down", 1, 3, float("inf"))),
                                      ("bf16", False, ("blk.1.v", 0, 7, float("nan"))),
                                      ("f16", True, ("blk.0.q", 2, 5, float("-inf"))),
                                      ("f16", False, ("blk.0.kqv", 1, 9, float("nan"))),
                                      ("bf16, norm f32, residual f32", True, ("blk.0.kqv", 0, 2, float("inf")))):
            with self.subTest(contract=text, declared=declared, place=place):
                kind = type("Broken", (NotFinite,), {"place": place})
                code, report = self.judge(model, KJV, text, "", declared, [1, 5, 9, 30], [7], kind=kind)
                first = report["first"] or {}
                self.assertEqual((code, first.get("operation"), first.get("count"), (report["cause"] or {}).get("id")),
                                 (1, place[0], 1, "not-finite"), report["sentence"])

    def test_finer_than_declared_is_right(self):
        for family in ("attention", "norm", "rope", "elementwise"):
            code, report = self.judge(engine.Model(str(KJV)), KJV, f"bf16, {family} f32 result bf16", "", "bf16", [1, 5, 9, 30], [7])
            self.assertEqual((code, report["verdict"]), (0, "PASS"), f"{family}: {report['sentence']}")

    def test_weights_of_norms_that_are_1_and_a_tensor_are_rounded_as_that(self):
        class Centred(engine.Model):
            def weight(self, name):
                w = super().weight(name)
                return 1 + to_bf16(w - 1) if name.endswith("norm.weight") else w
        for fault, wanted in (("", (0, None)), ("norm-plus-one:layer=2", (1, "blk.2.ffn_norm"))):
            code, report = self.judge(Centred(str(KJV)), KJV, "bf16, norm f32 result bf16", fault, "bf16", [1, 5, 9, 30], [7])
            self.assertEqual((code, (report["first"] or {}).get("operation")), wanted, report["sentence"])

    def test_the_report_says_what_coarse_arithmetic_hides(self):
        model = engine.Model(str(KJV))
        _, fine = self.judge(model, KJV, "f32", "", False, [1, 5, 9], [7])
        _, coarse = self.judge(model, KJV, "bf16", "", False, [1, 5, 9], [7])
        self.assertFalse([note for note in fine["benign"] if "cannot be seen" in note])
        self.assertTrue([note for note in coarse["benign"] if "cannot be seen" in note and "%" in note], coarse["benign"])

    def test_one_operation_that_alone_is_coarse_is_wrong(self):
        # Every product in f32 but that of one layer, whose result is kept as f16.
        code, report = self.judge(engine.Model(str(KJV)), KJV, "f32", "f16:layer=4", False, self.tokens(random.Random(3)), [])
        self.assertEqual((code, report["first"]["operation"], report["a"]["contract"]), (1, "blk.4.down", "f32"))

    @unittest.skipUnless(SLOW, "a part of make test-all")
    def test_right_engines_pass_on_the_default_model(self):
        self.all_pass(DEFAULT, range(1, 3))


if __name__ == "__main__":
    unittest.main()
