"""Random configurations of the classes of transformers that `assay convert` takes.

    case = draws.draw("Qwen3Moe", 7)         # always the same

Whatever a class lets one set is drawn: widths, heads, experts, windows, RoPE, biases, ties, activations.
"""
import random

import families
import models

FAMILIES = ["Llama", "Mistral", "Ministral3", "Qwen2", "Qwen2Moe", "Qwen3", "Qwen3Moe", "Gemma2", "Gemma3Text", "Gemma4Text",
            "GptOss", "Phi3", "Mixtral", "Granite", "GraniteMoe", "Olmo2", "Olmo3", "Olmoe", "SmolLM3", "Glm4", "Glm4Moe", "SeedOss",
            "Exaone4", "Cohere2", "Ernie4_5", "Ernie4_5_Moe", "HunYuanDenseV1", "StableLm", "Starcoder2", "Arcee", "MiniMaxM2",
            "Apertus"]

OWN_HEAD_DIM = {"Llama", "Mistral", "Ministral3", "Qwen3", "Qwen3Moe", "Gemma2", "Gemma3Text", "Gemma4Text", "GptOss", "Mixtral",
                "Glm4", "Glm4Moe", "SeedOss", "Ernie4_5", "HunYuanDenseV1", "Arcee", "MiniMaxM2"}
PARTIAL = {"Glm4", "Glm4Moe", "StableLm", "MiniMaxM2", "Phi3"}
GELU = {"Gemma2", "Gemma3Text", "Gemma4Text"}
ATTENTION_BIAS = {"Llama", "Qwen3", "Qwen3Moe", "Gemma2", "Gemma3Text", "Gemma4Text", "GptOss", "Granite", "GraniteMoe", "Olmo2",
                  "Olmo3", "Olmoe", "SmolLM3", "Glm4", "Glm4Moe", "SeedOss", "Cohere2", "HunYuanDenseV1", "Arcee", "Apertus"}
MLP_BIAS = {"Llama", "Granite", "SmolLM3", "SeedOss", "Arcee"}
LAYER_NORM = {"Cohere2": "layer_norm_eps", "StableLm": "layer_norm_eps", "Starcoder2": "norm_epsilon"}
FACTORS = {"Llama", "Mistral", "Ministral3", "Mixtral", "Granite", "GraniteMoe", "Exaone4", "Arcee", "Apertus"}
WINDOW = ["sliding_attention", "full_attention"]


class Draw(random.Random):
    def maybe(self, share=0.5):
        return self.random() < share

    def types(self, layers):
        return [self.choice(WINDOW) for _ in range(layers)]


def window(r):
    return r.choice([8, 48, 64])


def yarn(r, theta):
    rope = families.yarn(theta, r.choice([1.0, 2.5, 4.0, 16.0]), r.choice([64, 256, 512]))
    if r.maybe(0.3):
        rope |= {"beta_fast": r.choice([32.0, 16.0, 64.0]), "beta_slow": r.choice([1.0, 2.0])}
    if r.maybe(0.3):
        rope |= {"attention_factor": r.choice([0.8, 1.0, 1.3])}
    if r.maybe(0.3):
        rope |= {"mscale": r.choice([0.7, 1.0]), "mscale_all_dim": r.choice([1.0, 0.5])}
    if r.maybe(0.2):
        rope |= {"truncate": r.maybe()}
    return rope


def longrope(r, theta, pairs):
    rope = {"rope_type": "longrope", "rope_theta": theta, "original_max_position_embeddings": r.choice([64, 512]),
            "short_factor": models.factors(pairs, 1.0, 1.5), "long_factor": models.factors(pairs, 1.0, 9.0)}
    if r.maybe(0.3):
        rope["factor"] = r.choice([2.0, 4.0])
    if r.maybe(0.3):
        rope["attention_factor"] = 1.25
    return rope


def rope(r, family, head):
    """rope_parameters, of one kind of layer."""
    shares = [0.25, 0.3, 0.5, 0.75, 1.0]
    if family == "StableLm":  # of an odd count it fails itself
        shares = [share for share in shares if int(head * share) % 2 == 0]
    share = r.choice(shares) if family in PARTIAL else 1.0
    share = {"partial_rotary_factor": share} if family in PARTIAL else {}
    pairs = (int(head * share.get("partial_rotary_factor", 1.0)) + 1) // 2  # of an odd count transformers makes one more
    theta = r.choice([10000.0, 500000.0, 1000000.0])
    kinds = ["default", "linear", "yarn"] * 4 + ["dynamic", "llama3", "longrope", "proportional"]
    if family in FACTORS:
        kinds += ["llama3", "longrope", "proportional"] * 2
    kind = r.choice(["default", "longrope"] if family == "Phi3" else kinds)
    if kind == "proportional" and share:
        kind = "default"
    if kind == "linear":
        return {"rope_type": kind, "rope_theta": theta, "factor": r.choice([2.0, 2.5, 8.0]), **share}
    if kind == "dynamic":
        return {"rope_type": kind, "rope_theta": theta, "factor": 2.0, **share}
    if kind == "yarn":
        return yarn(r, theta) | share
    if kind == "llama3":
        return {"rope_type": kind, "rope_theta": theta, "factor": r.choice([8.0, 32.0]), "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": r.choice([64, 512])} | share
    if kind == "longrope":
        return longrope(r, theta, pairs) | share
    if kind == "proportional":
        return {"rope_type": kind, "rope_theta": theta, "partial_rotary_factor": r.choice([0.25, 0.5, 1.0])}
    return models.plain(theta, **share)


