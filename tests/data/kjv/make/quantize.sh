#!/usr/bin/env bash
# quantize.sh LLAMA_QUANTIZE IN OUT: every weight format in one file, by llama.cpp's llama-quantize.
set -euo pipefail
types="token_embd=q5_k ^output.weight=q6_k
  blk.0.attn_q=q2_k blk.0.attn_k=q3_k blk.0.attn_v=q5_k blk.0.attn_output=q4_0
  blk.0.ffn_gate=q3_k blk.0.ffn_up=q2_k blk.0.ffn_down=q5_0
  blk.1.attn_q=q5_1 blk.1.attn_k=iq4_nl blk.1.attn_v=q8_0 blk.1.attn_output=q3_k
  blk.1.ffn_gate=iq4_nl blk.1.ffn_up=q4_1 blk.1.ffn_down=q5_k
  blk.2.attn_q=bf16 blk.2.attn_k=f16 blk.2.attn_v=q6_k blk.2.attn_output=q5_0
  blk.2.ffn_gate=q4_0 blk.2.ffn_up=q5_1 blk.2.ffn_down=q3_k"
arguments=()
for type in $types; do arguments+=(--tensor-type "$type"); done
"$1" "${arguments[@]}" "$2" "$3" Q4_K_M
