"""Text to tokens: prepare.py TEXT FOLDER writes FOLDER/kjv.model (SentencePiece BPE, 2048 pieces) and FOLDER/ids.npy.

TEXT is what `bible -l100000 gen1:1-rev22:21` prints (Debian's packages bible-kjv, bible-kjv-text). Needs PyPI's
sentencepiece and numpy."""
import re
import sys

import numpy as np
import sentencepiece

text = "\n".join(line.strip() for line in open(sys.argv[1]) if line.strip()) + "\n"
clean = f"{sys.argv[2]}/clean.txt"
open(clean, "w").write(text)
sentencepiece.SentencePieceTrainer.train(
    input=clean, model_prefix=f"{sys.argv[2]}/kjv", model_type="bpe", vocab_size=2048, byte_fallback=True,
    split_digits=True, normalization_rule_name="identity", add_dummy_prefix=True, remove_extra_whitespaces=False,
    character_coverage=1.0, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, max_sentence_length=100000)
pieces = sentencepiece.SentencePieceProcessor(model_file=f"{sys.argv[2]}/kjv.model")
ids = []
for chapter in re.split(r"\n(?=[1-3A-Z][A-Za-z ]* \d+\n)", "\n" + text):  # a chapter is a document
    if chapter.strip("\n"):
        ids += [1, *pieces.encode(chapter.strip("\n")), 2]
np.save(f"{sys.argv[2]}/ids.npy", np.array(ids, dtype=np.uint16))
print(len(ids), "tokens")
