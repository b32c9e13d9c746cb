"""A GGUF file's name and hash, as traces carry them."""
from __future__ import annotations

import hashlib
import pathlib
import re


def shards(path):
    """The files of a model: of a split one all `NAME-0000i-of-0000n.gguf` in order. Raises OSError: one is missing."""
    path = pathlib.Path(path)
    found = re.fullmatch(r"(.*)-(\d{5})-of-(\d{5})\.gguf", path.name)
    if not found:
        return [path]
    files = [path.with_name(f"{found[1]}-{i:05d}-of-{found[3]}.gguf") for i in range(1, int(found[3]) + 1)]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(f"the shard '{missing[0]}' is not there")
    return files


def sha256(path):
    """SHA-256 of the file, of a split model's shards as if joined in order. Raises OSError."""
    digest = hashlib.sha256()
    for file in shards(path):
        with open(file, "rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
