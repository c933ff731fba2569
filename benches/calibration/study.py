"""What is measured: cells, the rows they give, and the bar that each row has to meet."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVEL = 0.95
ALPHA = 0.05
NO_VERB = "no verb"
"""In place of flags: a function that no verb calls yet."""


class Bar(Enum):
    """When a row passes."""

    APPROXIMATE = "0.935 to 0.965 (2 se wider below 10,000 replications)"
    CONSERVATIVE = "at least 0.95 - 3 se"
    TEST = "at most 0.05 + 3 se (0.0065 where summed exactly)"
    POWER = "promise - 0.02 to promise + 0.02, and 3 se"
    NONE = "none"
    """Part of an average that has the bar."""


@dataclass(frozen=True)
class Row:
    """One measured rate."""

    section: str
    method: str
    estimand: str
    cell: str
    rate: float
    """Coverage, or rejections."""
    bar: Bar
    domain: str
    """Where the method claims to hold."""
    inside: bool
    """Whether this cell lies there."""
    replications: int = 0
    """0: summed exactly."""
    width: float = np.nan
    """Mean width."""
    ratio: float = np.nan
    """Mean width over that of the exact or the oracle's interval."""
    undefined: float = 0.0
    """Share of replications without an interval: they count as misses."""
    flags: str = ""
    """What the verb says of such data: flags with the share of replications that carry them."""
    promise: float = np.nan
    """Of `Bar.POWER`."""

    @property
    def error(self) -> float:
        """Monte Carlo standard error of `rate`."""
        return float(np.sqrt(self.rate * (1 - self.rate) / self.replications)) if self.replications else 0.0

    @property
    def met(self) -> bool | None:
        """Whether the rate meets its bar."""
        slack = 3 * self.error
        if self.bar is Bar.APPROXIMATE:
            wider = 2 * self.error if self.replications < 10_000 else 0.0
            return 0.935 - wider <= self.rate <= 0.965 + wider
        if self.bar is Bar.CONSERVATIVE:
            return self.rate >= LEVEL - slack - 1e-9
        if self.bar is Bar.TEST:
            # A sum has no error, and is asked no more than a simulation of 10,000 would be.
            return self.rate <= ALPHA + (
                slack if self.replications else 3 * np.sqrt(ALPHA * (1 - ALPHA) / 10_000)
            )
        if self.bar is Bar.POWER:
            return abs(self.rate - self.promise) <= 0.02 + slack
        return None

    @property
    def flagged(self) -> bool:
        """Most replications carry a flag."""
        return any(float(part.rsplit(" ", 2)[1]) >= 50 for part in self.flags.split(", ") if "%" in part)

    @property
    def verdict(self) -> str:
        """What the table says of the bar."""
        if self.met is None:
            return "–"
        if self.inside:
            return "yes" if self.met else "**no**"
        if self.met:
            return "outside, met"
        return "outside, not met" + ("" if self.flagged or self.flags == NO_VERB else ", **no flag**")


@dataclass(frozen=True)
class Study:
    """The options of one run."""

    replications: int = 10_000
    seed: int = 0

    def rng(self, cell: str) -> np.random.Generator:
        """Draws of one cell, which no other cell moves."""
        return np.random.default_rng([self.seed, zlib.crc32(cell.encode())])

    def fewer(self, most: int) -> int:
        """Replications of a cell that is dear."""
        return min(self.replications, most)


@dataclass(frozen=True)
class Cell:
    """Something to run; gives one row or several."""

    name: str
    run: Callable[[Study], Iterable[Row]] = field(repr=False)


@dataclass
class Tally:
    """Hits, widths and undefined intervals of replications that come in batches."""

    hits: int = 0
    total: int = 0
    undefined: int = 0
    width: float = 0.0
    oracle: float = 0.0

    def add(self, low: Floats, high: Floats, truth: Floats | float, oracle: Floats | float = np.nan) -> None:
        """Count replications; `oracle` is the width of the interval that knows more."""
        defined = np.isfinite(low) & np.isfinite(high)
        slack = 1e-12 * np.abs(truth)
        self.hits += int(np.count_nonzero(defined & (low <= truth + slack) & (truth - slack <= high)))
        self.total += defined.size
        self.undefined += int(np.count_nonzero(~defined))
        self.width += float((high - low)[defined].sum())
        self.oracle += float(np.broadcast_to(oracle, defined.shape)[defined].sum())

    def measured(self) -> dict[str, float | int]:
        """The numbers of a row."""
        known = self.total - self.undefined
        return {
            "rate": self.hits / self.total,
            "replications": self.total,
            "width": self.width / known if known else np.nan,
            "ratio": self.width / self.oracle if known and self.oracle else np.nan,
            "undefined": self.undefined / self.total,
        }


def rejections(p: Floats, alpha: float = ALPHA) -> dict[str, float | int]:
    """The numbers of a row on p-values; undefined ones reject nothing."""
    return {
        "rate": float(np.mean(p <= alpha)),
        "replications": p.size,
        "undefined": float(np.isnan(p).mean()),
    }


def shares(flags: pl.Series | Sequence[pl.Series], without: Sequence[str] = ()) -> str:
    """How many rows of a verb's result carry which flag, e.g. ``few_clusters 100 %``."""
    column = flags if isinstance(flags, pl.Series) else pl.concat(flags)
    counts = column.explode().drop_nulls().value_counts(sort=True) if len(column) else pl.DataFrame()
    parts = [(name, 100 * count / len(column)) for name, count in counts.iter_rows() if name not in without]
    return ", ".join(
        f"{name} {share:.0f} %" for name, share in sorted(parts, key=lambda x: (-x[1], x[0])) if share >= 1
    )
