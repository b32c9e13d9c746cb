"""Of `make test-torch`: assay.record on models of transformers, right and with a planted fault, judged by assay."""
import json
import pathlib
import subprocess
import sys
import tempfile

import compare
import families

sys.path.insert(0, str(families.models.ROOT / "python"))
import assay  # noqa: E402
from assay import trace  # noqa: E402

CASES = ("Llama", "Qwen3", "Gemma3Text", "Qwen3Moe")
TYPES = {"f32": "float32", "bf16": "bfloat16"}
PROMPT, DECODED = 14, 3
# What single experts compute is no module's.
OF_EXPERTS = {"experts_gate", "experts_up", "experts_gate_up", "experts_act", "experts_down", "experts"}


def load(folder, dtype):
    import torch
    import transformers
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, TYPES[dtype]),
                                                              attn_implementation="eager")
    return model.eval()


def record(model, case, path, **options):
    """A prompt and some tokens one by one."""
    import torch
    from transformers import DynamicCache
    ids = families.tokens(case)[:PROMPT + DECODED].tolist()
    cache = DynamicCache(config=model.config)
    with assay.record(model, path, **options), torch.no_grad():
        for begin, end in [(0, PROMPT), *((i, i + 1) for i in range(PROMPT, len(ids)))]:
            model(torch.tensor([ids[begin:end]]), past_key_values=cache, use_cache=True)
    return ids


def assay_says(*command):
    done = subprocess.run([compare.BINARY, *map(str, command), "--json"], capture_output=True, text=True, timeout=600,
                          stdin=subprocess.DEVNULL)
    return done.returncode, json.loads(done.stdout)


def unmeasured(verdict):
    return {one["name"].rsplit(".", 1)[-1] for one in verdict["operations"] if one["a"]["verdict"] == "UNMEASURED"}


def swap_gate_and_up(model):
    mlp = model.model.layers[1].mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.gate_proj(x) * mlp.act_fn(mlp.up_proj(x)))
    return "blk.1.act"


def halve_a_norm(model):
    norm = model.model.layers[2].post_attention_layernorm
    original = norm.forward
    norm.forward = lambda x: original(x) / 2
    return "blk.2.attn_post_norm" if hasattr(model.model.layers[2], "pre_feedforward_layernorm") else "blk.2.ffn_norm"


def shift_lanes(model):
    product = model.model.layers[1].self_attn.k_proj
    original = product.forward
    product.forward = lambda x: original(x).roll(1, -1)
    return "blk.1.k"


def route_another_input(model):
    router = model.model.layers[1].mlp.gate
    original = router.forward
    router.forward = lambda x: original(x * 1.01)
    return "blk.1.router"


FAULTS = {"Llama": shift_lanes, "Qwen3": swap_gate_and_up, "Gemma3Text": halve_a_norm, "Qwen3Moe": route_another_input}


def check(name, counts):
    stored = families.stored(name)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "model").mkdir()
        families.write_folder(folder / "model", stored.config, families.draw(stored.shapes, stored.fixed, stored.case.seed))
        path = folder / "x.safetensors"

        def note(what, good, verdict):
            counts.note("passed" if good else "failed", f"{name + ' ' + what:<26}{verdict['sentence']}")

        for dtype in TYPES:
            ids = record(load(folder / "model", dtype), stored.case, path)
            file = trace.read(path)
            expected = [list(range(PROMPT)), *([i] for i in range(PROMPT, len(ids)))]
            good = file.metadata["contract"] == file.metadata["kv"] == dtype and \
                [step["positions"] for step in file.steps()] == expected
            counts.note("passed" if good else "failed", f"{name + ' recorded ' + dtype:<26}{file.metadata['engine']}")
            code, verdict = assay_says("diff", path)  # the folder is in the metadata
            whole = code == 0 or (name == "Qwen3Moe" and code == 2 and unmeasured(verdict) <= OF_EXPERTS)
            note(f"right {dtype}", whole, verdict)
            model = load(folder / "model", dtype)
            wrong = FAULTS[name](model)
            record(model, stored.case, path)
            code, verdict = assay_says("diff", path, "-m", folder / "model")
            note(f"wrong {dtype}", code == 1 and verdict["first"]["operation"] == wrong, verdict)
        if name != "Llama":
            return
        # A tree that is not known, with the lanes that the file has otherwise.
        model = load(folder / "model", "bf16")
        model.config.model_type = "unheard-of"
        record(model, stored.case, path)
        names = folder / "names.yaml"
        _, proposal = assay_says("trace", "names", path, "-m", folder / "model", "-o", names)
        placed = {one["tensor"]: (one["operation"], one["halves"], one["sure"]) for one in proposal["placed"]}
        good = all(placed.get(f"model.layers.{i}.{path}") == (f"blk.{i}.{operation}", halves, True)
                   for i in range(stored.config["num_hidden_layers"])
                   for path, operation, halves in (("self_attn.q_proj", "q", True), ("self_attn.v_proj", "v", False),
                                                   ("self_attn.o_proj.in", "kqv", False), ("mlp.down_proj", "down", False)))
        counts.note("passed" if good else "failed", f"{name + ' names':<26}{len(placed)} placed")
        model = load(folder / "model", "f32")
        model.config.model_type = "unheard-of"
        record(model, stored.case, path)
        code, verdict = assay_says("diff", path, "-m", folder / "model", "--names", names)
        # What a function computes between two modules is not seen.
        note("by its names", code == 2 and unmeasured(verdict) == {"q_rope", "k_rope", "kqv"}, verdict)
        done = subprocess.run([sys.executable, "-m", "assay.capture", "transformers", str(folder / "model"), "--tokens",
                               "1,2,3,4", "--dtype", "bf16", "--decode", "1", "-o", str(path)], capture_output=True, text=True,
                              cwd=families.models.ROOT / "python", timeout=600)
        good = done.returncode == 0 and trace.read(path).metadata["contract"] == "bf16" and b'"dtype":"BF16"' in path.read_bytes()
        counts.note("passed" if good else "failed", f"{name + ' capture --dtype bf16':<26}{done.stderr.strip().splitlines()[-1]}")
