#!/usr/bin/env python3
"""Makes tests/data/keys.safetensors: what llama.cpp makes of the files of tests/run/key_cases.h.

    make_logits.py            # runs all files; with --check it compares with what is stored and writes nothing

Needs llama-cpp-python 0.3.36 and build/release/test_run. The metadata has for each case the name of a tensor with its
logits at POSITIONS, or "refused: " and how; cases of equal logits share a tensor. Each file runs in a
process of its own, as llama.cpp aborts on some of them, and hangs on others.
"""
import argparse
import hashlib
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import time

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
STORED = ROOT / "tests/data/keys.safetensors"
TOKENS = [1, 17, 39, 9, 7, 24, 3, 30, 15, 8, 31, 37, 21, 5, 23, 2]  # those of tests/run/keys_test.cpp
POSITIONS = [3, 9, 15]
CONTEXT = 256
PATIENCE = 10  # seconds, then it hangs

sys.path.insert(0, str(ROOT / "python"))
from assay import llama_cpp_engine, trace  # noqa: E402
from assay.captured import CaptureError  # noqa: E402


def run_one(L, path, out):
    """In a process of its own: writes the logits and ends with 0, or ends otherwise."""
    model = L.llama_model_load_from_file(str(path).encode(), L.llama_model_default_params())
    if not model:
        os._exit(2)
    parameters = L.llama_context_default_params()
    parameters.n_ctx, parameters.n_threads, parameters.n_threads_batch = CONTEXT, 1, 1
    parameters.type_k = parameters.type_v = 0  # f32
    parameters.flash_attn_type = 0
    context = L.llama_init_from_model(model, parameters)
    if not context:
        os._exit(2)
    vocabulary = L.llama_vocab_n_tokens(L.llama_model_get_vocab(model))
    batch = L.llama_batch_init(len(TOKENS), 0, 1)
    batch.n_tokens = len(TOKENS)
    for i, token in enumerate(TOKENS):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
    if L.llama_decode(context, batch):
        os._exit(2)
    rows = [numpy.ctypeslib.as_array(L.llama_get_logits_ith(context, i), (vocabulary,)).copy() for i in POSITIONS]
    numpy.save(out, numpy.array(rows, numpy.float32))
    os._exit(0)


def outcome_of(L, path, folder):
    """The logits, or "refused: " and how."""
    out = folder / "out.npy"
    out.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        run_one(L, path, out)
    end = time.monotonic() + PATIENCE
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "refused: it hangs"
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(status)
    if code:
        return "refused: an assertion stops it" if code < 0 else "refused: it is not loaded"
    logits = numpy.load(out)
    return logits if numpy.isfinite(logits).all() else "refused: logits are not finite"


def run_all(L):
    """{case: logits or refusal}, in the order of the cases."""
    L.llama_backend_init()
    outcomes = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([ROOT / "build/release/test_run", "--gtest_filter=KeyTable.MeansWhatLlamaCppMakesOfIt"], check=True,
                       env={**os.environ, "ASSAY_KEY_FILES": name}, stdout=subprocess.DEVNULL)
        for i, case in enumerate((folder / "list.txt").read_text().splitlines()):
            path = folder / f"case{i}.gguf"
            outcomes[case] = outcome_of(L, path, folder)
            path.unlink()
    return outcomes


def write(outcomes):
    metadata, tensors = {}, {}
    for case, outcome in outcomes.items():
        if isinstance(outcome, str):
            metadata[case] = outcome
            continue
        name = hashlib.sha256(outcome.tobytes()).hexdigest()[:16]
        metadata[case] = name
        tensors[name] = outcome
    header, offset = {"__metadata__": metadata}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    part = STORED.with_suffix(".part")
    part.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for array in tensors.values()))
    os.replace(part, STORED)


def check(outcomes):
    """How many cases are not as they are stored."""
    stored, wrong = trace.read(STORED), 0
    for case, outcome in outcomes.items():
        known = stored.metadata.get(case, "")
        if isinstance(outcome, str):
            same = known.startswith("refused: ")
        else:
            same = known in stored.tensors and numpy.allclose(
                outcome, stored.tensors[known].reshape(outcome.shape), rtol=1e-4, atol=1e-5)
        if not same:
            wrong += 1
            print(f"{case}: now {outcome if isinstance(outcome, str) else 'logits'}, stored {known or 'nothing'}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with what is stored")
    options = parser.parse_args()
    try:
        L = llama_cpp_engine.load_bindings()
    except CaptureError as missing:
        print(f"skipped: {missing}")
        return 0 if options.check else 2
    outcomes = run_all(L)
    refused = sum(isinstance(outcome, str) for outcome in outcomes.values())
    print(f"{len(outcomes)} cases, {refused} refused by llama.cpp")
    if options.check:
        return 1 if check(outcomes) else 0
    write(outcomes)
    print(f"{STORED.relative_to(ROOT)}: {STORED.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
