"""python -m assay.invariants llama_cpp MODEL | server URL

Runs schedules for `assay invariants`: a line of JSON on standard input asks for one, a line of JSON on standard output
gives its rows. The first line says what the engine is and what it can be asked. `src/invariants/schedule.h` says what a
schedule is. Exit code: 0 at the end of the input, 2 where the engine cannot be asked.
"""
from __future__ import annotations

import argparse
import concurrent.futures
import ctypes
import hashlib
import json
import math
import os
import sys
import urllib.error
import urllib.request

from assay import install
from assay.captured import CaptureError

BEST = 20          # tokens of a row whose log-probability is told
SERVER_BEST = 5    # the most that every server gives
SECONDS = 600      # for one answer of a server


def parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m assay.invariants", description=__doc__.split("\n\n")[1])
    engines = parser.add_subparsers(dest="engine", required=True, metavar="llama_cpp|server")
    llama_cpp = engines.add_parser("llama_cpp")
    llama_cpp.add_argument("model")
    llama_cpp.add_argument("--flash", choices=["on", "off", "auto"], default="auto")
    llama_cpp.add_argument("--kv", choices=["f32", "f16"], default="f16")
    llama_cpp.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    llama_cpp.add_argument("--gpu-layers", type=int, default=0)
    server = engines.add_parser("server")
    server.add_argument("url")
    return parser.parse_args(arguments)


class Texts:
    """What every engine keeps of a schedule at work: the ids that each sequence has run."""

    def __init__(self, asked):
        self.texts, self.of = asked["texts"], asked["sequences"]
        self.ids = [[] for _ in self.of]

    def advance(self, sequence, end):
        """(position of the first, tokens) that bring a sequence to the token before `end`."""
        begin = len(self.ids[sequence])
        tokens = self.texts[self.of[sequence]][begin:end]
        self.ids[sequence] += tokens
        return begin, tokens

    def others(self, sequence, count, vocabulary):
        """(position, tokens) that are not the text's."""
        begin, text = len(self.ids[sequence]), self.texts[self.of[sequence]]
        tokens = [(text[-1 - i % len(text)] + 1) % vocabulary for i in range(count)]
        self.ids[sequence] += tokens
        return begin, tokens


def row_of(text, position, logits, whole):
    """A row of all logits, as `assay invariants` reads it."""
    import numpy
    finite = bool(numpy.isfinite(logits).all())
    row = {"text": text, "position": position, "finite": finite, "best": [],
           "bits": hashlib.sha256(logits.astype("<f4").tobytes()).hexdigest()}
    if finite:
        exact = logits.astype("f8")
        log_sum = exact.max() + math.log(numpy.exp(exact - exact.max()).sum())
        best = numpy.argsort(-exact, kind="stable")[:BEST]
        row["best"] = [[int(i), float(exact[i] - log_sum)] for i in best]
        if whole == [text, position]:
            row["values"] = [float(x) for x in logits]
    return row


class LlamaCpp:
    """llama.cpp through llama-cpp-python; each schedule has a context of its own."""

    abilities = ["several", "undo", "copy", "fill", "counts"]
    remembers = False

    def __init__(self, options):
        from assay import llama_cpp_engine, model_file
        self.engine = llama_cpp_engine
        self.bindings = llama_cpp_engine.load_bindings()
        self.settings = llama_cpp_engine.Settings(options.flash, options.kv, max(1, options.threads), options.gpu_layers)
        self.model = llama_cpp_engine.Model(self.bindings, str(model_file.resolve(options.model)), options.gpu_layers)
        self.name = (f"llama.cpp {llama_cpp_engine.VERSION} ({options.gpu_layers} layers on its GPU, " if options.gpu_layers
                     else f"llama.cpp {llama_cpp_engine.VERSION} (")
        self.name += f"{self.settings.threads} threads, flash attention {options.flash}, kv {options.kv})"

    def run(self, asked):
        texts = Texts(asked)
        longest = max(map(len, texts.texts)) + 1 + max([action[2] for action in asked["actions"] if action[0] == "wander"],
                                                       default=0)
        most = longest * len(texts.of)
        batch = self.bindings.llama_batch_init(most, 0, 1)
        try:
            with self.engine.open_context(self.model, self.settings, most, longest, None,
                                          sequences=len(texts.of)) as context:
                return Running(self, context, batch, texts, asked, longest).run()
        finally:
            self.bindings.llama_batch_free(batch)


