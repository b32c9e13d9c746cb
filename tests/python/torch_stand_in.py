"""A stand-in of what the recorders use of torch: tensors with torch's names of types, modules with torch's hooks; and a
Llama made of such modules, called as transformers, vLLM or nobody calls them. It computes with numpy in float32, or
rounds every result to bfloat16.
"""
import collections
import types

import numpy as np


class Tensor:
    """An array with a type of torch's; bfloat16 is kept as the float32 that it is."""

    def __init__(self, array, kind=None):
        self.array = np.asarray(array)
        self.kind = kind or str(self.array.dtype)
        self.dtype, self.shape, self.ndim = f"torch.{self.kind}", self.array.shape, self.array.ndim

    def detach(self):
        return self

    def cpu(self):
        return self

    def float(self):
        return Tensor(self.array.astype("f4"))

    def numpy(self):
        if self.kind == "bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")  # as torch says
        return self.array

    def transpose(self, a, b):
        return Tensor(self.array.swapaxes(a, b), self.kind)

    def __getitem__(self, where):
        return Tensor(self.array[where.array if isinstance(where, Tensor) else where], self.kind)


def rounded(array, kind):
    """The values as a tensor of this type."""
    array = np.asarray(array, "f4")
    if kind == "bfloat16":
        bits = array.view("u4")
        array = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype("u4").view("f4")
    return Tensor(array.astype("f2") if kind == "float16" else array, kind)


class Handle:
    def __init__(self, hooks, hook):
        self.hooks, self.hook = hooks, hook
        hooks.append(hook)

    def remove(self):
        self.hooks.remove(self.hook)


class Module:
    """Children are attributes, or entries of a list."""

    def __init__(self, **children):
        self.before, self.after = [], []
        self.__dict__.update(children)

    def children(self):
        for name, value in self.__dict__.items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list):
                yield from ((f"{name}.{i}", each) for i, each in enumerate(value) if isinstance(each, Module))

    def named_modules(self, prefix="", seen=None):
        seen = set() if seen is None else seen
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def get_submodule(self, path):
        found = self
        for name in path.split(".") if path else []:
            found = found[int(name)] if isinstance(found, list) else getattr(found, name)
        return found

    def parameters(self):
        return [value for _, module in self.named_modules() for value in module.__dict__.values() if isinstance(value, Tensor)]

    def register_forward_pre_hook(self, hook, with_kwargs=False):
        return Handle(self.before, hook if with_kwargs else lambda module, arguments, _: hook(module, arguments))

    def register_forward_hook(self, hook, with_kwargs=False):
        return Handle(self.after, hook if with_kwargs else
                      lambda module, arguments, _, output: hook(module, arguments, output))

    def __call__(self, *arguments, **named):
        for hook in tuple(self.before):
            hook(self, arguments, named)
        output = self.forward(*arguments, **named)
        for hook in tuple(self.after):
            hook(self, arguments, named, output)
        return output


class Linear(Module):
    def __init__(self, weight, tupled=False):
        super().__init__()
        self.weight, self.tupled = weight, tupled

    def forward(self, x):
        y = rounded(x.array @ self.weight.array.T, x.kind)
        return (y, None) if self.tupled else y


class Embedding(Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, ids):
        return self.weight[ids]


class Norm(Module):
    """With a residual, as vLLM's: adds it first, and gives the sum, too."""

    def __init__(self, weight, eps):
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, x, residual=None):
        total = x if residual is None else rounded(x.array + residual.array, x.kind)
        size = np.sqrt((total.array.astype("f8") ** 2).mean(-1, keepdims=True) + self.eps).astype("f4")
        normed = rounded(total.array / size * self.weight.array, x.kind)
        return normed if residual is None else (normed, total)


def apply_rotary_pos_emb(q, k, cos, sin):
    """Halves: lane i turns with lane i + half. q, k: (1, heads, tokens, lanes)."""
    def turned(x):
        half = x.array.shape[-1] // 2
        swapped = np.concatenate([-x.array[..., half:], x.array[..., :half]], -1)
        return rounded(x.array * cos + swapped * sin, x.kind)
    return turned(q), turned(k)


