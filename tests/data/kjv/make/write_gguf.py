"""Weights to GGUF: write_gguf.py FOLDER reads kjv.npz and kjv.model there and writes FOLDER/kjv.BF16.gguf.

Needs PyPI's gguf, numpy and sentencepiece."""
import sys

import gguf
import numpy as np
import sentencepiece

folder = sys.argv[1]
pieces = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/kjv.model")
writer = gguf.GGUFWriter(f"{folder}/kjv.BF16.gguf", "llama")
writer.add_name("KJV 5.8M")
writer.add_description("Six Llama layers trained on the King James Bible (public domain) for assay's tests")
writer.add_license("Apache-2.0")
writer.add_context_length(512)
writer.add_embedding_length(256)
writer.add_block_count(6)
writer.add_feed_forward_length(768)
writer.add_head_count(4)
writer.add_head_count_kv(2)
writer.add_rope_dimension_count(64)
writer.add_rope_freq_base(10000.0)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_vocab_size(2048)
writer.add_file_type(32)
writer.add_tokenizer_model("llama")
writer.add_tokenizer_pre("default")
ids = range(2048)
writer.add_token_list([pieces.id_to_piece(i).encode() for i in ids])
writer.add_token_scores([pieces.get_score(i) for i in ids])
writer.add_token_types([2 if pieces.is_unknown(i) else 3 if pieces.is_control(i) else 6 if pieces.is_byte(i) else 1
                        for i in ids])
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_unk_token_id(0)
writer.add_add_bos_token(True)
writer.add_add_eos_token(False)
for name, weight in np.load(f"{folder}/kjv.npz").items():
    bits = weight.view(np.uint16)
    if weight.ndim == 1:
        writer.add_tensor(name, (bits.astype(np.uint32) << 16).view(np.float32))
    else:
        writer.add_tensor(name, bits.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