def experts(r, config, **names):
    count = r.choice([4, 6, 8])
    return {names["count"]: count, names["used"]: r.randint(1, min(count, 4))}


def own(r, family, c):
    """What a class has for itself."""
    layers = c["num_hidden_layers"]
    routed = experts(r, c, count="num_experts", used="num_experts_per_tok")
    local = experts(r, c, count="num_local_experts", used="num_experts_per_tok")
    sparse = dict(moe_intermediate_size=r.choice([64, 100]), norm_topk_prob=r.maybe(), decoder_sparse_step=r.choice([1, 1, 1, 2]),
                  mlp_only_layers=r.choice([[], [], [0], [1, 3]]), **routed)
    slide = dict(sliding_window=window(r) if r.maybe(0.7) else None)
    switched = dict(use_sliding_window=r.maybe(), sliding_window=window(r))
    granite = dict(embedding_multiplier=r.choice([1.0, 6.0]), attention_multiplier=r.choice([0.05, 0.2]),
                   residual_multiplier=r.choice([1.0, 0.4]), logits_scaling=r.choice([1.0, 4.0, 0.5]))
    match family:
        case "Mistral" | "Ministral3":
            return slide
        case "Qwen2" | "Qwen3":
            return upper(r, layers, switched)
        case "Qwen2Moe":
            return upper(r, layers, switched) | sparse | dict(shared_expert_intermediate_size=r.choice([96, 160]),
                                                              qkv_bias=r.maybe(0.7))
        case "Qwen3Moe":
            return switched | sparse
        case "Gemma2":
            return dict(sliding_window=window(r), query_pre_attn_scalar=r.choice([48, 64, 100]), layer_types=r.types(layers),
                        attn_logit_softcapping=r.choice([None, 20.0, 50.0]), final_logit_softcapping=r.choice([None, 15.0]))
        case "Gemma3Text":
            return dict(sliding_window=window(r), query_pre_attn_scalar=r.choice([48, 64, 100]), layer_types=r.types(layers),
                        attn_logit_softcapping=r.choice([None, 20.0]), final_logit_softcapping=r.choice([None, 15.0]))
        case "Gemma4Text":
            return gemma4(r, c)
        case "GptOss":
            return slide_required(r) | local | dict(layer_types=r.types(layers))
        case "Phi3":
            return slide | dict(original_max_position_embeddings=c["rope_parameters"].get(
                "original_max_position_embeddings", c["max_position_embeddings"]))
        case "Mixtral":
            return slide | local
        case "Granite":
            return granite
        case "GraniteMoe":
            return granite | local
        case "Olmo3":
            return slide_required(r) | dict(layer_types=r.types(layers))
        case "Olmoe":
            return routed | dict(norm_topk_prob=r.maybe(), clip_qkv=r.choice([None, None, 1.5]))
        case "SmolLM3":
            listed = dict(no_rope_layers=[r.randint(0, 1) for _ in range(layers)])
            return switched | (listed if r.maybe() else dict(no_rope_layer_interval=r.choice([2, 3, 4])))
        case "Glm4Moe":
            groups = r.choice([1, 2, 4])
            return dict(use_qk_norm=r.maybe(), moe_intermediate_size=r.choice([64, 100]), n_routed_experts=8,
                        num_experts_per_tok=r.randint(1, 2), n_shared_experts=r.choice([1, 2]), n_group=groups,
                        topk_group=r.randint(1, groups), first_k_dense_replace=r.randint(0, layers - 1),
                        routed_scaling_factor=r.choice([1.0, 1.8]), norm_topk_prob=r.maybe())
        case "SeedOss":
            return dict(attention_out_bias=r.maybe(), attention_dropout=0.0, residual_dropout=0.0)
        case "Exaone4":
            return slide | dict(layer_types=r.types(layers) if slide["sliding_window"] else ["full_attention"] * layers)
        case "Cohere2":
            return slide_required(r) | dict(layer_types=r.types(layers), logit_scale=r.choice([0.25, 1.0]))
        case "Ernie4_5":
            return dict(use_bias=r.maybe(0.3))
        case "Ernie4_5_Moe":
            start = r.randint(0, 2)
            return dict(moe_intermediate_size=r.choice([64, 100]), moe_k=r.randint(1, 3), moe_num_experts=8,
                        moe_num_shared_experts=r.choice([0, 1, 2]), moe_layer_start_index=start, moe_layer_interval=r.choice([1, 1, 2]),
                        moe_layer_end_index=r.choice([-1, -1, layers - 1, layers - 2]), use_bias=r.maybe(0.2))
        case "StableLm":
            return dict(use_qkv_bias=r.maybe(), use_parallel_residual=r.maybe(), qk_layernorm=r.maybe())
        case "Starcoder2":
            return slide | dict(use_bias=r.maybe(0.7), residual_dropout=0.0, embedding_dropout=0.0)
        case "MiniMaxM2":
            return local
    return {}


