"""A stand-in for an OpenAI-compatible server, of Python's standard library: /v1/models and /v1/completions with
log-probabilities that follow from the ids and their positions, a cache of one prompt's beginning, and faults of it.

    python tests/cli/stand_in_server.py [--fault cache-shifts|batch-mixes|noisy] [--style content|legacy] [--strict]

The first line that it prints is its URL.
"""
import argparse
import hashlib
import http.server
import json
import math
import sys
import threading
import time

VOCABULARY = 32


class State:
    def __init__(self, options):
        self.options = options
        self.lock = threading.Lock()
        self.cached = []    # (id, position) of the last prompt
        self.running = 0    # completions at this moment
        self.answers = 0
        self.reused = 0     # completions that began with the cache

    def entries(self, ids, may_reuse):
        """(id, position) of a prompt: what is cached of it as it is in the cache."""
        same = 0
        if may_reuse:
            while same < min(len(ids) - 1, len(self.cached)) and self.cached[same][0] == ids[same]:
                same += 1
        self.reused += same > 0
        # The fault: what follows a cached beginning stands one position too far.
        late = 1 if same and self.options.fault == "cache-shifts" else 0
        entries = self.cached[:same] + [(ids[i], i + late) for i in range(same, len(ids))]
        self.cached = entries
        return entries

    def log_probabilities(self, ids, may_reuse):
        with self.lock:
            self.answers += 1
            entries = self.entries(ids, may_reuse)
            # Other completions at the same moment leak into this one.
            mixed = self.options.fault == "batch-mixes" and self.running > 1
            noise = 1e-3 * (self.answers % 3) if self.options.fault == "noisy" else 0
        seed = hashlib.sha256(json.dumps([entries, mixed]).encode()).digest()
        logits = [seed[token] / 32 + noise * token for token in range(VOCABULARY)]
        total = math.log(sum(math.exp(x) for x in logits))
        return [x - total for x in logits]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, sentence):
        self.answer(400, {"error": {"message": sentence, "type": "invalid_request_error"}})

    def do_GET(self):
        if self.path == "/v1/models":
            return self.answer(200, {"object": "list", "data": [{"id": "stand-in", "object": "model"}]})
        return self.answer(404, {"error": {"message": f"no {self.path}"}})

    def do_POST(self):
        state = self.server.state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = {"model", "prompt", "max_tokens", "temperature", "logprobs"} | ({"cache_prompt"} if not state.options.strict else set())
        if self.path != "/v1/completions":
            return self.answer(404, {"error": {"message": f"no {self.path}"}})
        if unknown := sorted(set(body) - known):
            return self.refuse(f"Unrecognized request argument: {unknown[0]}")
        ids = body["prompt"]
        if not isinstance(ids, list) or not ids or not all(isinstance(one, int) for one in ids):
            return self.refuse("prompt must be a list of token ids")
        with state.lock:
            state.running += 1
        if state.options.fault == "batch-mixes":
            time.sleep(0.05)  # completions that come at nearly the same moment overlap
        p = state.log_probabilities(ids, body.get("cache_prompt", True))
        with state.lock:
            state.running -= 1
        best = sorted(range(VOCABULARY), key=lambda token: -p[token])[:body["logprobs"]]
        if state.options.style == "content":
            top = [{"id": token, "token": f"<{token}>", "logprob": p[token]} for token in best]
            logprobs = {"content": [{**top[0], "top_logprobs": top}]}
        elif state.options.style == "legacy":
            logprobs = {"tokens": [f"<{best[0]}>"], "token_logprobs": [p[best[0]]],
                        "top_logprobs": [{f"<{token}>": p[token] for token in best}]}
        else:
            logprobs = None
        return self.answer(200, {"object": "text_completion", "model": "stand-in", "choices": [
            {"index": 0, "text": f"<{best[0]}>", "logprobs": logprobs, "finish_reason": "length"}]})


def serve(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault", choices=["cache-shifts", "batch-mixes", "noisy"])
    parser.add_argument("--style", choices=["content", "legacy", "none"], default="content")
    parser.add_argument("--strict", action="store_true", help="refuses fields that it does not know")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.state = State(parser.parse_args(arguments))
    server.daemon_threads = True
    return server


if __name__ == "__main__":
    made = serve(sys.argv[1:])
    print(f"http://127.0.0.1:{made.server_port}", flush=True)
    made.serve_forever()
