#!/usr/bin/env python3
"""Fetches a part of a wheel on PyPI into the cache and prints its folder.

    fetch_wheel.py metal-cpp|zig [WHEEL]

metal-cpp: Apple's C++ headers for Metal, out of mlx-metal; zig: the compiler for metal-cross. The wheel's SHA-256 is
checked, and the folder gets its name only when it is whole. Exit: 0 done, 1 not to be had.
"""
import dataclasses
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

from fetch_model import ROOT, FetchError, cache_folder, pip_of_venv, sha256_of


class Unreachable(FetchError):
    """PyPI did not give the wheel: what needs it may be skipped."""


@dataclasses.dataclass
class Wheel:
    package: str     # as pip names it, with the version
    platform: str    # pip's tag
    sha256: str
    prefix: str      # what is taken out of it
    executable: str = ""


WHEELS = {
    "metal-cpp": Wheel("mlx-metal==0.32.4", "macosx_14_0_arm64",
                       "8019b2db622599267d66cc168b2f0dbf5af929790a6c3b3913e00eabc42a7947",
                       "mlx/include/metal_cpp/"),
    "zig": Wheel("ziglang==0.17.1", "manylinux_2_12_x86_64",
                 "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54", "ziglang/", "zig"),
}

# What pip says where no index answers, or one breaks off; else it lists the versions that it found.
NO_ANSWER = r"from versions: none|connection|timed out|http error 5"


def say(text):
    print(f"fetch: {text}", file=sys.stderr, flush=True)


def download(wheel, folder):
    command = [pip_of_venv(), "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
               "--no-cache-dir", "--platform", wheel.platform, "--dest", folder, wheel.package]
    pip = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if pip.returncode != 0:
        print(pip.stdout, end="", file=sys.stderr, flush=True)
        kind = Unreachable if re.search(NO_ANSWER, pip.stdout, re.IGNORECASE) else FetchError
        raise kind(f"could not download {wheel.package} from PyPI; fetch its wheel for {wheel.platform} elsewhere "
                   "and name it on the command line, or set PIP_INDEX_URL behind a mirror")
    return next(pathlib.Path(folder).glob("*.whl"))


def unpack(path, wheel, target):
    """Writes what is below wheel.prefix to `target`, which must not be there yet."""
    found = sha256_of(path)
    if found != wheel.sha256:
        raise FetchError(f"{path.name} has SHA-256 {found}, wanted {wheel.sha256}")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="unpack.") as folder, zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.startswith(wheel.prefix)]
        if not members:
            raise FetchError(f"{path.name} holds nothing below {wheel.prefix}")
        archive.extractall(folder, members)
        whole = pathlib.Path(folder) / wheel.prefix
        if wheel.executable:
            (whole / wheel.executable).chmod(0o755)
        shutil.move(whole, target)


def fetch(name, wheel_path=None):
    wheel = WHEELS[name]
    target = cache_folder() / "wheels" / f"{name}-{wheel.package.split('==')[1]}"
    if target.is_dir():
        return target
    if name == "zig" and (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise FetchError("zig is fetched for Linux on x86_64 only")
    target.parent.mkdir(parents=True, exist_ok=True)
    if wheel_path:
        unpack(pathlib.Path(wheel_path), wheel, target)
        return target
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="download.") as folder:
        say(f"{wheel.package} from PyPI")
        unpack(download(wheel, folder), wheel, target)
    return target


def main(arguments):
    if not 1 <= len(arguments) <= 2 or arguments[0] not in WHEELS:
        say("usage: fetch_wheel.py metal-cpp|zig [WHEEL]")
        return 1
    try:
        print(fetch(*arguments))
    except (FetchError, OSError, zipfile.BadZipFile) as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
