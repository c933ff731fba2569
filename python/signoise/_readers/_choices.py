"""What a dump holds of each choice of its instances, from which `choice_metrics` computes every metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._dump import Part

Floats = NDArray[np.float64]

QUANTITIES = ("loglikelihood", "characters", "bytes", "tokens", "unconditional", "scored_bytes")


@dataclass(frozen=True)
class Answered:
    """The choices of one instance.

    Attributes
    ----------
    right : int
        Index of the right one.
    loglikelihood, characters, bytes, tokens, unconditional, scored_bytes
        One of each choice; None: not recorded. ``characters`` and ``bytes`` are the lengths that the harness itself
        divides by, ``scored_bytes`` those of the text whose log-likelihood was taken.
    """

    right: int
    loglikelihood: Sequence[float]
    characters: Sequence[float] | None = None
    bytes: Sequence[float] | None = None
    tokens: Sequence[float] | None = None
    unconditional: Sequence[float] | None = None
    scored_bytes: Sequence[float] | None = None


@dataclass(frozen=True)
class Choices:
    """Choices of the instances of some parts.

    Attributes
    ----------
    rows : DataFrame
        ``part, instance_id, line`` and perhaps ``filter`` of each instance, as in `_dump.Batch`.
    offsets : ndarray of int64 (n_instances + 1,)
        Instance i has the choices ``offsets[i]:offsets[i + 1]``.
    right : ndarray of int64 (n_instances,)
    quantities : dict of str to ndarray of float64 (n_choices_in_all,)
        `QUANTITIES`; NaN where not recorded.
    own : dict of str to ndarray of float64 (n_instances,)
        Metrics that the harness stored of these instances, under the names that `choice_metrics` gives them.
    """

    rows: pl.DataFrame
    offsets: NDArray[np.int64]
    right: NDArray[np.int64]
    quantities: dict[str, Floats]
    own: dict[str, Floats]


@runtime_checkable
class ChoosingDump(Protocol):
    """A dump that knows the log-likelihood of each choice."""

    def choices(self, parts: Sequence[Part]) -> Choices:
        """Those of some parts; what has none is counted in a note, what is damaged dropped and reported."""
        ...


def collected(rows: pl.DataFrame, answers: Sequence[Answered | None], own: Mapping[str, Floats]) -> Choices:
    """Choices of the rows that have an answer."""
    there = np.array([answer is not None for answer in answers], dtype=bool)
    found = [answer for answer in answers if answer is not None]
    sizes = np.array([len(answer.loglikelihood) for answer in found], dtype=np.int64)
    quantities = {}
    for name in QUANTITIES:
        flat: list[float] = []
        for answer in found:
            values = getattr(answer, name)
            flat.extend([np.nan] * len(answer.loglikelihood) if values is None else values)
        quantities[name] = np.array(flat, dtype=np.float64)
    return Choices(
        rows=rows.filter(pl.Series(there, dtype=pl.Boolean)),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        right=np.array([answer.right for answer in found], dtype=np.int64),
        quantities=quantities,
        own={name: np.asarray(values, dtype=np.float64)[there] for name, values in own.items()},
    )
