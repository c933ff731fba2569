"""The few benchmarks that figures with room for few show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any

import polars as pl

from .._report import Report

FEW, MANY = 6, 30


def all_of(key: Mapping[str, Any], by: Sequence[str]) -> pl.Expr:
    """The rows of one benchmark."""
    return reduce(and_, (pl.col(name).eq_missing(pl.lit(key[name])) for name in by), pl.lit(value=True))


@dataclass(frozen=True)
class Chosen:
    """Benchmarks in order, and how they were chosen."""

    keys: pl.DataFrame
    more: pl.DataFrame
    words: str

    def rows(self, scores: pl.DataFrame) -> pl.DataFrame:
        """Scores of the few."""
        return scores.join(self.keys, on=self.keys.columns, how="semi", nulls_equal=True)

    def many(self, scores: pl.DataFrame) -> pl.DataFrame:
        """Scores of a few more."""
        return scores.join(self.more, on=self.more.columns, how="semi", nulls_equal=True)


def choose(report: Report) -> Chosen:
    """The highest and the lowest SNR, half each; all where they are few."""
    by = report.basis.by
    defined = report.table.filter(pl.col("snr").is_not_null(), pl.col("n_checkpoints") > 1)
    # What few runs have says little of the others: benchmarks that most runs have go before.
    common = defined.filter(pl.col("n_runs") * 2 >= pl.col("n_runs").max())
    if common.height > 1:
        defined = common
    table = defined if defined.height else report.table
    keys = table.select(by)
    more = keys.head(MANY)
    if keys.height <= FEW:
        return Chosen(
            keys, more, f"All {keys.height} benchmarks with an SNR" if defined.height else "All benchmarks"
        )
    half = FEW // 2
    ends = pl.concat([keys.head(half), keys.tail(FEW - half)])
    return Chosen(
        ends,
        more,
        f"The {half} benchmarks with the highest and the {FEW - half} with the lowest SNR that most runs have",
    )
