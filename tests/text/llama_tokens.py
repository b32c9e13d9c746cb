#!/usr/bin/env python3
"""Compares assay's tokens with those of llama.cpp's library.

    tests/text/llama_tokens.py store             # writes tests/data/pre_tokenizers.json, which `make test` reads
    tests/text/llama_tokens.py check             # llama.cpp still gives what is stored
    tests/text/llama_tokens.py compare FOLDER    # random texts with every ggml-vocab-*.gguf of a folder, with one
                                                 # vocabulary under the name of every pre-tokenizer in turn, and
                                                 # with vocabularies of random scores

`store` makes two small vocabularies whose merges reach over every place where a rule might cut: any cut at another
place gives other tokens. A pre-tokenizer's tokens of a text are stored as their lengths in bytes, one letter each
("." is the token of a single byte). `compare` needs build/release/assay-tokens. All need llama-cpp-python 0.3.36.
"""
import argparse
import ctypes
import json
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import unicodedata

import gguf

ROOT = pathlib.Path(__file__).resolve().parents[2]
STORED = ROOT / "tests/data/pre_tokenizers.json"
sys.path.insert(0, str(ROOT / "python"))
from assay import llama_cpp_engine  # noqa: E402
from assay.captured import CaptureError  # noqa: E402

NORMAL, BYTE = 1, 6
SPACE = "\u2581"
RAW_NAMES = ["gemma4", "granite-embed-multi-311m", "sarvam-moe"]

# ---- texts

WORDS = ["the", "The", "THE", "camelCase", "HTTPServer", "it's", "I'LL", "we'Ve", "don't", "d'Art", "naïve", "ÉCOLE",
         "Straße", "İstanbul", "мир", "МИР", "Привет", "καλημέρα", "שלום", "مرحبا", "नमस्ते", "ไทยแลนด์", "한국어",
         "日本語", "カタカナ", "ひらがな", "中文", "你好", "ㄅㄆ", "မြန်မာ", "ខ្មែរ", "ⅷ", "½", "٣٤", "१२३", "e\u0301a",
         "n\u0303", "IMGIMGABZ", "<sentinel:7>", "foo_bar", "x1y22z333", "\u1e9e", "ǅ", "ʰa"]
SPACES = [" ", "  ", "   ", "    ", "       ", "\t", "\n", "\n\n", "\n\n\n\n", "\r\n", " \n", "\n ", "\u00a0", "\u3000",
          "\u2028", "\u0085", " \t ", "\n \n"]
MARKS = list("!?.,;:'\"`()[]{}<>|/\\@#$%^&*-_=+~") + ["...", "!!", "->", "==", "\u2019s", "«»", "。", "、", "！", "…",
                                                      "\u200d", "\ufeff", "§", "€", "+", "$", "`", ".\n\n", "!/", "/\n"]
EMOJI = ["😀", "👩\u200d👩\u200d👧", "🇩🇪", "❤\ufe0f", "👍🏽", "🏴"]


def any_character(random_):
    """Of what Unicode assigns; what only some versions do would compare tables, not rules."""
    while True:
        character = chr(random_.randrange(0x110000))
        if unicodedata.category(character) not in ("Cn", "Cs", "Co"):
            return character


def text_of(random_, specials=()):
    kinds = [lambda: random_.choice(WORDS), lambda: random_.choice(WORDS), lambda: random_.choice(SPACES),
             lambda: " ", lambda: random_.choice(MARKS), lambda: random_.choice(EMOJI),
             lambda: "".join(random_.choice("0123456789") for _ in range(random_.randrange(1, 9))),
             lambda: any_character(random_)]
    if specials:
        kinds.append(lambda: random_.choice(specials))
    return "".join(random_.choice(kinds)() for _ in range(random_.randrange(1, 16)))


# ---- llama.cpp

