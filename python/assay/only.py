"""Which outputs a recording keeps: `--only NAME,NAME` and `assay.record(…, only=…)`."""
from __future__ import annotations

import re


class Only:
    """Names as they are written, or with * for any characters but a dot: "blk.*.out" is the output of each layer."""

    def __init__(self, names=None):
        """`names`: "blk.*.out,logits", a list of such names, or None for all outputs. Raises ValueError: it has none."""
        given = None if names is None else names.split(",") if isinstance(names, str) else list(names)
        self._patterns = None if given is None else {
            name.strip(): re.compile(re.escape(name.strip()).replace(r"\*", "[^.]*")) for name in given}
        if given is not None and not all(self._patterns or [""]):
            raise ValueError(f"'{names}' is not a list of names such as blk.*.out,logits")
        self._matched, self._offered = set(), {}

    def __bool__(self):
        """Whether anything is left out."""
        return self._patterns is not None

    def wants(self, *names):
        """Whether an output is kept that may be called by any of these names, the usual one first."""
        self._offered.update(dict.fromkeys(names[:1]))
        # A routing is written in two parts.
        names += tuple(re.sub("_(ids|weights)$", "", name) for name in names
                       if name.endswith((".routing_ids", ".routing_weights")))
        if not self:
            return True
        matched = {text for text, pattern in self._patterns.items() if any(map(pattern.fullmatch, names))}
        self._matched |= matched
        return bool(matched)

    def unmatched(self):
        """A sentence about the names that no output had that was offered; "" where there are none."""
        left = [text for text in self._patterns or () if text not in self._matched]
        if not left:
            return ""
        there = dict.fromkeys(re.sub(r"\.\d+(?=\.|$)", ".N", name) for name in self._offered)
        return (f"no output is called {', '.join(f'{name!r}' for name in left)}; there are "
                f"{', '.join(there) or 'none'}")
