"""assay.record, and the recorders of vLLM and SGLang, on a stand-in of torch: what they write of models that are known
to be right."""
import fnmatch
import importlib
import json
import pathlib
import pickle
import re
import sys
import tempfile
import types
import unittest

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(pathlib.Path(__file__).parent)]
import assay  # noqa: E402
import torch_stand_in as stand_in  # noqa: E402
from assay import module_names, recorder, sglang_engine, trace, vllm_engine  # noqa: E402
from assay.recorder import RecordError  # noqa: E402


class Facts:
    """A model of two layers with random weights, as tests/foreign's Model."""
    layers, width, heads, kv_heads, head, eps, base, vocabulary, ffn = 2, 16, 4, 2, 4, 1e-5, 10000.0, 20, 24

    def __init__(self, seed=1):
        self.random = np.random.default_rng(seed)
        self.made = {}

    def weight(self, name):
        kind = name.removesuffix(".weight").rsplit(".", 1)[-1]
        keys = self.kv_heads * self.head
        shape = {"token_embd": (self.vocabulary, self.width), "attn_q": (self.width, self.width), "attn_k": (keys, self.width),
                 "attn_v": (keys, self.width), "attn_output": (self.width, self.width), "ffn_gate": (self.ffn, self.width),
                 "ffn_up": (self.ffn, self.width), "ffn_down": (self.width, self.ffn)}.get(kind, (self.width,))
        if name not in self.made:
            self.made[name] = self.random.normal(size=shape, scale=0.5).astype("f4") + (len(shape) == 1)
        return self.made[name]

    def __contains__(self, name):
        return name != "output.weight"


OF_A_LAYER = ["attn_norm", "q", "k", "v", "q_rope", "k_rope", "kqv", "attn_out", "attn_residual", "ffn_norm", "gate", "up",
              "act", "down", "out"]
ALL = ["embd", *(f"blk.{i}.{name}" for i in range(2) for name in OF_A_LAYER), "out_norm", "logits"]


class InFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "x.safetensors"

    def recorded(self, model, *calls, **options):
        with assay.record(model, self.path, **options):
            for call in calls:
                call()
        return trace.read(self.path)

    def header(self):
        data = self.path.read_bytes()
        return json.loads(data[8:8 + int.from_bytes(data[:8], "little")])


