"""python -m assay.capture llama_cpp|transformers MODEL (-p TEXT | --tokens 1,2,3) -o FILE

Runs a model in another engine and writes what every operation computed, as docs/trace-format.md describes it.
Exit code: 0 written, 2 not.
"""
from __future__ import annotations

import argparse
import json
import os
import sys

from assay import install

try:
    import numpy  # noqa: F401
except ImportError as missing:
    if __name__ != "__main__":
        raise
    needed = [one for engine in sys.argv[1:2] for one in install.PACKAGES.get(engine, ())]
    print(f"assay.capture: numpy cannot be imported ({missing}); to install what is needed: "
          f"{install.command('numpy', *needed)}", file=sys.stderr)
    sys.exit(2)

from assay import llama_cpp_engine, model_file, trace, transformers_engine  # noqa: E402
from assay.captured import CaptureError  # noqa: E402
from assay.only import Only  # noqa: E402


def parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m assay.capture", description=__doc__.split("\n\n")[1])
    engines = parser.add_subparsers(dest="engine", required=True, metavar="llama_cpp|transformers")
    common = argparse.ArgumentParser(add_help=False)
    prompt = common.add_mutually_exclusive_group(required=True)
    prompt.add_argument("-p", dest="text", metavar="TEXT", help="prompt; special tokens in it are parsed")
    prompt.add_argument("--tokens", type=token_ids, metavar="1,2,3", help="prompt as token ids")
    common.add_argument("-o", dest="output", required=True, metavar="FILE")
    common.add_argument("--only", type=names, default=Only(), metavar="NAME,NAME",
                        help="write only these outputs; names of docs/trace-format.md, in which * stands for any characters "
                             "but a dot, as in 'blk.*.out'")
    common.add_argument("--decode", type=count, default=0, metavar="N",
                        help="greedy steps of one token after the prompt")
    common.add_argument("--threads", type=count, default=os.cpu_count() or 1, metavar="N")
    common.add_argument("--no-bos", action="store_true", help="no BOS before the text, whatever the file says")
    llama_cpp = engines.add_parser("llama_cpp", parents=[common], help=f"llama-cpp-python {llama_cpp_engine.VERSION}")
    llama_cpp.add_argument("model", metavar="MODEL", help="GGUF file (the first one of a split model), or a known model's name")
    llama_cpp.add_argument("--flash", choices=list(llama_cpp_engine.FLASH), default="auto", help="flash attention")
    llama_cpp.add_argument("--gpu-layers", type=count, default=0, metavar="N")
    llama_cpp.add_argument("--kv", choices=list(llama_cpp_engine.KV_TYPES), default="f16", help="type of the cache")
    llama_cpp.add_argument("--no-parse-special", action="store_true",
                           help="treat the spelling of special tokens in the text as plain text")
    llama_cpp.add_argument("--all", action="store_true", help="write views and copies, too")
    transformers = engines.add_parser("transformers", parents=[common], help="PyTorch, on the CPU")
    transformers.add_argument("model", metavar="MODEL", help="folder of a model, or GGUF file")
    transformers.add_argument("--dtype", choices=list(transformers_engine.TYPES), default="f32",
                              help="type of weights and activations")
    return parser.parse_args(arguments)


def token_ids(text):
    try:
        ids = [int(part) for part in text.split(",")]
    except ValueError:
        ids = [-1]
    if min(ids) < 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of token ids such as 1,2,3")
    return ids


def names(text):
    try:
        return Only(text)
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from None


def count(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 on")
    return int(text)


def from_llama_cpp(options):
    """(engine's name, Captured, metadata) of a run of llama.cpp."""
    settings = llama_cpp_engine.Settings(options.flash, options.kv, max(1, options.threads), options.gpu_layers,
                                         options.decode, options.all, options.only)
    captured, flash = llama_cpp_engine.capture(options.model, settings, options.tokens, options.text,
                                               not options.no_bos, not options.no_parse_special)
    if captured.contract is None:
        print(f"no contract is written: the products were computed by {captured.backend}", file=sys.stderr)
    engine = f"llama.cpp {llama_cpp_engine.VERSION} {captured.backend}"
    return engine, captured, {"kv": options.kv, "flash": "on" if flash else "off"}


def from_transformers(options):
    """(engine's name, Captured, metadata) of a run of transformers."""
    engine, captured = transformers_engine.capture(options.model, options.tokens, options.text, options.decode,
                                                   max(1, options.threads), not options.no_bos, options.dtype, options.only)
    return engine, captured, {"kv": options.dtype}


def main(arguments=None):
    options = parse(arguments)
    try:
        model = model_file.resolve(options.model)
        options.model = str(model)
        model_hash = model_file.sha256(model) if model.is_file() else None
        run = from_llama_cpp if options.engine == "llama_cpp" else from_transformers
        engine, captured, metadata = run(options)
        steps = [{"tokens": tokens} for tokens in captured.steps]
        inputs = {"tokens": captured.steps[0]} if len(steps) == 1 else {"steps": steps}
        if captured.graph is not None:
            metadata["graph"] = json.dumps(captured.graph, separators=(",", ":"))
        writer = trace.TraceWriter(engine, **inputs, contract=captured.contract, model=options.model,
                                   model_sha256=model_hash, threads=options.threads,
                                   observer_effect=captured.observer_effect, context=captured.context, **metadata)
        for step, tensors in enumerate(captured.tensors):
            for name, array, *narrow in tensors:
                writer.add(name, array, step, *narrow)
        writer.write(options.output)
    except (CaptureError, trace.TraceError, OSError) as wrong:
        print(f"assay.capture: {wrong}", file=sys.stderr)
        return 2
    if captured.missing:
        print(f"expected and not seen: {', '.join(captured.missing)}", file=sys.stderr)
    print(f"observer effect: {captured.observer_effect}", file=sys.stderr)
    written = sum(len(tensors) for tensors in captured.tensors)
    print(f"{options.output}: {engine}, {sum(map(len, captured.steps))} tokens in {len(steps)} step(s), "
          f"{written} tensors, tokens {json.dumps(captured.steps)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
