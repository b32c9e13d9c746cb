"""A model that says what a test wants: after each token one other token, whatever came before.

The embeddings are the unit vectors, and the output matrix has one large number a column. Attention and feed-forward add nothing,
unless a token is to follow once another one has been said: attention, which looks at all tokens alike, tells whether it was, and
feed-forward multiplies that with the token in hand.
"""
import gguf
import numpy

BYTES = 256


def letters():
    """The letters in which byte-level vocabularies spell the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


class Script:
    """Tokens are the 256 bytes, then `specials`: (spelling, type) pairs; type 3 is control, 4 user-defined."""

    def __init__(self, specials, template="", bos=None, eos=None, drop=b"", context=256, suppressed=()):
        self.specials = [spelling for spelling, _ in specials]
        self.types = [1] * BYTES + [kind for _, kind in specials]
        self.template, self.bos, self.eos, self.drop, self.context = template, bos, eos, drop, context
        self.suppressed = suppressed
        self.next, self.said, self.later = {}, None, {}

    def id(self, token):
        return BYTES + self.specials.index(token) if token in self.specials else token.encode()[0]

    def say(self, *tokens):
        """After each of the tokens (a special's spelling, or one character) comes the next one."""
        for token, after in zip(tokens, tokens[1:]):
            self.next[self.id(token)] = self.id(after)
        return self

    def once_said(self, said, *tokens):
        """As say(), in a text that has the token `said` (one for a script); 32 followers at most."""
        self.said = self.id(said)
        for token, after in zip(tokens, tokens[1:]):
            self.later[self.id(token)] = self.id(after)
        return self

    def write(self, path):
        count = BYTES + len(self.specials)
        width = (count + 1 + len(self.later) + 31) // 32 * 32
        spellings = letters() + self.specials
        for byte in self.drop:
            spellings[byte] = f"unused{byte}"
        writer = gguf.GGUFWriter(str(path), "llama")
        writer.add_context_length(self.context)
        writer.add_embedding_length(width)
        writer.add_block_count(1)
        writer.add_feed_forward_length(32)
        writer.add_head_count(width // 32)
        writer.add_head_count_kv(1)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(spellings)
        writer.add_token_types(self.types)
        writer.add_token_merges(["unused unused"])
        if self.template:
            writer.add_chat_template(self.template)
        if self.suppressed:
            writer.add_array("tokenizer.ggml.suppress_tokens", [self.id(token) for token in self.suppressed])
        if self.bos:
            writer.add_bos_token_id(self.id(self.bos))
            writer.add_add_bos_token(True)
        if self.eos:
            writer.add_eos_token_id(self.id(self.eos))
        output = numpy.zeros((count, width), numpy.float32)
        for token, after in self.next.items():
            output[after, token] = 10
        shapes = {"attn_q": (width, width), "attn_k": (32, width), "attn_v": (32, width), "attn_output": (width, width),
                  "ffn_gate": (32, width), "ffn_up": (32, width), "ffn_down": (width, 32)}
        weights = {name: numpy.zeros(shape, numpy.float32) for name, shape in shapes.items()}
        if self.later:
            weights["attn_v"][0, self.said] = weights["attn_output"][count, 0] = 1
        for i, (token, after) in enumerate(self.later.items()):
            weights["ffn_gate"][i, token] = weights["ffn_up"][i, count] = weights["ffn_down"][count + 1 + i, i] = 1
            output[after, count + 1 + i] = 10
        writer.add_tensor("token_embd.weight", numpy.eye(count, width, dtype=numpy.float32))
        writer.add_tensor("output.weight", output)
        writer.add_tensor("output_norm.weight", numpy.ones(width, numpy.float32))
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.0.{name}.weight", numpy.ones(width, numpy.float32))
        for name, weight in weights.items():
            writer.add_tensor(f"blk.0.{name}.weight", weight)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path
