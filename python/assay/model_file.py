"""A GGUF file's name and hash, as traces carry them; the models that have a short name."""
from __future__ import annotations

import hashlib
import os
import pathlib
import re

KNOWN = {"SmolLM2-135M-Instruct": "SmolLM2-135M-Instruct.Q4_1.gguf"}  # as in cli/common.cpp


def cache_folder():
    """Where assay keeps models that were fetched."""
    if os.environ.get("ASSAY_CACHE"):
        return pathlib.Path(os.environ["ASSAY_CACHE"])
    if os.environ.get("XDG_CACHE_HOME"):
        return pathlib.Path(os.environ["XDG_CACHE_HOME"]) / "assay"
    return pathlib.Path.home() / ".cache" / "assay"


def resolve(name):
    """The path of a file or folder, or of a known model in the cache. Raises OSError, with what to do."""
    path = pathlib.Path(name)
    if path.exists():
        return path
    if name not in KNOWN:
        raise FileNotFoundError(f"no file '{name}', and no known model of that name; known: {', '.join(KNOWN)}")
    path = cache_folder() / "models" / name / KNOWN[name]
    if not path.exists():
        raise FileNotFoundError(f"the model '{name}' has not been fetched ('{path}' does not exist); "
                                "'make model' fetches it")
    return path


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