class Library:
    def __init__(self):
        self.functions = llama_cpp_engine.load_bindings()
        self.quiet = self.functions.llama_log_callback(lambda *_: None)
        self.functions.llama_log_set(self.quiet, ctypes.c_void_p(0))
        self.functions.llama_backend_init()

    def open(self, path):
        parameters = self.functions.llama_model_default_params()
        parameters.vocab_only = True
        model = self.functions.llama_model_load_from_file(str(path).encode(), parameters)
        if not model:
            raise CaptureError(f"llama.cpp cannot load '{path}'")
        return model

    def close(self, model):
        self.functions.llama_model_free(model)

    def specials(self, model):
        vocabulary = self.functions.llama_model_get_vocab(model)
        special = 8 | 16  # LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_USER_DEFINED
        found = [self.functions.llama_vocab_get_text(vocabulary, i).decode()
                 for i in range(self.functions.llama_vocab_n_tokens(vocabulary))
                 if self.functions.llama_vocab_get_attr(vocabulary, i) & special]
        return [spelling for spelling in found if spelling != "</s>"]  # difference 3 of docs/tokenizers.md

    def has_our_kind(self, model):
        return self.functions.llama_vocab_type(self.functions.llama_model_get_vocab(model)) in (1, 2, 6)  # SPM, BPE, PLaMo

    def adds_bos(self, model):
        return bool(self.functions.llama_vocab_get_add_bos(self.functions.llama_model_get_vocab(model)))

    def tokens(self, model, text, special=False, parse_special=False):
        data = text.encode()
        ids = (self.functions.llama_token * (len(data) + 8))()
        count = self.functions.llama_tokenize(self.functions.llama_model_get_vocab(model), data, len(data), ids, len(ids),
                                              special, parse_special)
        if count < 0:
            raise CaptureError(f"llama.cpp gives no tokens of {text!r}")
        return list(ids[:count])


# ---- the stored vocabularies

def letters():
    """The letters in which byte-level vocabularies spell the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def merges_of(random_, words):
    """Of every two and every three symbols that stand side by side in the words; one merge a token, in any order."""
    pairs = {a + b: (a, b) for word in words for a, b in zip(word, word[1:])}
    threes = {}
    for word in words:
        for a, b, c in zip(word, word[1:], word[2:]):
            threes.setdefault(a + b + c, (a + b, c) if random_.random() < 0.5 else (a, b + c))
    order = [list(pairs.values()), list(threes.values())]
    for each in order:
        random_.shuffle(each)
    return [f"{a} {b}" for each in order for a, b in each]


def vocabulary_of(random_, texts, raw):
    """The tokens after those of the 256 bytes: what merges make, and words that only an entry reaches."""
    spell = letters()
    written = [text.replace(" ", SPACE) if raw else "".join(spell[byte] for byte in text.encode()) for text in texts]
    merges = merges_of(random_, written)
    made = {merge.replace(" ", "") for merge in merges}
    if raw:
        extra = [c for c in sorted(set("".join(written))) if random_.random() < 0.9] + ["\n\n\n\n", "\n" * 3]
    else:
        cuts = [cut for text in texts for cut in re.findall(r" ?\w+|\s+|[^\w\s]+", text)]
        extra = ["".join(spell[byte] for byte in cut.encode()) for cut in cuts if 3 < len(cut.encode()) < 20]
    return {"merges": merges, "tokens": [token for token in dict.fromkeys(extra) if token not in made]}


def tokens_of(vocabulary, raw):
    """All tokens of a stored vocabulary, as (spelling, type)."""
    base = [(f"<0x{byte:02X}>", BYTE) for byte in range(256)] if raw else [(letter, NORMAL) for letter in letters()]
    made = [merge.replace(" ", "") for merge in vocabulary["merges"]]
    return base + [(token, NORMAL) for token in made + vocabulary["tokens"]] + [("<bos>", 3)]


def writer_of(path, model, tokens):
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model(model)
    writer.add_token_list([spelling for spelling, _ in tokens])
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_bos_token_id(len(tokens) - 1)
    writer.add_eos_token_id(len(tokens) - 1)
    return writer


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def write(path, vocabulary, raw, name, add_bos=None):
    writer = writer_of(path, "gpt2", tokens_of(vocabulary, raw))
    writer.add_tokenizer_pre(name)
    writer.add_token_merges(vocabulary["merges"])
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)
    close(writer)


def write_scored(path, model, random_, texts):
    """A vocabulary of random parts of the texts with random scores, some of them equal."""
    space = SPACE if model == "llama" else " "
    parts = sorted({text[i:i + n].replace(" ", space) for text in texts for n in range(1, 8) for i in range(len(text) - n + 1)
                    if random_.random() < 0.2})
    specials = [("\n\n", 4), ("<s>", 3), ("<bos>", 3)]
    tokens = [("<unk>", 2)] + [(f"<0x{byte:02X}>", BYTE) for byte in range(256)] + [
        (part, NORMAL) for part in parts if part not in [spelling for spelling, _ in specials]] + specials
    writer = writer_of(path, model, tokens)
    writer.add_token_scores([random_.choice([-1.0, -2.5, -random_.random() * 20]) for _ in tokens])
    writer.add_add_space_prefix(False)
    close(writer)


def lengths(tokens, ids, raw):
    """One letter a token: its bytes, as 1 to 9, a, b, …; "." for the token of a byte in a raw vocabulary."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    out = ""
    for spelling, kind in (tokens[id] for id in ids):
        out += "." if kind == BYTE else digits[len(spelling.encode()) if raw else len(spelling)]
    return out


