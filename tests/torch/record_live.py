"""Of `make test-torch`: assay.record on models of transformers, right and with planted faults (planted.py), judged by assay.

Records of every operation, and of layers' outputs alone: what these lack is computed by the judge.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import compare
import families
import planted

sys.path.insert(0, str(families.models.ROOT / "python"))
import assay  # noqa: E402
from assay import trace  # noqa: E402

CASES = ("Llama", "Qwen3", "Gemma3Text", "Qwen3Moe")
TYPES = {"f32": "float32", "bf16": "bfloat16"}
PROMPT, DECODED = 14, 3
LAYERS = "blk.*.out"


def load(folder, dtype, attention="eager"):
    import torch
    import transformers
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, TYPES[dtype]),
                                                              attn_implementation=attention)
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


def check_fault(what, fault, folder, case, note):
    """In bf16: in a record of every operation the wrong one is found, with its cause or its place; in one of layers' outputs
    the segment, and no cause elsewhere."""
    path = folder / "fault.safetensors"

    def verdict_on(dtype, **options):
        model = load(folder / "model", dtype)
        fault.plant(model)
        record(model, case, path, **options)
        code, verdict = assay_says("diff", path, "-m", folder / "model")
        first, cause = verdict["first"] or {}, verdict["cause"] or {}
        return code, verdict, (first.get("operation"), first.get("after")), first.get("where", ""), cause

    for dtype in TYPES:
        code, verdict, (operation, _), where, cause = verdict_on(dtype)
        note(f"{what} {dtype}", code == 1 and operation == fault.operation and fault.where in where
             and (not fault.causes or cause["id"] in fault.causes), verdict)
    code, verdict, segment, _, cause = verdict_on("bf16", only=LAYERS)
    if fault.places is None:
        return note(f"{what} in layers", code == 0, verdict)
    found = cause.get("operation")
    note(f"{what} in layers", code == 1 and segment == fault.segment and (found in fault.places or not (found or fault.named)),
         verdict)


def check(name, counts):
    stored = families.stored(name)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "model").mkdir()
        families.write_folder(folder / "model", stored.config, families.draw(stored.shapes, stored.fixed, stored.case.seed))
        path = folder / "x.safetensors"

        def note(what, good, verdict):
            counts.note("passed" if good else "failed", f"{name + ' ' + what:<40}{verdict['sentence']}")

        for dtype in TYPES:
            ids = record(load(folder / "model", dtype), stored.case, path)
            file = trace.read(path)
            expected = [list(range(PROMPT)), *([i] for i in range(PROMPT, len(ids)))]
            good = file.metadata["contract"] == file.metadata["kv"] == dtype and \
                [step["positions"] for step in file.steps()] == expected
            counts.note("passed" if good else "failed", f"{name + ' recorded ' + dtype:<26}{file.metadata['engine']}")
            code, verdict = assay_says("diff", path)  # the folder is in the metadata
            note(f"right {dtype}", code == 0 and not unmeasured(verdict), verdict)
            for only, attention, after in ((LAYERS, "eager", {"out_norm", "logits"}), (f"{LAYERS},logits", "sdpa", set())):
                record(load(folder / "model", dtype, attention), stored.case, path, only=only)
                code, verdict = assay_says("diff", path)
                coverage = verdict["coverage"]
                note(f"{attention} {only} {dtype}", code == 0 and not coverage["unmeasured"]
                     and set(coverage["after_record"]) == after, verdict)
        for what, fault in planted.FAULTS.items():
            if fault.case == name:
                check_fault(what, fault, folder, stored.case, note)
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
        note("by its names", code == 0 and not unmeasured(verdict), verdict)
        for options, count in (([], 67), (["--only", LAYERS], 4)):
            done = subprocess.run([sys.executable, "-m", "assay.capture", "transformers", str(folder / "model"), "--tokens",
                                   "1,2,3,4", "--dtype", "bf16", "--decode", "1", "-o", str(path), *options],
                                  capture_output=True, text=True, cwd=families.models.ROOT / "python", timeout=600)
            one = trace.read(path) if done.returncode == 0 else None
            good = one and one.metadata["contract"] == "bf16" and b'"dtype":"BF16"' in path.read_bytes() and \
                [len(one.of_step(step)) for step in range(2)] == [count] * 2
            counts.note("passed" if good else "failed",
                        f"{' '.join([name, 'capture --dtype bf16', *options]):<48}{done.stderr.strip().splitlines()[-1]}")
