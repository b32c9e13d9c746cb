#!/usr/bin/env python3
"""Makes tests/data/families/NAME.safetensors: transformers' logits in float64 for the cases of families.py.

    make_families.py [NAME...]     # all cases where no name is given; runs in .venv-torch

Each model goes through a folder on disk, as `assay convert` gets it: saved once for its names and shapes, then written
with weights drawn by families.draw and loaded again. Where transformers asks for float32 it gets float64 (make_logits.py).
"""
import copy
import json
import pathlib
import sys
import tempfile

import numpy
import torch
import transformers
from safetensors import safe_open

import families
import models
from make_logits import Double, NoSingle


def classes(family):
    return getattr(transformers, family + "Config"), getattr(transformers, family.removesuffix("Text") + "ForCausalLM")


def constants(name):
    """Whether the weight is a constant of the model, which transformers keeps among the weights."""
    return name.endswith((".beta", ".eps"))


def shapes_of(folder):
    shapes, fixed = {}, {}
    for part in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with safe_open(str(part), "np") as file:
            for name in file.keys():
                values = file.get_tensor(name)
                shapes[name] = list(values.shape)
                if constants(name):
                    fixed[name] = values.ravel().tolist()
    return shapes, fixed


def build(case):
    """(config.json, shapes, fixed, weights, logits of the stored positions)"""
    configuration, model_class = classes(case.family)
    config = configuration(**copy.deepcopy(case.config))  # which it changes
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        torch.set_default_dtype(torch.float32)
        model_class(config).save_pretrained(folder)
        text = json.loads((pathlib.Path(folder) / "config.json").read_text())
        shapes, fixed = shapes_of(folder)
        weights = families.draw(shapes, fixed, case.seed)
        for part in pathlib.Path(folder).iterdir():
            part.unlink()
        families.write_folder(folder, text, weights)
        loaded = model_class.from_pretrained(folder, dtype=torch.float64)
        torch.set_default_dtype(torch.float64)
        with Double():
            model = model_class._from_config(config, attn_implementation="eager", experts_implementation="eager",
                                             dtype=torch.float64).eval()
            model.load_state_dict(loaded.state_dict())
            ids = torch.from_numpy(families.tokens(case).astype(numpy.int64))[None]
            with NoSingle():
                rows = model(input_ids=ids, use_cache=False).logits[0]
    return text, shapes, fixed, rows[families.positions(case)].numpy()


def write(case):
    text, shapes, fixed, values = build(case)
    path = families.STORED / f"{case.name}.safetensors"
    models.write_safetensors(
        path, {"logits": values.astype("<f8"), "positions": numpy.array(families.positions(case), "<i4")},
        {"config": json.dumps(text, sort_keys=True), "shapes": json.dumps(shapes), "fixed": json.dumps(fixed),
         "notes": case.notes, "case": json.dumps(case.config, sort_keys=True), "tokens": str(case.tokens),
         "torch": torch.__version__.split("+")[0], "transformers": transformers.__version__})
    print(f"{case.name}: {path.stat().st_size} bytes, largest logit {numpy.abs(values).max():.2f}", flush=True)


def main(names):
    families.STORED.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in names or families.CASES:
        try:
            write(families.CASES[name])
        except Exception as error:  # the others are still wanted
            failed.append(name)
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