def pre_tokenizer_names():
    """The names that assay knows; `names` of the table of rules."""
    source = (ROOT / "src/text/pre_tokenizer_rules.cpp").read_text(encoding="utf-8")
    return re.findall(r'^    \{"([^"]+)", \w+', source, re.MULTILINE)


def record(library):
    random_ = random.Random(36)
    texts = [text_of(random_) for _ in range(60)] + ["a" + "\n" * 30 + "b", " " * 40 + "x", "1234567890 12345 1234",
                                                     "\n" * 4, "a\n\n\nb"]
    stored = {"texts": texts, "vocabularies": {}, "results": [], "bos": [], "bos_always": []}
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "v.gguf"
        for raw in (False, True):
            kind = "raw" if raw else "letters"
            vocabulary = stored["vocabularies"][kind] = vocabulary_of(random_, texts, raw)
            tokens = tokens_of(vocabulary, raw)
            for name in pre_tokenizer_names():
                if (name in RAW_NAMES) != raw:
                    continue
                for add_bos, key in ((False, "bos_always"), (None, "bos")):
                    write(path, vocabulary, raw, name, add_bos)
                    model = library.open(path)
                    if library.adds_bos(model):
                        stored[key].append(name)
                    if add_bos is None:
                        cuts = tuple(lengths(tokens, library.tokens(model, text), raw) for text in texts)
                        results.setdefault((kind, cuts), []).append(name)
                    library.close(model)
    for (kind, cuts), names in results.items():
        stored["results"].append({"names": names, "vocabulary": kind, "lengths": list(cuts)})
    return stored


# ---- real vocabularies

def with_pre(data, name):
    """A vocabulary's file with another pre-tokenizer (its bytes; there are no tensors whose place would change)."""
    def string(text):
        return struct.pack("<Q", len(text)) + text.encode()

    def entry(key, value):
        return string(key) + struct.pack("<I", 8) + string(value)

    count, = struct.unpack_from("<Q", data, 16)
    model = re.search(re.escape(string("tokenizer.ggml.model") + struct.pack("<I", 8)) + rb"(.{8})", data, re.DOTALL)
    end = model.end() + struct.unpack("<Q", model.group(1))[0]
    old = re.search(re.escape(string("tokenizer.ggml.pre") + struct.pack("<I", 8)) + rb"(.{8})", data, re.DOTALL)
    if old:  # it stands somewhere after the model
        old_end = old.end() + struct.unpack("<Q", old.group(1))[0]
        rest, count = data[end:old.start()] + data[old_end:], count - 1
    else:
        rest = data[end:]
    head = data[:16] + struct.pack("<Q", count + 1) + data[24:model.start()]
    return head + entry("tokenizer.ggml.model", "gpt2") + entry("tokenizer.ggml.pre", name) + rest


