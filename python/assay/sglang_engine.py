"""Records what SGLang computes of one prompt, through its documented forward hooks.

    python -m sglang.launch_server --model-path FOLDER --disable-cuda-graph --disable-radix-cache --tp 1 \\
        --forward-hooks "$(python -m assay.sglang_engine FILE.safetensors --tokens 1,2,3 --calls 4)"

and then one request with these token ids (`"input_ids": [1, 2, 3]`) and at least 4 new tokens. Recording begins with
the call of the model whose ids are the prompt's, and the file is written after as many calls as were asked for: the
prompt's and one for each token after the first. Written against SGLang's documentation and tested on a stand-in:
SGLang was not run.
"""
from __future__ import annotations

import argparse
import json
import sys

from assay import recorder
from assay.module_names import Serving

_running = {}  # the recorder of each file


def specs(path, tokens, calls=1, only=None):
    """The value of --forward-hooks. `only`: which outputs are written, as recorder.record takes it."""
    config = {"path": str(path), "tokens": [int(one) for one in tokens], "calls": int(calls), "only": only}
    return [{"name": "assay-begin", "target_modules": ["model"], "hook_factory": "assay.sglang_engine:before_model",
             "hook_type": "forward_pre", "with_kwargs": True, "config": config},
            {"name": "assay-end", "target_modules": ["logits_processor"],
             "hook_factory": "assay.sglang_engine:after_logits", "config": config}]


def before_model(config):
    """Factory of a hook before each call of the inner model: begins where the prompt's ids come."""
    def hook(module, arguments, named):
        path = config["path"]
        if path in _running:
            return  # the recorder's own hook sees the call
        try:
            ids, _ = recorder.ids_of(arguments, named)
        except recorder.RecordError:
            return  # a call to warm up
        if ids == config["tokens"]:
            _running[path] = recorder.Recorder(module, config["only"])
            _running[path].begin(arguments, named)
    return hook


def after_logits(config):
    """Factory of a hook after the logits: takes them, and writes the file when there were enough calls."""
    def hook(_, __, output):
        path = config["path"]
        if _running.get(path) is None:
            return
        Serving.keep_logits(_running[path], output)
        if len(_running[path].steps) >= config["calls"]:
            finished, _running[path] = _running[path], None  # never again in this process
            finished.close()
            recorder.write(finished, path)
    return hook


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m assay.sglang_engine", description="The value of --forward-hooks.")
    parser.add_argument("path", metavar="FILE")
    parser.add_argument("--tokens", required=True, metavar="1,2,3", help="the prompt")
    parser.add_argument("--calls", type=int, default=1, metavar="N", help="calls of the model to record")
    parser.add_argument("--only", metavar="NAME,NAME", help="write only these outputs, as of `python -m assay.capture`")
    options = parser.parse_args(arguments)
    print(json.dumps(specs(options.path, options.tokens.split(","), options.calls, options.only)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