class Running:
    """One schedule at work in a context of llama.cpp."""

    def __init__(self, engine, context, batch, texts, asked, longest):
        self.engine, self.bindings, self.context, self.batch = engine, engine.bindings, context, batch
        self.memory = self.bindings.llama_get_memory(context)
        self.texts, self.asked, self.longest = texts, asked, longest
        self.rows = {}

    def run(self):
        for name, *arguments in self.asked["actions"]:
            getattr(self, name)(*arguments)
        return list(self.rows.values())

    def decode(self, parts):
        """Logits, (tokens, vocabulary), of [(sequence, position of its first token, tokens)]."""
        import numpy
        batch, at = self.batch, 0
        for sequence, begin, tokens in parts:
            for i, token in enumerate(tokens):
                batch.token[at], batch.pos[at], batch.logits[at] = token, begin + i, 1
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
                at += 1
        batch.n_tokens = at
        if self.asked["counted"]:
            batch = type(batch).from_buffer_copy(batch)  # of the pointers: what they point to is freed with the first
            batch.pos = ctypes.POINTER(ctypes.c_int32)()  # none: llama.cpp counts
        code = self.bindings.llama_decode(self.context, batch)
        if code != 0:
            raise CaptureError(f"llama.cpp fails with code {code}{self.engine.model.log.last()}")
        pointer = self.bindings.llama_get_logits(self.context)
        return numpy.ctypeslib.as_array(pointer, (at, self.engine.model.vocabulary_size)).copy()

    def step(self, parts):
        work = [(sequence, *self.texts.advance(sequence, end)) for sequence, end in parts]
        places = [(self.texts.of[sequence], begin + i) for sequence, begin, tokens in work for i in range(len(tokens))]
        for (text, position), logits in zip(places, self.decode(work), strict=True):
            self.rows[text, position] = row_of(text, position, logits, self.asked["whole"])

    def wander(self, sequence, count):
        self.decode([(sequence, *self.texts.others(sequence, count, self.engine.model.vocabulary_size))])

    def undo(self, sequence, position):
        del self.texts.ids[sequence][position:]
        if not self.bindings.llama_memory_seq_rm(self.memory, sequence, position, -1):
            raise CaptureError("llama.cpp cannot take tokens of this model back")

    def copy(self, source, target, positions):
        """As a server stores a slot's state and restores it in another."""
        size = self.bindings.llama_state_seq_get_size(self.context, source)
        state = (ctypes.c_uint8 * size)()
        if (self.bindings.llama_state_seq_get_data(self.context, state, size, source) != size
                or self.bindings.llama_state_seq_set_data(self.context, state, size, target) != size):
            raise CaptureError("llama.cpp cannot give a sequence's state to another")
        self.texts.ids[target] = list(self.texts.ids[source])
        self.undo(target, positions)

    def fill(self, nan):
        """Embeddings of NaN leave NaN in every cell; then the sequences are empty again. A fresh context holds zeros."""
        if not nan:
            return
        width = self.bindings.llama_model_n_embd(self.engine.model.pointer)
        batch = self.bindings.llama_batch_init(self.longest, width, 1)
        try:
            batch.n_tokens = self.longest
            for i in range(self.longest * width):
                batch.embd[i] = math.nan
            for sequence in range(len(self.texts.of)):
                for i in range(self.longest):
                    batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = i, 1, sequence, 0
                if self.bindings.llama_decode(self.context, batch) != 0:
                    raise CaptureError(f"llama.cpp cannot run embeddings{self.engine.model.log.last()}")
                self.bindings.llama_memory_seq_rm(self.memory, sequence, -1, -1)
        finally:
            self.bindings.llama_batch_free(batch)


