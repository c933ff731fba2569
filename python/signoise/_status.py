"""Why a statistic is undefined, and what to be careful about: the `status` and `flags` of every result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._chance import chance_level
from ._errors import InsufficientDataError
from ._metrics import lookup

#: Reasons in the order in which they are reported where several apply: the one that leaves least defined comes first
#: (scores that are all 0 are constant, but it is their mean that has no relative signal or noise).
STATUSES = (
    "duplicate_key",
    "not_a_mean",
    "too_few",
    "too_few_samples",
    "not_identified",
    "no_stderr",
    "order_not_random",
    "zero_mean",
    "constant",
    "zero_noise",
    "not_converged",
    "at_bound",
    "not_finite",
    "extrapolated",
)
#: Statuses under which something is undefined; `constant` alone leaves a signal of 0.
FLAGS = (
    "few_checkpoints",
    "trend",
    "near_zero_mean",
    "negative_mean",
    "near_chance",
    "missing_values",
    "mixed_config",
    "autocorrelated",
    "few_members",
    "few_seeds",
    "no_seeds",
    "few_instances",
    "few_clusters",
    "skewed",
    "clustered",
    "unpaired",
    "unmatched",
    "no_primary",
    "percentile_fallback",
    "poor_coverage",
    "extrapolated",
    "models_differ",
    "far_beyond",
)


class Statuses:
    """One status a group, ``ok`` unless a reason was set."""

    def __init__(self, n_groups: int) -> None:
        self._rank = np.full(n_groups, len(STATUSES), dtype=np.intp)

    @classmethod
    def of(cls, reasons: pl.Series) -> Statuses:
        """The reason of each group, ``ok`` for none."""
        found = cls(len(reasons))
        for reason in reasons.unique().to_list():
            if reason != "ok":
                found.set(reason, (reasons == reason).to_numpy())
        return found

    def set(self, status: str, where: NDArray[np.bool_]) -> None:
        """Give the groups `where` this status, unless they have an earlier one."""
        self._rank[where] = np.minimum(self._rank[where], STATUSES.index(status))

    def check_finite(self, undefined: NDArray[np.bool_]) -> None:
        """A value may be undefined without any other reason: infinite scores."""
        self.set("not_finite", undefined)

    def blank(self, columns: dict[str, Any], status: str) -> None:
        """Make every float of the groups with this status undefined."""
        where = self._rank == STATUSES.index(status)
        if where.any():
            for name, values in columns.items():
                if isinstance(values, np.ndarray) and values.dtype.kind == "f":
                    columns[name] = np.where(where, np.nan, values)

    def column(self) -> pl.Series:
        """The statuses as text."""
        return pl.Series("status", np.array([*STATUSES, "ok"], dtype=object)[self._rank], dtype=pl.String)


def flag_lists(flags: Mapping[str, NDArray[np.bool_]], n_groups: int) -> pl.Series:
    """Flags that are up, in a fixed order, as a list a group."""
    # Few combinations occur, so each is spelt out once.
    codes = np.zeros(n_groups, dtype=np.intp)
    for bit, name in enumerate(FLAGS):
        if name in flags:
            codes += flags[name].astype(np.intp) << bit
    seen, index = np.unique(codes, return_inverse=True)
    spelt = [[name for bit, name in enumerate(FLAGS) if code >> bit & 1] for code in seen.tolist()]
    return pl.Series("flags", spelt, dtype=pl.List(pl.String))[index]


def result_column(name: str, values: NDArray[Any] | pl.Series) -> pl.Series:
    """A column of a result; NaN is how kernels say undefined, and an infinite statistic is none: tables say null."""
    if isinstance(values, pl.Series):
        return values.alias(name)
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, np.nan)
    return pl.Series(name, values, nan_to_null=True)


def check_strict(table: pl.DataFrame, by: Sequence[str], *, strict: bool) -> None:
    """Raise for the first group whose status is not ``ok``."""
    if not strict:
        return
    bad = table.filter(pl.col("status") != "ok")
    if bad.height:
        row = bad.row(0, named=True)
        label = ", ".join(f"{name}={row[name]}" for name in by)
        raise InsufficientDataError(
            f"{bad.height} of {table.height} groups are undefined or degenerate, first {label}: status "
            f"{row['status']!r}; filter them out (where=...) or call with strict=False"
        )


def metric_of(labels: pl.DataFrame) -> list[str | None]:
    """Metric of each group, None where it is not part of the key."""
    return labels["metric"].to_list() if "metric" in labels.columns else [None] * labels.height


def chance_of(labels: pl.DataFrame, declared: Mapping[str, float] | None) -> NDArray[np.float64]:
    """Chance level of each group's task where its metric is accuracy-like; NaN where there is none."""
    out = np.full(labels.height, np.nan)
    if "task" not in labels.columns:
        return out
    levels: dict[str, float | None] = {}
    for row, (task, metric) in enumerate(zip(labels["task"], metric_of(labels), strict=True)):
        known = lookup(metric) if metric is not None else None
        declared_here = declared is not None and task in declared
        if task is not None and (declared_here or (known is not None and known.accuracy)):
            if task not in levels:
                levels[task] = chance_level(task, declared)
            level = levels[task]
            out[row] = np.nan if level is None else level
    return out
