"""Macro averages of comparisons: the unweighted mean over the subtasks of a task, each with its own instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._matching import Sides
from ._pairs import Estimates, Pairs

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def whole_tasks(sides: Sides) -> tuple[Sides, Ints]:
    """The same sides with a group a task, and the task of each group."""
    by = tuple(name for name in sides.by if name != "subtask")
    rest = sides.groups.select(by) if by else sides.groups.select(pl.lit(None).alias("__all"))
    groups = rest.unique(maintain_order=True)
    numbered = groups.with_row_index("__task")
    task = rest.join(numbered, on=rest.columns, nulls_equal=True, maintain_order="left")["__task"]
    of = task.to_numpy().astype(np.intp)
    labels = (
        sides.labels.with_columns(pl.Series("group", of[sides.labels["group"].to_numpy().astype(np.intp)]))
        .group_by("group", "side", maintain_order=True)
        .agg(
            pl.col("run", "revision", "step").first(),
            pl.col("n_missing", "n_nan").sum(),
            pl.col("result", "stderr", "n_result").first(),
        )
        .sort("group", "side")
    )
    first = np.unique(of, return_index=True)[1]
    merged = replace(
        sides,
        by=by,
        joined=tuple(name for name in sides.joined if name != "subtask"),
        groups=groups,
        labels=labels,
        metric=[sides.metric[group] for group in first],
    )
    return merged, of


def average_pairs(pairs: Pairs, task: Ints) -> Pairs:
    """One entry a task and pair, from entries a subtask and pair.

    Subtasks are fixed and their instances independent: variances add up, degrees of freedom are Satterthwaite's.
    """
    keys, entry = np.unique(
        np.column_stack([task[pairs.group], pairs.a, pairs.b]), axis=0, return_inverse=True
    )
    mean = _Mean(entry.ravel(), len(keys))
    stderr = mean.stderr(pairs.stderr)
    stderr_a, stderr_b = mean.stderr(pairs.stderr_a), mean.stderr(pairs.stderr_b)
    covariance = mean.of(pairs.covariance) / mean.parts
    paired = mean.all(pairs.paired)
    with np.errstate(all="ignore"):
        scale = stderr_a * stderr_b
        correlation = np.where(scale > 0, np.clip(covariance / scale, -1.0, 1.0), np.nan)
        separate = stderr_a**2 + stderr_b**2
        reduction = np.where(separate > 0, 1 - stderr**2 / separate, np.nan)
    return Pairs(
        group=keys[:, 0],
        a=keys[:, 1],
        b=keys[:, 2],
        mean_a=mean.of(pairs.mean_a),
        mean_b=mean.of(pairs.mean_b),
        stderr_a=stderr_a,
        stderr_b=stderr_b,
        covariance=covariance,
        stderr=stderr,
        df=mean.df(pairs.stderr, pairs.df),
        n=mean.sum(pairs.n),
        n_clusters=mean.sum(pairs.n_clusters),
        effective_clusters=mean.sum(pairs.effective_clusters),
        design_effect=mean.design_effect(pairs.stderr, pairs.design_effect),
        skewness=mean.skewness(pairs.stderr, pairs.skewness),
        correlation=np.where(paired, correlation, np.nan),
        variance_reduction=reduction,
        unmatched_a=mean.sum(pairs.unmatched_a),
        unmatched_b=mean.sum(pairs.unmatched_b),
        # Over several subtasks the sums of solved instances are no longer what is compared.
        only_a=np.where(mean.parts == 1, mean.of(pairs.only_a), np.nan),
        only_b=np.where(mean.parts == 1, mean.of(pairs.only_b), np.nan),
        p_flipped=np.where(mean.parts == 1, mean.of(pairs.p_flipped), np.nan),
        equal=mean.all(pairs.equal),
        constant=mean.all(pairs.constant),
        paired=paired,
    )


def average_estimates(estimates: Estimates, sides: Sides, task: Ints) -> Estimates:
    """One entry a task and side, as ``whole_tasks(sides)[0].labels`` has them."""
    labels = sides.labels
    group, side = (labels[name].to_numpy().astype(np.intp) for name in ("group", "side"))
    _, entry = np.unique(np.column_stack([task[group], side]), axis=0, return_inverse=True)
    mean = _Mean(entry.ravel(), int(entry.max(initial=-1)) + 1)
    out = {
        f.name: mean.sum(getattr(estimates, f.name)) for f in fields(Estimates) if f.name != "from_instances"
    }
    out["value"] = mean.of(estimates.value)
    out["stderr"] = mean.stderr(estimates.stderr)
    out["df"] = mean.df(estimates.stderr, estimates.df)
    out["design_effect"] = mean.design_effect(estimates.stderr, estimates.design_effect)
    out["skewness"] = mean.skewness(estimates.stderr, estimates.skewness)
    out["solved"] = np.where(mean.parts == 1, out["solved"], np.nan)
    return Estimates(**out, from_instances=mean.all(estimates.from_instances))


def complete(sides: Sides, task: Ints) -> Sequence[int]:
    """Groups (subtasks) in which all sides of their task have a score."""
    group, side = (sides.labels[name].to_numpy().astype(np.intp) for name in ("group", "side"))
    wanted = np.array([len(np.unique(side[task[group] == t])) for t in range(int(task.max(initial=-1)) + 1)])
    return np.flatnonzero(np.bincount(group, minlength=len(task)) == wanted[task]).tolist()


class _Mean:
    """Unweighted means over the parts of each entry; NaN in a part makes the whole undefined."""

    def __init__(self, entry: Ints, size: int) -> None:
        self._entry = entry
        self._size = size
        self.parts = np.bincount(entry, minlength=size).astype(float)

    def sum(self, values: Floats) -> Floats:
        return np.bincount(self._entry, weights=values, minlength=self._size).astype(float)

    def of(self, values: Floats) -> Floats:
        return self.sum(values) / self.parts

    def all(self, marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.bincount(self._entry, weights=~marks, minlength=self._size) == 0

    def stderr(self, stderr: Floats) -> Floats:
        return np.sqrt(self.sum(stderr**2)) / self.parts

    def df(self, stderr: Floats, df: Floats) -> Floats:
        with np.errstate(all="ignore"):
            found = self.sum(stderr**2) ** 2 / self.sum(np.where(stderr > 0, stderr**4 / df, stderr * 0.0))
        return np.where(self.sum(stderr) == 0, self.sum(df), found)

    def skewness(self, stderr: Floats, skewness: Floats) -> Floats:
        """Of a mean of independent parts: third moments add up; a part without spread has none."""
        with np.errstate(all="ignore"):
            third = np.where(stderr == 0, 0.0, stderr**3 * skewness)
            return self.sum(third) / self.sum(stderr**2) ** 1.5

    def design_effect(self, stderr: Floats, effect: Floats) -> Floats:
        """Variance over that of independent instances; subtasks without variance have none of either."""
        with np.errstate(all="ignore"):
            independent = np.where(stderr == 0, 0.0, stderr**2 / effect)
            total = self.sum(independent)
            return np.where(total > 0, self.sum(stderr**2) / total, np.nan)