class Server:
    """Any OpenAI-compatible server: a step is one completion of one token after the sequence's ids so far, whose
    beginning the server may have cached; the steps of a batch are asked at once. Only the last row is seen."""

    abilities = ["several", "undo", "copy"]
    remembers = True

    def __init__(self, options):
        self.url = options.url.rstrip("/")
        if not self.url.endswith("/v1"):
            self.url += "/v1"
        self.key = os.environ.get("ASSAY_API_KEY") or os.environ.get("OPENAI_API_KEY")
        self.tokens = {}  # as the server spells them: a number
        models = self.ask("GET", "models", None).get("data") or []
        if not models or "id" not in models[0]:
            raise CaptureError(f"{self.url}/models names no model")
        self.model = models[0]["id"]
        self.name = f"the server {self.url} ({self.model})"
        # Not every server knows this field, and some refuse what they do not know.
        self.knows_cold = True
        try:
            self.complete([1], True)
        except CaptureError:
            self.knows_cold = False
            self.complete([1], True)

    def ask(self, method, path, body):
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(f"{self.url}/{path}", None if body is None else json.dumps(body).encode(),
                                         headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            said = refused.read(2000).decode(errors="replace").strip()
            raise CaptureError(f"{self.url}/{path} answers {refused.code}: {' '.join(said.split())}") from None
        except (OSError, ValueError) as failed:
            raise CaptureError(f"{self.url}/{path} gives no answer that can be read: {failed}") from None

    def complete(self, ids, cold):
        """[[number of a token, log-probability]] of the best tokens after these ids."""
        body = {"model": self.model, "prompt": ids, "max_tokens": 1, "temperature": 0, "logprobs": SERVER_BEST}
        if self.knows_cold:
            body["cache_prompt"] = not cold
        answer = self.ask("POST", "completions", body)
        try:
            best = best_of(answer["choices"][0]["logprobs"])
        except (KeyError, IndexError, TypeError, AttributeError):
            raise CaptureError(f"{self.url}/completions gives no log-probabilities where \"logprobs\": {SERVER_BEST} asks for "
                           "them") from None
        return [[self.tokens.setdefault(token, len(self.tokens)), p] for token, p in best]

    def run(self, asked):
        texts, rows = Texts(asked), {}
        with concurrent.futures.ThreadPoolExecutor(max(1, len(texts.of))) as pool:
            for name, *arguments in asked["actions"]:
                if name == "step":
                    parts = arguments[0]
                    for sequence, end in parts:
                        texts.advance(sequence, end)
                    answers = pool.map(lambda part: self.complete(texts.ids[part[0]], asked["cold"]), parts)
                    for (sequence, end), best in zip(parts, answers):
                        rows[texts.of[sequence], end - 1] = best
                elif name == "wander":
                    texts.others(arguments[0], arguments[1], max(map(max, texts.texts)) + 1)
                    self.complete(texts.ids[arguments[0]], False)
                elif name == "undo":
                    del texts.ids[arguments[0]][arguments[1]:]
                elif name == "copy":
                    texts.ids[arguments[1]] = texts.ids[arguments[0]][:arguments[2]]
        return [{"text": text, "position": position, "bits": "", "best": best,
                 "finite": all(math.isfinite(p) for _, p in best)} for (text, position), best in rows.items()]


def best_of(logprobs):
    """[(token, log-probability)] of the first token of an answer, best first: as llama.cpp's server gives them, or as
    OpenAI's older interface does."""
    if logprobs.get("content"):
        best = [(one.get("id", one["token"]), one["logprob"]) for one in logprobs["content"][0]["top_logprobs"]]
    else:
        best = list(logprobs["top_logprobs"][0].items())
    if not best:
        raise IndexError
    return sorted(((token, -math.inf if p is None else float(p)) for token, p in best), key=lambda one: -one[1])


def main(arguments=None):
    options = parse(arguments)
    try:
        engine = (LlamaCpp if options.engine == "llama_cpp" else Server)(options)
    except ImportError as missing:
        print(f"assay.invariants: {missing}; to install what is needed: "
              f"{install.command('numpy', *install.PACKAGES['llama_cpp'])}", file=sys.stderr)
        return 2
    except (CaptureError, OSError) as wrong:
        print(f"assay.invariants: {wrong}", file=sys.stderr)
        return 2
    print(json.dumps({"name": engine.name, "abilities": engine.abilities, "remembers": engine.remembers}), flush=True)
    for line in sys.stdin:
        try:
            answer = {"rows": engine.run(json.loads(line))}
        except (CaptureError, OSError) as wrong:
            answer = {"error": str(wrong)}
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
