"""What to type where a package is missing; needs nothing but Python itself."""
from __future__ import annotations

import shlex
import sys


def command(*packages):
    """The line that installs packages for the Python that runs: "/usr/bin/python3 -m pip install numpy"."""
    return f"{shlex.quote(sys.executable or 'python3')} -m pip install {' '.join(packages)}"