def angles(positions, lanes, base):
    turns = np.outer(np.asarray(positions, "f8"), base ** (-np.arange(0, lanes, 2) / lanes))
    turns = np.concatenate([turns, turns], -1)
    return np.cos(turns).astype("f4"), np.sin(turns).astype("f4")


def attended(q, keys, values, positions, kind):
    """(tokens, heads, lanes) of queries over (positions, kv heads, lanes)."""
    group = q.shape[1] // keys.shape[1]
    keys, values = (np.repeat(each, group, axis=1) for each in (keys, values))
    scores = np.einsum("thd,shd->hts", q, keys) / np.sqrt(q.shape[-1])
    scores[:, np.arange(len(keys))[None, :] > np.asarray(positions)[:, None]] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return rounded(np.einsum("hts,shd->thd", weights, values).reshape(len(q), -1), kind)


def silu(x):
    return x / (1 + np.exp(-x))


class Weights:
    """Of a GGUF file of the architecture llama, by its names; Q and K as PyTorch has them."""

    def __init__(self, model, kind):
        self.model, self.kind = model, kind

    def __getitem__(self, name):
        array = self.model.weight(name + ".weight")
        if name.endswith(("attn_q", "attn_k")):
            array = array.reshape(-1, self.model.head // 2, 2, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)
        return rounded(array, self.kind)


class Attention(Module):
    """As transformers' classes call it: q_proj, k_proj, v_proj, o_proj, and the function apply_rotary_pos_emb."""

    def __init__(self, weights, i, facts, names):
        super().__init__()
        self.names, self.facts, self.cache = names, facts, []
        for name, own in zip(("attn_q", "attn_k", "attn_v", "attn_output"), names):
            setattr(self, own, Linear(weights[f"blk.{i}.{name}"]))

    def forward(self, hidden_states, positions):
        q, k, v = (getattr(self, name)(hidden_states) for name in self.names[:3])
        heads = [rounded(x.array.reshape(1, x.array.shape[1], -1, self.facts.head).swapaxes(1, 2), x.kind) for x in (q, k, v)]
        q, k = apply_rotary_pos_emb(heads[0], heads[1], *angles(positions, self.facts.head, self.facts.base))
        del self.cache[positions[0]:]
        self.cache += list(zip(k.array[0].swapaxes(0, 1), heads[2].array[0].swapaxes(0, 1)))
        keys, values = (np.stack([pair[i] for pair in self.cache]) for i in (0, 1))
        y = attended(q.array[0].swapaxes(0, 1), keys, values, positions, q.kind)
        return getattr(self, self.names[3])(Tensor(y.array[None], y.kind)), None


class Mlp(Module):
    def __init__(self, weights, i, names):
        super().__init__()
        self.names = names
        for name, own in zip(("ffn_gate", "ffn_up", "ffn_down"), names):
            setattr(self, own, Linear(weights[f"blk.{i}.{name}"]))

    def forward(self, x):
        gate, up = (getattr(self, name)(x) for name in self.names[:2])
        return getattr(self, self.names[2])(rounded(silu(gate.array) * up.array, x.kind))


class Block(Module):
    def __init__(self, weights, i, facts, names):
        super().__init__()
        self.names = names
        setattr(self, names.norms[0], Norm(weights[f"blk.{i}.attn_norm"], facts.eps))
        setattr(self, names.attention, Attention(weights, i, facts, names.products))
        setattr(self, names.norms[1], Norm(weights[f"blk.{i}.ffn_norm"], facts.eps))
        setattr(self, names.mlp, Mlp(weights, i, names.mlp_products))

    def forward(self, x, positions):
        part = {name: getattr(self, name) for name in (*self.names.norms, self.names.attention, self.names.mlp)}
        mixed, _ = part[self.names.attention](hidden_states=part[self.names.norms[0]](x), positions=positions)
        x = rounded(x.array + mixed.array, x.kind)
        return rounded(x.array + part[self.names.mlp](part[self.names.norms[1]](x)).array, x.kind)


Names = collections.namedtuple("Names", "norms attention products mlp mlp_products")
AS_TRANSFORMERS = Names(("input_layernorm", "post_attention_layernorm"), "self_attn",
                        ("q_proj", "k_proj", "v_proj", "o_proj"), "mlp", ("gate_proj", "up_proj", "down_proj"))
OWN = Names(("ln1", "ln2"), "mix", ("query", "key", "value", "merge"), "feed", ("w1", "w3", "w2"))


class Inner(Module):
    def __init__(self, weights, facts, names):
        super().__init__(embed_tokens=Embedding(weights["token_embd"]),
                         layers=[Block(weights, i, facts, names) for i in range(facts.layers)],
                         norm=Norm(weights["output_norm"], facts.eps))

    def forward(self, ids, positions):
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, positions=positions)
        return self.norm(x)


