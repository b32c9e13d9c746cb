"""What to type where a package is missing; needs nothing but Python itself."""
from __future__ import annotations

import shlex
import sys

LLAMA_CPP_PYTHON = "0.3.36"  # the version whose structures the capture knows
PACKAGES = {"llama_cpp": (f"llama-cpp-python=={LLAMA_CPP_PYTHON}",),
            "transformers": ("torch", "transformers", "gguf", "accelerate")}


def command(*packages):
    """The line that installs packages for the Python that runs: "/usr/bin/python3 -m pip install numpy"."""
    return f"{shlex.quote(sys.executable or 'python3')} -m pip install {' '.join(packages)}"
