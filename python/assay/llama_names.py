"""What the nodes of llama.cpp's graphs are called in docs/trace-format.md: the table of src/trace/llama_names.cpp."""
from __future__ import annotations

# Products with a matrix, whose nodes are the product itself, its scale and its bias.
PRODUCTS = {
    "q": "Qcur", "k": "Kcur", "v": "Vcur", "qkv": "wqkv wqkv_b", "attn_out": "attn_out attn_output",
    "gate": "ffn_gate ffn_gate_b ffn_gate_s", "up": "ffn_up ffn_up_b ffn_up_s", "down": "ffn_down ffn_down_s ffn_out",
    "router": "ffn_moe_logits ffn_moe_logits_biased ffn_moe_probs",
    "experts_gate": "ffn_moe_gate ffn_moe_gate_scaled ffn_moe_gate_biased",
    "experts_up": "ffn_moe_up ffn_moe_up_scaled ffn_moe_up_biased",
    "experts_down": "ffn_moe_down ffn_moe_down_scaled ffn_moe_down_biased",
    "shared_down": "ffn_shexp", "shared_router": "shared_expert_gate",
}
LOGITS = "result_output_no_bias result_output"
NODES = ("MUL_MAT", "MUL_MAT_ID", "MUL", "ADD", "ADD_ID")
# Other operations, as NAME.OPERATION.
OF_LAYERS = {
    "attn_norm": "attn_norm.MUL attn_norm.ADD", "q_norm": "Qcur_normed.MUL Qcur_normed.ADD",
    "k_norm": "Kcur_normed.MUL Kcur_normed.ADD", "v_norm": "Vcur_normed.RMS_NORM", "q_rope": "Qcur.ROPE",
    "k_rope": "Kcur.ROPE", "q_scaled": "Qcur_attn_temp_scaled.MUL", "kqv": "kqv_out.RESHAPE kqv_out.CONT",
    "attn_gated": "attn_gated.MUL", "attn_post_norm": "attn_post_norm.MUL attn_post_norm.ADD",
    "attn_residual": "ffn_inp.ADD attn_residual.ADD", "ffn_norm": "ffn_norm.MUL ffn_norm.ADD",
    "act": "ffn_swiglu.GLU ffn_geglu.GLU ffn_reglu.GLU ffn_swiglu_oai.GLU ffn_gate_par.MUL ffn_silu.UNARY ffn_gelu.UNARY "
           "ffn_relu.UNARY ffn_sqr(relu).SQR",
    "experts_act": "ffn_moe_swiglu.GLU ffn_moe_geglu.GLU ffn_moe_reglu.GLU ffn_moe_swiglu_oai.GLU "
                   "ffn_moe_swiglu_limited.MUL ffn_moe_silu.UNARY ffn_moe_gelu.UNARY ffn_moe_relu.UNARY "
                   "ffn_moe_relu_sqr.SQR",
    "experts_gate_clamped": "ffn_moe_gate_clamped.CLAMP", "experts_up_clamped": "ffn_moe_up_clamped.CLAMP",
    "routing_ids": "ffn_moe_argsort.ARGSORT ffn_moe_topk.VIEW ffn_moe_topk.TOP_K",
    "routing_weights": "ffn_moe_weights.GET_ROWS ffn_moe_weights_softmax.RESHAPE ffn_moe_weights_norm.DIV "
                       "ffn_moe_weights_scaled.SCALE",
    "experts": "ffn_moe_out.ADD ffn_moe_out.CONT", "shared_gated": "ffn_shexp_gated.MUL",
    "ffn_post_norm": "ffn_post_norm.MUL ffn_post_norm.ADD", "out": "l_out.ADD",
}
OF_THE_WHOLE = {
    "embd": "embd.GET_ROWS inp_embd.GET_ROWS", "embd_scaled": "inp_scaled.SCALE", "positions": "pos_embd.GET_ROWS",
    "embd_positioned": "inpL.ADD", "embd_norm": "inp_norm.MUL inp_norm.ADD",
    "out_norm": "result_norm.MUL result_norm.ADD",
}
# What one product gives at once, and what the last logits are called where they are scaled or capped.
SEVERAL = {"qkv": ("q", "k", "v"), "logits": ("logits_scaled", "logits_capped")}
# The expert of all tokens is called as a dense layer's feed-forward part is.
SHARED = ("gate", "up", "act", "down")


def turned(table, *nodes):
    """{"ffn_inp.ADD": "attn_residual"} of {"attn_residual": "ffn_inp.ADD …"}; each name with all nodes, where it has none."""
    return {f"{name}.{node}" if node else name: canonical for canonical, names in table.items() for name in names.split()
            for node in nodes or ("",)}


IN_LAYERS = turned(OF_LAYERS) | turned(PRODUCTS, *NODES)
ELSEWHERE = turned(OF_THE_WHOLE) | turned({"logits": LOGITS}, *NODES) | {"result_output.SCALE": "logits"}


def names(name, operation, shared=False, fused=False):
    """What a node gives: ["blk.3.q_rope"] of "Qcur-3" and "ROPE"; [] where it has no name in the format.

    `shared`: the layer has an expert of all tokens. `fused`: the file's `ffn_up` holds the gate, too.
    """
    base, dash, layer = name.rpartition("-")
    if not (dash and layer.isdecimal()):
        base, layer = name, ""
    canonical = (IN_LAYERS if layer else ELSEWHERE).get(f"{base}.{operation}")
    if canonical is None:
        return []
    found = [canonical, *SEVERAL.get(canonical, ())]
    if fused and canonical == "up":
        found.append("gate")
    if shared:
        found = [f"shared_{one}" if one in SHARED else one for one in found]
    if operation.startswith("MUL_MAT"):
        found += [f"{one}_unscaled" for one in found]
    return [f"blk.{layer}.{one}" if layer else one for one in found]