class Llama(Module):
    """`transformers`: with the tree and the configuration that transformers' LlamaForCausalLM has; else with its own."""

    def __init__(self, model, transformers=True, kind="float32", last_only=False):
        super().__init__()
        weights, names = Weights(model, kind), AS_TRANSFORMERS if transformers else OWN
        inner = Inner(weights, model, names)
        head = Linear(weights["output" if "output.weight" in model else "token_embd"])
        self.last_only, self.length = last_only, 0
        if transformers:
            self.model, self.lm_head = inner, head
            self.config = types.SimpleNamespace(model_type="llama", hidden_size=model.width, head_dim=model.head,
                                                num_attention_heads=model.heads, num_key_value_heads=model.kv_heads)
        else:
            self.body, self.to_words = inner, head

    def forward(self, input_ids, position_ids=None, cache=None):
        count = input_ids.shape[-1]
        first = cache.get_seq_length() if cache else 0
        positions = list(range(first, first + count)) if position_ids is None else position_ids.array.reshape(-1).tolist()
        inner, head = (self.model, self.lm_head) if hasattr(self, "model") else (self.body, self.to_words)
        x = inner(input_ids, positions=positions)
        if cache:
            cache.length += count
        return head(x[:, -1:] if self.last_only else x)


class Cache:
    """How many tokens the model has seen; what it has of them is in the modules."""

    def __init__(self):
        self.length = 0

    def __bool__(self):
        return True

    def get_seq_length(self):
        return self.length


def ids(*tokens):
    return Tensor(np.array([tokens], "i8"))


class Pair(Module):
    """vLLM's rotary module: turns both, by positions; all layers share it."""

    def __init__(self, facts):
        super().__init__()
        self.facts = facts

    def forward(self, positions, q, k):
        heads = [rounded(x.array.reshape(1, len(x.array), -1, self.facts.head).swapaxes(1, 2), x.kind) for x in (q, k)]
        turned = apply_rotary_pos_emb(*heads, *angles(positions.array, self.facts.head, self.facts.base))
        return tuple(rounded(x.array[0].swapaxes(0, 1).reshape(len(positions.array), -1), x.kind) for x in turned)


class Kernel(Module):
    def __init__(self, facts):
        super().__init__()
        self.facts, self.cache = facts, []

    def forward(self, q, k, v):
        shaped = [x.array.reshape(len(x.array), -1, self.facts.head) for x in (q, k, v)]
        first = len(self.cache)
        self.cache += list(zip(shaped[1], shaped[2]))
        keys, values = (np.stack([pair[i] for pair in self.cache]) for i in (0, 1))
        return attended(shaped[0], keys, values, range(first, first + len(q.array)), q.kind)


def stacked(*tensors):
    return Tensor(np.concatenate([tensor.array for tensor in tensors]), tensors[0].kind)


