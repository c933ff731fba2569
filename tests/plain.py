"""The verbs' definitions once more, in dictionaries and loops: what a careful reader of the methods would write.

Nothing here uses NumPy, Polars' arithmetic or the package, so that an error would have to be made twice.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

import polars as pl

Row = dict[str, Any]
#: Which infinite values are scores: (minus, plus) infinity.
INFINITE_OK = {"acc": (False, False), "bits_per_byte": (False, True), "perplexity": (False, True)}
IDENTITY = ("task", "metric", "subtask", "config", "filter")
RUN = ("run", "recipe", "params", "seed")


def everything(_: Row) -> bool:
    return True


def identity(frame: pl.DataFrame) -> list[str]:
    """Key columns that leave nothing to be mixed."""
    return [name for name in IDENTITY if name in frame.columns]


def distinct(frame: pl.DataFrame) -> list[Row]:
    """Rows, exact duplicates once."""
    return list({repr(sorted(row.items())): row for row in frame.iter_rows(named=True)}.values())


def usable(row: Row) -> bool:
    value = row["value"]
    if value is None or math.isnan(value):
        return False
    return not math.isinf(value) or INFINITE_OK.get(row["metric"], (True, True))[value > 0]


class Run:
    """The last checkpoints of one training run for one score."""

    def __init__(self, rows: list[Row], window: int) -> None:
        rows = sorted(rows, key=lambda row: row["step"])[-window:]
        self.values = [row["value"] for row in rows]
        self.steps = [float(row["step"]) for row in rows]

    def variance(self, ddof: int) -> float | None:
        n = len(self.values)
        if n < 2 or n <= ddof:
            return None
        mean = fmean(self.values)
        return math.fsum((x - mean) ** 2 for x in self.values) / (n - ddof)

    def detrended(self, ddof: int) -> float | None:
        n = len(self.values)
        if n < 3 or n <= ddof + 1:
            return None
        mean, middle = fmean(self.values), fmean(self.steps)
        sxx = math.fsum((t - middle) ** 2 for t in self.steps)
        slope = (
            math.fsum((t - middle) * (x - mean) for t, x in zip(self.steps, self.values, strict=True)) / sxx
        )
        residuals = (x - mean - slope * (t - middle) for t, x in zip(self.steps, self.values, strict=True))
        return math.fsum(r * r for r in residuals) / (n - ddof - 1)

    def successive(self) -> float | None:
        x = self.values
        if len(x) < 2:
            return None
        return math.fsum((b - a) ** 2 for a, b in pairwise(x)) / (2 * (len(x) - 1))


def members_of(
    rows: Iterable[Row],
    by: Sequence[str],
    across: Sequence[str],
    window: int,
    keep: Callable[[Row], bool] = everything,
) -> dict[tuple[Any, ...], dict[tuple[Any, ...], list[Run]]]:
    """group -> member -> its runs; groups without a usable row are there, empty."""
    found: dict[Any, dict[Any, dict[Any, list[Row]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for row in rows:
        group = found[tuple(row[name] for name in by)]
        if usable(row) and keep(row):
            run = tuple(row.get(name) for name in (*IDENTITY, *RUN))
            group[tuple(row[name] for name in across)][run].append(row)
    return {
        group: {member: [Run(rows, window) for rows in runs.values()] for member, runs in members.items()}
        for group, members in found.items()
    }


def noise_of(runs: list[Run], estimator: str, ddof: int) -> float | None:
    if estimator == "detrended":
        variances = [run.detrended(ddof) for run in runs]
    elif estimator == "successive_difference":
        variances = [None if run.variance(ddof) is None else run.successive() for run in runs]
    else:
        variances = [run.variance(ddof) for run in runs]
    known = [v for v in variances if v is not None]
    if not known:
        return None
    if estimator == "mean_sd":
        return fmean(math.sqrt(v) for v in known)
    if estimator == "pooled":
        pool = [x for run in runs for x in run.values]
        mean = fmean(pool)
        return math.sqrt(math.fsum((x - mean) ** 2 for x in pool) / (len(pool) - ddof))
    return math.sqrt(fmean(known))


def snr_of(
    rows: Iterable[Row],
    by: Sequence[str],
    *,
    across: Sequence[str] = ("run",),
    window: int = 5,
    score: str = "mean",
    noise: str = "within",
    ddof: int = 1,
    relative: bool = True,
    population: Callable[[Row], bool] = everything,
    noise_runs: Callable[[Row], bool] = everything,
) -> dict[tuple[Any, ...], dict[str, Any]]:
    rows = list(rows)
    signal_side = members_of(rows, by, across, window, population)
    noise_side = members_of(rows, by, across, window, noise_runs)
    out = {}
    for group, members in signal_side.items():
        scores = [
            fmean(fmean(run.values) if score == "mean" else run.values[-1] for run in runs)
            for runs in members.values()
        ]
        runs = [run for some in noise_side[group].values() for run in some]
        pool = [x for run in runs for x in run.values]
        mean = fmean(scores) if scores else None
        pooled = fmean(pool) if pool else None
        spread = max(scores) - min(scores) if len(scores) >= 2 else None
        absolute = noise_of(runs, noise, ddof)
        out[group] = {
            "n_runs": len(scores),
            "n_checkpoints": min((len(run.values) for run in runs), default=0),
            "mean": mean,
            "noise_mean": pooled,
            "spread": spread,
            "signal": over(spread, mean, relative=relative),
            "noise_absolute": absolute,
            "noise": over(absolute, pooled, relative=relative),
            "noise_runs": sum(1 for run in runs if noise_of([run], noise, ddof) is not None),
        }
        row = out[group]
        row["snr"] = None if row["signal"] is None or not row["noise"] else row["signal"] / row["noise"]
    return out


def over(value: float | None, mean: float | None, *, relative: bool) -> float | None:
    if value is None or not relative:
        return value
    return None if not mean else value / abs(mean)


def counts_of(rows: Iterable[Row], by: Sequence[str]) -> dict[tuple[Any, ...], tuple[int, int]]:
    """(n_missing, n_nan) of each group."""
    out: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        counts = out[tuple(row[name] for name in by)]
        value = row["value"]
        counts[0] += value is None or math.isinf(value)
        counts[1] += value is not None and math.isnan(value)
    return {group: (missing, nan) for group, (missing, nan) in out.items()}
