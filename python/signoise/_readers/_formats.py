"""The harnesses whose dumps are read. Adding one is adding its module here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from . import (
    _bigcode,
    _evalplus,
    _helm,
    _inspect,
    _lighteval,
    _lm_eval_samples,
    _olmes,
    _simple_evals,
    _wandb,
)
from ._files import head_of, is_packed
from ._report import FORMAT_LABELS

if TYPE_CHECKING:
    from ._dump import Dump
    from ._files import Found
    from ._report import ReadReport


class Format(Protocol):
    """A module of this folder that reads the dumps of one harness."""

    FORMAT: str
    """Its name in ``format=``."""
    LABEL: str
    """What its files are called in "read 3 <label> files"."""

    def claims(self, file: Found, head: bytes) -> bool:
        """Whether a file is of this format, by its name and its first bytes (decompressed; empty: not known)."""
        ...

    def Dump(self, files: Sequence[Found], report: ReadReport) -> Dump:
        """Everything of this format."""
        ...


MODULES = cast(
    "tuple[Format, ...]",
    (
        # The first that claims a file reads it, so what claims least comes first.
        _inspect,
        _helm,
        _lighteval,
        _olmes,
        _evalplus,
        _bigcode,
        _simple_evals,
        _wandb,
        _lm_eval_samples,
    ),
)

_SAMPLES = cast("Format", _lm_eval_samples)
_START = 1 << 10
"""Bytes that hold the first keys of a row."""

FORMATS = ("auto", *(module.FORMAT for module in MODULES), "table")

FORMAT_LABELS.update({module.FORMAT: module.LABEL for module in MODULES})
FORMAT_LABELS[_olmes.PREDICTIONS] = "OLMES predictions"
FORMAT_LABELS[_lm_eval_samples.SAMPLES] = "lm-eval samples"

LOOKED_FOR = (
    f"{', '.join(module.LABEL for module in MODULES)}, and tables in Parquet, Arrow IPC, CSV, TSV, NDJSON or JSON "
    "(text also as .gz or .zst)"
)


def claimed_by(file: Found) -> tuple[Format | None, bytes]:
    """The format whose file this is, and the file's first bytes."""
    # Samples come by the thousand: to search each for what all the others look for would take as long as to read it.
    start = head_of(file, _START)
    if _lm_eval_samples.is_samples(file, start):
        return _SAMPLES, start
    if start.startswith(b"PAR1"):
        return _claimed(file, start), start
    head = head_of(file)
    if not head:
        return None, head
    if not is_packed(head):
        return _claimed(file, head), head
    # Zstandard, or damaged: the name tells for far less than decompressing does.
    module = _claimed(file, b"")
    if module is None:
        start = head_of(file, decompress_zstd=True)
        module = None if is_packed(start) else _claimed(file, start)
    return module, head


def _claimed(file: Found, head: bytes) -> Format | None:
    return next((module for module in MODULES if module.claims(file, head)), None)