class ServingAttention(Module):
    def __init__(self, weights, i, facts, rotary):
        super().__init__()
        part = [weights[f"blk.{i}.attn_{name}"] for name in "qkv"]
        self.q_size, self.kv_size = part[0].shape[0], part[1].shape[0]
        self.qkv_proj = Linear(stacked(*part), tupled=True)
        self.o_proj = Linear(weights[f"blk.{i}.attn_output"], tupled=True)
        self.rotary_emb, self.attn = rotary, Kernel(facts)

    def forward(self, positions, hidden_states):
        qkv, _ = self.qkv_proj(hidden_states)
        ends = self.q_size, self.q_size + self.kv_size
        q, k = self.rotary_emb(positions, qkv[:, :ends[0]], qkv[:, ends[0]:ends[1]])
        return self.o_proj(self.attn(q, k, qkv[:, ends[1]:]))[0]


class SiluAndMul(Module):
    def forward(self, x):
        half = x.array.shape[-1] // 2
        return rounded(silu(x.array[:, :half]) * x.array[:, half:], x.kind)


class ServingMlp(Module):
    def __init__(self, weights, i):
        super().__init__(gate_up_proj=Linear(stacked(weights[f"blk.{i}.ffn_gate"], weights[f"blk.{i}.ffn_up"]), tupled=True),
                         act_fn=SiluAndMul(), down_proj=Linear(weights[f"blk.{i}.ffn_down"], tupled=True))

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_up_proj(x)[0]))[0]


class ServingBlock(Module):
    def __init__(self, weights, i, facts, rotary):
        super().__init__(input_layernorm=Norm(weights[f"blk.{i}.attn_norm"], facts.eps),
                         self_attn=ServingAttention(weights, i, facts, rotary),
                         post_attention_layernorm=Norm(weights[f"blk.{i}.ffn_norm"], facts.eps),
                         mlp=ServingMlp(weights, i))

    def forward(self, positions, x, residual):
        if residual is None:
            residual, x = x, self.input_layernorm(x)
        else:
            x, residual = self.input_layernorm(x, residual)
        x, residual = self.post_attention_layernorm(self.self_attn(positions=positions, hidden_states=x), residual)
        return self.mlp(x), residual


class ServingInner(Module):
    def __init__(self, weights, facts):
        rotary = Pair(facts)
        super().__init__(embed_tokens=Embedding(weights["token_embd"]),
                         layers=[ServingBlock(weights, i, facts, rotary) for i in range(facts.layers)],
                         norm=Norm(weights["output_norm"], facts.eps))

    def forward(self, input_ids, positions, *_):
        x, residual = self.embed_tokens(input_ids), None
        for layer in self.layers:
            x, residual = layer(positions, x, residual)
        return self.norm(x, residual)[0]


class LogitsProcessor(Module):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, head, x):
        logits = rounded(x.array[-1:] @ head.weight.array.T, x.kind)
        return types.SimpleNamespace(next_token_logits=logits) if self.wrap else logits


class ServingLlama(Module):
    """The tree of vLLM's LlamaForCausalLM, and of SGLang's; a row a token, logits of the last one."""

    def __init__(self, model, package, kind="float32"):
        weights = Weights(model, kind)
        super().__init__(model=ServingInner(weights, model),
                         lm_head=Embedding(weights["output" if "output.weight" in model else "token_embd"]),
                         logits_processor=LogitsProcessor(package == "sglang"))
        config = types.SimpleNamespace(model_type="llama", hidden_size=model.width, head_dim=model.head,
                                       num_attention_heads=model.heads)
        self.config = self.model.config = config
        self.first = 0

    def forward(self, input_ids, positions):
        return self.logits_processor(self.lm_head, self.model(input_ids, positions, None))

    def run(self, *tokens):
        """What the engine's runner does for one step: the logits come after the call of the model."""
        positions = Tensor(np.arange(self.first, self.first + len(tokens)))
        self.first += len(tokens)
        x = self.model(Tensor(np.array(tokens)), positions, None)
        return self.logits_processor(self.lm_head, x)


def serving_class(package):
    """ServingLlama under the name that the package's class has."""
    module = f"{package}.models.llama"
    inner = type("LlamaModel", (ServingInner,), {"__module__": module})

    class LlamaForCausalLM(ServingLlama):
        __module__ = f"{package}.models.llama"

        def __init__(self, model, kind="float32"):
            super().__init__(model, package, kind)
            self.model.__class__ = inner
    return LlamaForCausalLM
