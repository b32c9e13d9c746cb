"""Records what vLLM computes of one prompt, through its documented LLM.apply_model.

    import os; os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"   # a function is sent to the worker
    from vllm import LLM, SamplingParams
    from assay import vllm_engine
    llm = LLM(FOLDER, enforce_eager=True, enable_prefix_caching=False)
    with vllm_engine.record(llm, "FILE.safetensors"):
        llm.generate({"prompt_token_ids": [1, 2, 3]}, SamplingParams(temperature=0, max_tokens=4))

One worker (no tensor parallelism), one prompt at a time. Compiled graphs call no hooks, hence enforce_eager; a cached
prefix is not computed. Written against vLLM's documentation and tested on a stand-in: vLLM was not run.
"""
from __future__ import annotations

import contextlib
import functools

from assay import recorder

_running = {}  # in the worker: the recorder of each model, by its id


def _begin(model, only=None):
    _running[id(model)] = recorder.Recorder(model, only)
    return _running[id(model)].known is not None


def _end(model, path=None, options=None):
    """Ends the recording; writes it where there is a path."""
    running = _running.pop(id(model))
    running.close()
    if path is not None:
        recorder.write(running, path, **(options or {}))


@contextlib.contextmanager
def record(llm, path, only=None, **options):
    """Records what `llm` computes inside, and writes the trace when the block ends; `only`, `options` as recorder.record.

    Raises RecordError: several workers; a call that a trace can't hold.
    """
    workers = llm.apply_model(functools.partial(_begin, only=only))
    try:
        if len(workers) != 1:
            raise recorder.RecordError(f"vLLM runs {len(workers)} workers; each computes a part, and a trace holds the "
                                       "whole: tensor_parallel_size=1")
        yield
    except BaseException:
        llm.apply_model(_end)
        raise
    llm.apply_model(functools.partial(_end, path=str(path), options=options))
