"""A small llama model as GGUF bytes, each field of which can be wrong on its own. Standard library only."""
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_PACK = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<B", U64: "<Q", I64: "<q",
         F64: "<d"}
# Tensor types: (weights a block, bytes a block)
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 12: (256, 144), 24: (1, 1), 28: (1, 8)}


def string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind, data):
    """`data` as GGUF writes a value of this kind; an array is (element kind, list)."""
    if kind == STRING:
        return string(data)
    if kind == ARRAY:
        element, items = data
        return struct.pack("<IQ", element, len(items)) + b"".join(value(element, item) for item in items)
    return struct.pack(_PACK[kind], data)


class Tensor:
    def __init__(self, name, dims, kind=0):
        self.name, self.dims, self.kind = name, list(dims), kind
        self.n_dims = None  # where it shall lie
        self.offset = None  # from the data's start; None: after the tensor before

    def size(self):
        block, size = BLOCKS.get(self.kind, (1, 4))
        elements = 1
        for dim in self.dims:
            elements *= dim
        return elements // block * size


class Gguf:
    """`metadata`: key → (kind, data), in order."""

    def __init__(self):
        self.magic, self.version, self.alignment = b"GGUF", 3, 32
        self.metadata, self.tensors = {}, []
        self.extra_entries = []  # whole entries as bytes, after the others
        self.metadata_count = self.tensor_count = None  # where they shall lie
        self.marks = {}          # section → offset of its first byte, filled in by bytes()

    def tensor(self, name):
        return next(t for t in self.tensors if t.name == name)

    def bytes(self, with_data=True):
        out = bytearray()

        def mark(name):
            self.marks[name] = len(out)

        mark("magic")
        out += self.magic
        mark("version")
        out += struct.pack("<I", self.version)
        mark("tensor count")
        out += struct.pack("<Q", len(self.tensors) if self.tensor_count is None else self.tensor_count)
        mark("metadata count")
        count = len(self.metadata) + len(self.extra_entries)
        out += struct.pack("<Q", count if self.metadata_count is None else self.metadata_count)
        for key, (kind, data) in self.metadata.items():
            mark(f"key {key}")
            out += string(key)
            mark(f"type {key}")
            out += struct.pack("<I", kind)
            mark(f"value {key}")
            out += value(kind, data)
        for entry in self.extra_entries:
            out += entry
        offset = 0
        for tensor in self.tensors:
            mark(f"tensor {tensor.name}")
            out += string(tensor.name)
            mark(f"dims {tensor.name}")
            out += struct.pack("<I", len(tensor.dims) if tensor.n_dims is None else tensor.n_dims)
            for dim in tensor.dims:
                out += struct.pack("<Q", dim)
            out += struct.pack("<I", tensor.kind)
            mark(f"offset {tensor.name}")
            out += struct.pack("<Q", offset if tensor.offset is None else tensor.offset)
            size = tensor.size() if tensor.size() < 1 << 20 else 0  # a wild one has no data
            offset += (size + self.alignment - 1) // self.alignment * self.alignment
        mark("padding")
        if with_data:
            out += bytes(-len(out) % self.alignment)
            mark("data")
            out += bytes(offset)
        return bytes(out)


def byte_tokens():
    return [f"<0x{i:02X}>" for i in range(256)]


def add_sentence_pieces(file):
    """A `llama` tokenizer: unknown, BOS, EOS, 256 bytes, a few pieces."""
    tokens = ["<unk>", "<s>", "</s>", *byte_tokens(), "\u2581", "a", "b", "\u2581a", "ab", "<|x|>"]
    types = [2, 3, 3, *[6] * 256, 1, 1, 1, 1, 1, 4]
    file.metadata["tokenizer.ggml.model"] = (STRING, "llama")
    file.metadata["tokenizer.ggml.tokens"] = (ARRAY, (STRING, tokens))
    file.metadata["tokenizer.ggml.scores"] = (ARRAY, (F32, [-float(i) for i in range(len(tokens))]))
    file.metadata["tokenizer.ggml.token_type"] = (ARRAY, (I32, types))
    file.metadata["tokenizer.ggml.bos_token_id"] = (U32, 1)
    file.metadata["tokenizer.ggml.eos_token_id"] = (U32, 2)
    file.metadata["tokenizer.ggml.unknown_token_id"] = (U32, 0)
    return len(tokens)


def add_byte_pairs(file):
    """A `gpt2` tokenizer: the 256 letters of bytes, a merge, two control tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    letters = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    tokens = [letters[b] for b in range(256)] + ["ab", "<|im_start|>", "<|im_end|>"]
    file.metadata["tokenizer.ggml.model"] = (STRING, "gpt2")
    file.metadata["tokenizer.ggml.pre"] = (STRING, "gpt-2")
    file.metadata["tokenizer.ggml.tokens"] = (ARRAY, (STRING, tokens))
    file.metadata["tokenizer.ggml.token_type"] = (ARRAY, (I32, [1] * 257 + [3, 3]))
    file.metadata["tokenizer.ggml.merges"] = (ARRAY, (STRING, ["a b"]))
    file.metadata["tokenizer.ggml.bos_token_id"] = (U32, 257)
    file.metadata["tokenizer.ggml.eos_token_id"] = (U32, 258)
    return len(tokens)


TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def small_model(tokenizer=add_byte_pairs):
    """One layer, width 32, two heads on one KV head, tied head, about 30 KB."""
    file = Gguf()
    file.metadata = {
        "general.architecture": (STRING, "llama"),
        "general.alignment": (U32, 32),
        "llama.block_count": (U32, 1),
        "llama.embedding_length": (U32, 32),
        "llama.feed_forward_length": (U32, 32),
        "llama.attention.head_count": (U32, 2),
        "llama.attention.head_count_kv": (U32, 1),
        "llama.context_length": (U32, 64),
        "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "llama.rope.freq_base": (F32, 10000.0),
    }
    vocabulary = tokenizer(file)
    file.metadata["tokenizer.chat_template"] = (STRING, TEMPLATE)
    file.tensors = [Tensor("token_embd.weight", (32, vocabulary), 8), Tensor("output_norm.weight", (32,)),
                    Tensor("blk.0.attn_norm.weight", (32,)), Tensor("blk.0.ffn_norm.weight", (32,)),
                    Tensor("blk.0.attn_q.weight", (32, 32), 8), Tensor("blk.0.attn_k.weight", (32, 16), 8),
                    Tensor("blk.0.attn_v.weight", (32, 16), 8), Tensor("blk.0.attn_output.weight", (32, 32), 8),
                    Tensor("blk.0.ffn_gate.weight", (32, 32), 8), Tensor("blk.0.ffn_up.weight", (32, 32), 8),
                    Tensor("blk.0.ffn_down.weight", (32, 32), 8)]
    return file