def ours(path, requests):
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([ROOT / "build/release/assay-tokens", path], input=lines, capture_output=True, text=True,
                          encoding="utf-8")
    if done.returncode:
        raise CaptureError(done.stderr.strip())
    return [json.loads(line)["tokens"] for line in done.stdout.splitlines()]


def differences(library, path, random_, count, without):
    """How many of so many random texts have other tokens; the first few are printed. None: not one of our models."""
    model = library.open(path)
    if not library.has_our_kind(model):
        library.close(model)
        return None
    specials = library.specials(model)
    requests = [{"text": text_of(random_, specials if i % 2 else ()).replace(without, ""),
                 "parse_special": i % 2 == 1, "add_special": i % 3 == 0} for i in range(count)]
    wrong = 0
    for request, mine in zip(requests, ours(path, requests)):
        theirs = library.tokens(model, request["text"], request["add_special"], request["parse_special"])
        if mine != theirs:
            wrong += 1
            if wrong <= 3:
                print(f"  {request}\n    assay:     {mine}\n    llama.cpp: {theirs}")
    library.close(model)
    return wrong


def compare(library, folder, count):
    random_, total = random.Random(), 0
    seed = random_.randrange(10**9)
    random_.seed(seed)
    print(f"seed {seed}, {count} texts each")

    def one(label, path, without="\0"):
        nonlocal total
        wrong = differences(library, path, random_, count, without)
        print(f"{label}: {'left out, another model' if wrong is None else f'{wrong} differences'}", flush=True)
        total += wrong or 0

    for path in sorted(folder.glob("ggml-vocab-*.gguf")):
        one(path.stem, path)
    with tempfile.TemporaryDirectory() as made:
        path = pathlib.Path(made) / "v.gguf"
        for model in ("plamo2", "llama"):  # gemma's, too, puts no space before a text
            for _ in range(4):
                texts = [text_of(random_) for _ in range(40)]
                write_scored(path, model, random_, texts)
                one(f"random scores, {model}", path, "\ufeff")  # difference 7 of docs/tokenizers.md
        for names, source in (([n for n in pre_tokenizer_names() if n not in RAW_NAMES], "ggml-vocab-llama-bpe.gguf"),
                              (RAW_NAMES, "ggml-vocab-gemma-4.gguf")):
            if not (folder / source).exists():
                print(f"{folder} has no {source}: {len(names)} names are left out")
                continue
            data = (folder / source).read_bytes()
            for name in names:
                path.write_bytes(with_pre(data, name))
                one(f"{source} as {name}", path)
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("store", "check", "compare"))
    parser.add_argument("folder", nargs="?", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=500, help="texts for each vocabulary")
    options = parser.parse_args()
    try:
        library = Library()
    except CaptureError as why:
        sys.exit(str(why))
    if options.what == "compare":
        if not options.folder:
            parser.error("compare needs the folder of the vocabularies")
        sys.exit(compare(library, options.folder, options.count) > 0)
    made = json.dumps(record(library), ensure_ascii=False, indent=0) + "\n"
    if options.what == "store":
        STORED.write_text(made, encoding="utf-8")
    elif made != STORED.read_text(encoding="utf-8"):
        sys.exit(f"llama.cpp gives other tokens than {STORED.relative_to(ROOT)} has")


if __name__ == "__main__":
    main()
