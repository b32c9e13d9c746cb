"""assay's Python side: traces of other engines, in the format of docs/trace-format.md."""