def upper(r, layers, switched):
    """Which layers have the window of Qwen's classes."""
    if r.maybe() or not switched["use_sliding_window"]:
        return switched | dict(max_window_layers=r.randint(0, layers))
    return switched | dict(layer_types=r.types(layers))


def slide_required(r):
    return dict(sliding_window=window(r))


def gemma4(r, c):
    layers = c["num_hidden_layers"]
    kinds = r.types(layers - 1) + ["full_attention"]
    # Layers that share a cache need one of their kind before them.
    most = max((n for n in range(layers) if set(kinds[:layers - n]) == set(kinds)), default=0)
    same = r.maybe()
    part = dict(sliding_window=window(r), layer_types=kinds, global_head_dim=c["head_dim"] * (1 if same else 2),
                num_kv_shared_layers=r.randint(0, most), final_logit_softcapping=r.choice([None, 15.0]),
                hidden_size_per_layer_input=r.choice([0, 16, 32]), vocab_size_per_layer_input=c["vocab_size"],
                use_double_wide_mlp=r.maybe())
    if r.maybe():
        part |= dict(attention_k_eq_v=True, num_global_key_value_heads=r.choice([None, 1, c["num_key_value_heads"]]))
    if r.maybe():
        part |= dict(enable_moe_block=True, num_experts=8, top_k_experts=r.randint(1, 3), moe_intermediate_size=r.choice([32, 64]))
    if not part["hidden_size_per_layer_input"]:
        part["num_kv_shared_layers"] = 0  # transformers 5.24 cannot run the two together
    return part


def draw(family, seed):
    r = Draw(f"{family} {seed}")
    heads = r.choice([2, 4, 6, 8])
    kv_heads = r.choice([n for n in range(1, heads + 1) if heads % n == 0])
    hidden = heads * r.choice([16, 24, 32])
    head = r.choice([32, 36, 48, 64, 80, 96, 128]) if family in OWN_HEAD_DIM else hidden // heads
    context = r.choice([512, 2048])
    config = families.base(heads, kv_heads, r.randint(4, 7), hidden, r.choice([77, 96, 150, 160]), context, rope(r, family, head))
    config |= dict(vocab_size=r.choice([257, 300, 320, 331]), tie_word_embeddings=r.maybe())
    config[LAYER_NORM.get(family, "rms_norm_eps")] = r.choice([1e-6, 1e-5, 1e-3])
    if family in OWN_HEAD_DIM:
        config["head_dim"] = head
    if family in ATTENTION_BIAS:
        config["attention_bias"] = r.maybe(0.9 if family == "GptOss" else 0.4)
    if family in MLP_BIAS:
        config["mlp_bias"] = r.maybe(0.4)
    if r.maybe(0.08):
        config["hidden_activation" if family in GELU else "hidden_act"] = r.choice(["gelu", "gelu_pytorch_tanh", "silu", "relu"])
    if family == "Ministral3":
        config["rope_parameters"].setdefault("original_max_position_embeddings", 64)
        config["rope_parameters"]["llama_4_scaling_beta"] = r.choice([0.0, 0.1, 0.5])
    config |= own(r, family, config)
    if family in ("Gemma3Text", "Gemma4Text", "Olmo3"):  # one for each kind of layer
        whole = config["rope_parameters"]
        if family == "Gemma4Text" and r.maybe():
            whole = {"rope_type": "proportional", "rope_theta": 1000000.0, "partial_rotary_factor": r.choice([0.25, 0.5])}
        theta = r.choice([10000.0, whole["rope_theta"]])
        config["rope_parameters"] = {"sliding_attention": models.plain(theta), "full_attention": whole}
    return families.Case(f"{family}-{seed}", config, r.choice([90, 130, 300, 700]))