class KnownTree(InFolder):
    def test_names_are_canonical_and_in_the_order_of_computation(self):
        model = stand_in.Llama(Facts())
        one = self.recorded(model, lambda: model(stand_in.ids(3, 7, 5)))
        self.assertEqual(list(one.of_step()), ALL)
        self.assertEqual(one.steps(), [{"tokens": [3, 7, 5], "positions": [0, 1, 2], "selected": [0, 1, 2]}])
        self.assertEqual((one.metadata["contract"], one.metadata["kv"]), ("f32", "f32"))
        self.assertNotIn("modules", one.metadata)

    def test_values_are_those_that_were_computed(self):
        facts = Facts()
        model = stand_in.Llama(facts)
        seen = self.recorded(model, lambda: model(stand_in.ids(3, 7, 5))).of_step()
        weight = {name: facts.weight(name + ".weight") for name in ("token_embd", "blk.0.attn_q", "blk.1.ffn_down")}
        np.testing.assert_array_equal(seen["embd"], weight["token_embd"][[3, 7, 5]])
        # The file's order of lanes: its own rows.
        np.testing.assert_allclose(seen["blk.0.q"], seen["blk.0.attn_norm"] @ weight["blk.0.attn_q"].T, rtol=1e-4, atol=1e-5)
        q, k = (seen[f"blk.0.{name}"].reshape(3, -1, 2, 2) for name in ("q", "q_rope"))
        angle = np.outer(range(3), 10000.0 ** (-np.arange(2) / 2))[:, None]  # heads between
        turned = np.stack([q[..., 0] * np.cos(angle) - q[..., 1] * np.sin(angle),
                           q[..., 0] * np.sin(angle) + q[..., 1] * np.cos(angle)], -1)
        np.testing.assert_allclose(k, turned, rtol=1e-4, atol=1e-5)
        gate = seen["blk.1.gate"]
        np.testing.assert_allclose(seen["blk.1.act"], gate / (1 + np.exp(-gate)) * seen["blk.1.up"], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(seen["blk.1.attn_residual"], seen["blk.0.out"] + seen["blk.1.attn_out"])
        np.testing.assert_array_equal(seen["blk.1.out"], seen["blk.1.attn_residual"] + seen["blk.1.down"])

    def test_calls_are_steps_at_the_caches_positions(self):
        model, cache = stand_in.Llama(Facts()), stand_in.Cache()
        one = self.recorded(model, lambda: model(input_ids=stand_in.ids(3, 7), cache=cache),
                            lambda: model(stand_in.ids(5), cache=cache), lambda: model(stand_in.ids(4, 4)),
                            lambda: model(stand_in.ids(9), position_ids=stand_in.ids(2)))
        self.assertEqual([(step["tokens"], step["positions"]) for step in one.steps()],
                         [([3, 7], [0, 1]), ([5], [2]), ([4, 4], [0, 1]), ([9], [2])])
        whole = stand_in.Llama(Facts())
        same = self.recorded(whole, lambda: whole(stand_in.ids(3, 7, 5)))
        np.testing.assert_allclose(one.of_step(1)["logits"][0], same.of_step()["logits"][2], rtol=1e-4, atol=1e-5)

    def test_each_type_is_written_as_it_is(self):
        for kind, stored, contract in (("float32", "F32", "f32"), ("bfloat16", "BF16", "bf16"), ("float16", "F16", "f16")):
            with self.subTest(kind):
                model = stand_in.Llama(Facts(), kind=kind)
                one = self.recorded(model, lambda: model(stand_in.ids(3, 7, 5)))
                self.assertEqual({entry["dtype"] for key, entry in self.header().items() if key != "__metadata__"}, {stored})
                self.assertEqual((one.metadata["contract"], one.metadata["kv"]), (contract, contract))
                expected = stand_in.rounded(Facts().weight("token_embd.weight"), kind).float().numpy()[[3, 7, 5]]
                np.testing.assert_array_equal(one.of_step()["embd"].astype("f4"), expected)

    def test_parameters_of_several_types_declare_nothing(self):
        model = stand_in.Llama(Facts(), kind="bfloat16")
        model.model.norm.weight = stand_in.rounded(Facts().weight("output_norm.weight"), "float32")
        one = self.recorded(model, lambda: model(stand_in.ids(3)))
        self.assertNotIn("contract", one.metadata)
        self.assertNotIn("kv", one.metadata)

    def test_logits_of_the_last_token_alone_are_said_to_be_so(self):
        model = stand_in.Llama(Facts(), last_only=True)
        one = self.recorded(model, lambda: model(stand_in.ids(3, 7, 5)))
        self.assertEqual(one.steps()[0]["selected"], [2])
        self.assertEqual((one.of_step()["out_norm"].shape, one.of_step()["logits"].shape), ((1, 16), (1, 20)))

    def test_metadata_can_be_given(self):
        model = stand_in.Llama(Facts())
        one = self.recorded(model, lambda: model(stand_in.ids(3)), engine="mine 1", contract="bf16", context=7)
        self.assertEqual([one.metadata[key] for key in ("engine", "contract", "kv", "context")], ["mine 1", "bf16", "f32", "7"])


class UnknownTree(InFolder):
    def test_names_are_the_modules_paths(self):
        model = stand_in.Llama(Facts(), transformers=False)
        one = self.recorded(model, lambda: model(stand_in.ids(3, 7, 5)))
        names = list(one.of_step())
        inner = ["ln1", "mix.query", "mix.key", "mix.value", "mix.merge.in", "mix.merge", "ln2.in", "ln2", "feed.w1", "feed.w3",
                 "feed.w2.in", "feed.w2"]
        wanted = ["body.embed_tokens"]
        for i in range(2):
            wanted += [f"body.layers.{i}.{name}" for name in inner] + [f"body.layers.{i}"]
        self.assertEqual(names, [*wanted, "body.norm", "to_words"])  # no tensor twice
        modules = json.loads(one.metadata["modules"])
        self.assertEqual((modules["body.layers.1.mix"], modules["output"]), ("Attention", "Llama"))
        known = stand_in.Llama(Facts())
        same = self.recorded(known, lambda: known(stand_in.ids(3, 7, 5))).of_step()
        for own, name in (("body.layers.1.mix.merge.in", "blk.1.kqv"), ("to_words", "logits"), ("body.layers.0", "blk.0.out")):
            np.testing.assert_array_equal(one.of_step()[own], same[name])

    def test_without_a_cache_that_is_given_steps_go_on_or_begin_again(self):
        model = stand_in.Llama(Facts(), transformers=False)
        calls = [lambda tokens=tokens: model(stand_in.ids(*tokens)) for tokens in ((3, 7), (5,), (5, 6, 8))]
        one = self.recorded(model, *calls)
        # One more token alone goes on; all of the last call's tokens and more are given again.
        self.assertEqual([step["positions"] for step in one.steps()], [[0, 1], [2], [0, 1, 2]])

    def test_a_module_that_runs_twice_is_numbered(self):
        model = stand_in.Llama(Facts(), transformers=False)
        model.body.layers = [model.body.layers[0]] * 2
        names = list(self.recorded(model, lambda: model(stand_in.ids(3, 7))).of_step())
        self.assertIn("body.layers.0.ln1", names)
        self.assertIn("body.layers.0.ln1#2", names)

    def test_names_that_are_given_are_written(self):
        model = stand_in.Llama(Facts(), transformers=False)
        one = self.recorded(model, lambda: model(stand_in.ids(3)), names={"to_words": "logits"})
        self.assertEqual(json.loads(one.metadata["names"]), {"to_words": "logits"})


class OnlySome(InFolder):
    def test_only_these_outputs_are_written_with_the_values_of_all(self):
        model = stand_in.Llama(Facts())
        whole = self.recorded(model, lambda: model(stand_in.ids(3, 7, 5))).of_step()
        for only in ("blk.*.out, logits", ["blk.*.out", "logits"]):
            one = self.recorded(model, lambda: model(stand_in.ids(3, 7, 5)), only=only)
            self.assertEqual(list(one.of_step()), ["blk.0.out", "blk.1.out", "logits"])
            for name, values in one.of_step().items():
                np.testing.assert_array_equal(values, whole[name])
            self.assertNotIn("only", one.metadata)

    def test_rows_of_logits_that_are_not_written_are_known(self):
        model = stand_in.Llama(Facts(), last_only=True)
        one = self.recorded(model, lambda: model(stand_in.ids(3, 7, 5)), only="out_norm")
        self.assertEqual((one.steps()[0]["selected"], one.of_step()["out_norm"].shape), ([2], (1, 16)))

    def test_paths_of_an_unknown_tree(self):
        model = stand_in.Llama(Facts(), transformers=False)
        one = self.recorded(model, lambda: model(stand_in.ids(3, 7, 5)), only="body.layers.*,body.layers.1.mix.merge.in")
        self.assertEqual(list(one.of_step()), ["body.layers.0", "body.layers.1.mix.merge.in", "body.layers.1"])

    def test_a_name_that_nothing_has_writes_nothing(self):
        model = stand_in.Llama(Facts())
        with self.assertRaisesRegex(RecordError, "^no output is called 'blk.2.out'; there are embd, blk.N.attn_norm, blk.N.q, "):
            self.recorded(model, lambda: model(stand_in.ids(3)), only="blk.*.out,blk.2.out")
        self.assertFalse(self.path.exists())


class Refusals(InFolder):
    def refused(self, words, *arguments, **named):
        model = stand_in.Llama(Facts())
        with self.assertRaisesRegex(RecordError, words), assay.record(model, self.path):
            if arguments:
                model(*arguments, **named)
        self.assertFalse(self.path.exists())
        self.assertFalse([module for _, module in model.named_modules() if module.before or module.after])

    def test_what_a_trace_cannot_hold_is_refused(self):
        self.refused("was not called")
        self.refused("2 sequences at once", stand_in.Tensor(np.array([[1, 2], [3, 4]])))
        self.refused("without a tensor of token ids", stand_in.rounded(np.ones((1, 2, 16)), "float32"))
        self.refused("not consecutive", stand_in.ids(1, 2, 3), position_ids=stand_in.ids(0, 1, 0))

    def test_padding_is_refused(self):
        seen = recorder.Recorder(stand_in.Llama(Facts()))
        self.addCleanup(seen.close)
        with self.assertRaisesRegex(RecordError, "padding"):
            seen.begin((), {"input_ids": stand_in.ids(1, 2), "attention_mask": stand_in.ids(0, 1)})

    def test_a_block_that_raises_writes_nothing(self):
        model = stand_in.Llama(Facts())
        with self.assertRaises(ZeroDivisionError), assay.record(model, self.path):
            model(stand_in.ids(1))
            raise ZeroDivisionError
        self.assertFalse(self.path.exists())
        self.assertFalse([module for _, module in model.named_modules() if module.before or module.after])

    def test_the_function_of_the_rotation_comes_back(self):
        before = stand_in.apply_rotary_pos_emb
        model = stand_in.Llama(Facts())
        with assay.record(model, self.path):
            self.assertIsNot(stand_in.apply_rotary_pos_emb, before)
            model(stand_in.ids(1))
        self.assertIs(stand_in.apply_rotary_pos_emb, before)


SERVING = [name for name in OF_A_LAYER if name != "gate"]  # gate and up are one product
SERVED = ["embd", *(f"blk.{i}.{name}" for i in range(2) for name in SERVING), "out_norm", "logits"]


class Serving(InFolder):
    def same_as_transformers(self, one, tokens):
        known = stand_in.Llama(Facts())
        other = self.path.with_name("other.safetensors")
        with assay.record(known, other):
            known(stand_in.ids(*tokens))
        same = trace.read(other).of_step()
        self.assertEqual(list(one.of_step()), SERVED)
        self.assertEqual(one.steps()[0], {"tokens": tokens, "positions": list(range(len(tokens))), "selected": [len(tokens) - 1]})
        for name, values in one.of_step().items():
            wanted = same[name] if not name.endswith(".up") else np.concatenate([same[name[:-2] + "gate"], same[name]], -1)
            if name in ("out_norm", "logits"):
                wanted = wanted[-1:]
            np.testing.assert_allclose(values.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-5, err_msg=name)

    def engine(self, workers=1):
        """What vLLM's LLM does: the function goes to the workers, each with a model of its own."""
        models = [stand_in.serving_class("vllm")(Facts()) for _ in range(workers)]
        return types.SimpleNamespace(
            models=models, apply_model=lambda function: [pickle.loads(pickle.dumps(function))(model) for model in models])

    def test_vllm_by_apply_model(self):
        llm = self.engine()
        with vllm_engine.record(llm, self.path, model="/nowhere/model"):
            llm.models[0].run(3, 7, 5)
            llm.models[0].run(4)
        one = trace.read(self.path)
        self.same_as_transformers(one, [3, 7, 5])
        self.assertEqual(one.steps()[1], {"tokens": [4], "positions": [3], "selected": [0]})
        self.assertEqual(one.metadata["contract"], "f32")

    def test_vllm_and_sglang_write_only_what_is_wanted(self):
        llm = self.engine()
        with vllm_engine.record(llm, self.path, only="blk.*.attn_residual,logits"):
            llm.models[0].run(3, 7, 5)
        wanted = ["blk.0.attn_residual", "blk.1.attn_residual", "logits"]
        self.assertEqual(list(trace.read(self.path).of_step()), wanted)
        self.path.unlink()
        model = stand_in.serving_class("sglang")(Facts())
        self.register(model, json.loads(json.dumps(sglang_engine.specs(self.path, [3, 7, 5], only="blk.*.attn_residual,logits"))))
        model.run(3, 7, 5)
        self.assertEqual(list(trace.read(self.path).of_step()), wanted)

    def test_vllm_with_several_workers_is_refused_and_left_as_it_was(self):
        llm = self.engine(workers=2)
        with self.assertRaisesRegex(RecordError, "2 workers"), vllm_engine.record(llm, self.path):
            self.fail("the block must not run")
        self.assertFalse([module for model in llm.models for _, module in model.named_modules() if module.before or module.after])

    def register(self, model, specs):
        """What SGLang does with --forward-hooks, by its documentation."""
        for spec in specs:
            module_name, factory = spec["hook_factory"].split(":")
            hook = getattr(importlib.import_module(module_name), factory)(spec["config"])
            matched = [module for name, module in model.named_modules()
                       if any(fnmatch.fnmatch(name, pattern) for pattern in spec["target_modules"])]
            self.assertEqual(len(matched), 1, spec)
            if spec.get("hook_type") == "forward_pre":
                matched[0].register_forward_pre_hook(hook, with_kwargs=spec.get("with_kwargs", False))
            else:
                matched[0].register_forward_hook(hook)

    def test_sglang_by_forward_hooks(self):
        model = stand_in.serving_class("sglang")(Facts())
        self.register(model, json.loads(json.dumps(sglang_engine.specs(self.path, [3, 7, 5], 2))))
        model.run(1, 1)  # to warm up
        model.first = 0
        for layer in model.model.layers:
            layer.self_attn.attn.cache.clear()
        model.run(3, 7, 5)
        self.assertFalse(self.path.exists())
        model.run(4)
        one = trace.read(self.path)
        self.same_as_transformers(one, [3, 7, 5])
        self.assertEqual(one.steps()[1]["positions"], [3])
        written = self.path.stat().st_mtime_ns
        model.run(3, 7, 5)
        model.run(4)
        self.assertEqual(self.path.stat().st_mtime_ns, written)  # once


class Table(unittest.TestCase):
    def test_every_name_is_one_of_the_format(self):
        page = (ROOT / "docs/trace-format.md").read_text()
        documented = set(re.findall(r"`(?:blk\.N)?\.?([a-z_]+)`", page))
        names = {*module_names.OF_LAYERS, *module_names.POST_NORMED, *module_names.OF_THE_WHOLE, *module_names.HEADS.values(),
                 *module_names.Serving.OF_LAYERS, *module_names.Serving.POST_NORMED}
        self.assertEqual(names - documented, set())

    def test_no_type_of_model_has_both_orders_of_lanes(self):
        self.assertFalse(set(module_names.PERMUTED) & set(module_names.UNPERMUTED))


if __name__ == "__main__":
    unittest.main()
