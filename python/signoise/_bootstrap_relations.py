"""Statistics that take several runs at once: difference and ratio to a baseline, and ranks, on the same draws."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._bootstrap_replicates import Found, Plan, drawn_together, limits_of, on_worker, replicates_of, spreads
from ._bootstrap_samples import Sample, Samples
from ._errors import DroppedRowsWarning, OptionError, SchemaError
from ._metrics import require_direction
from ._schema import did_you_mean
from .engines import Engine

Floats = NDArray[np.float64]

#: Statistics of a run and its baseline.
TO_BASELINE = ("difference", "ratio")
RELATIONS = (*TO_BASELINE, "rank")


@dataclass(frozen=True)
class _Means:
    """Means of some rows, of all their strata together."""

    values: Floats
    replicates: Floats
    """A row each, NaN where there are too few instances to draw."""


def check_relation(statistic: str, baseline: str | None, design: str, method: str, weights: str) -> None:
    """Raise ``OptionError`` for what statistics of several runs do not have."""
    if statistic in TO_BASELINE and baseline is None:
        raise OptionError(f'statistic={statistic!r} is to another run: name it, baseline="RUN"')
    if statistic not in TO_BASELINE and baseline is not None:
        raise OptionError(f'baseline= is for statistic="difference" and "ratio", got {statistic!r}')
    if statistic not in RELATIONS:
        return
    if design != "instances":
        raise OptionError(f'statistic={statistic!r} is for design="instances", got {design!r}')
    if weights == "bayesian":
        raise OptionError(f'weights="bayesian" is for statistic="mean", got {statistic!r}')
    known = ("percentile",) if statistic == "rank" else ("percentile", "basic", "bca")
    if method not in known:
        raise OptionError(
            f"statistic={statistic!r} is for method={', '.join(map(repr, known))}, got {method!r}"
        )


def related(
    loaded: Samples, plan: Plan, by: Sequence[str], baseline: str | None, engine: Engine
) -> tuple[Samples, Found]:
    """Rows that are kept, and what was found for them: all but the baseline's, or all for ranks."""
    # A row is compared with those of its own group; checkpoints are apart where `by` names them.
    key = [name for name in loaded.labels.columns if name != "run" and (name != "step" or "step" in by)]
    number = (
        loaded.labels.select(pl.struct(key).rank("dense") if key else pl.lit(1)).to_series().to_numpy()
        if loaded.labels.height
        else np.zeros(0)
    )
    number = np.broadcast_to(number, loaded.labels.height)
    groups = [np.flatnonzero(number == one) for one in np.unique(number)]
    if baseline is None:
        found = _ranks(loaded, groups, plan, engine)
        return loaded, found
    first = _baselines(loaded.labels, groups, baseline)
    rows: list[int] = []
    compared: list[list[Sample]] = []
    for group, base in zip(groups, first, strict=True):
        others = group[group != base] if base is not None else group[:0]
        if base is None or not len(others):
            continue
        rows += others.tolist()
        compared.append([loaded.samples[row] for row in (base, *others)])
    to_baseline = partial(_to_baseline, plan=on_worker(plan, engine))
    parts = list(engine.map(to_baseline, compared, sizes=[_work(samples) for samples in compared]))
    order = np.argsort(rows)
    kept = np.array(rows, dtype=np.intp)[order]
    return _taken(loaded, kept), _joined(parts, order)


def _baselines(labels: pl.DataFrame, groups: Sequence[NDArray[np.intp]], baseline: str) -> list[int | None]:
    runs = labels["run"].to_list()
    if baseline not in runs:
        known = sorted({str(run) for run in runs})
        raise SchemaError(
            f"baseline: no run {baseline!r}{did_you_mean(baseline, known)} "
            f"(there are {', '.join(known[:8])}{', ..' if len(known) > 8 else ''})"
        )
    found = [next((int(row) for row in group if runs[row] == baseline), None) for group in groups]
    without = sum(len(group) for group, base in zip(groups, found, strict=True) if base is None)
    if without:
        warnings.warn(
            f"{without} rows were left out: their group has no scores of {baseline!r}",
            DroppedRowsWarning,
            stacklevel=4,
        )
    return found


def _taken(loaded: Samples, rows: NDArray[np.intp]) -> Samples:
    return replace(
        loaded,
        labels=loaded.labels[rows],
        counts=loaded.counts[rows],
        samples=[loaded.samples[row] for row in rows],
        inside=loaded.inside[rows],
        unmatched=loaded.unmatched[rows],
    )


def _joined(parts: Sequence[Found], order: NDArray[np.intp]) -> Found:
    def column(name: str) -> NDArray[np.float64]:
        return np.concatenate([getattr(part, name) for part in parts])[order] if parts else np.zeros(0)

    draws = [kind for part in parts for kind in part.draws]
    return Found(
        column("value"),
        column("stderr"),
        column("low"),
        column("high"),
        column("constant").astype(bool),
        column("fallback").astype(bool),
        column("skewness"),
        [draws[at] for at in order],
    )


def _work(samples: Sequence[Sample]) -> float:
    """Scores that are drawn from, and runs that share the draws."""
    return float(sum(len(sample.values) for sample in samples))


def _means(samples: Sequence[Sample], plan: Plan) -> _Means:
    """The means behind a statistic, and their replicates."""
    values = np.full(len(samples), np.nan)
    replicates = np.full((len(samples), plan.n_resamples), np.nan)
    for rows in drawn_together(samples, plan):
        batch = [samples[row] for row in rows]
        found = replicates_of(batch, plan)
        logs = batch[0].logs
        replicates[rows] = np.exp(found.values) if logs else found.values
        values[rows] = np.exp(found.estimates) if logs else found.estimates
    return _Means(values, replicates)


def _to_baseline(samples: Sequence[Sample], plan: Plan) -> Found:
    """Difference or ratio of the means of all samples but the first to that of the first."""
    means = _means(samples, plan)
    ratio = plan.statistic == "ratio"
    with np.errstate(all="ignore"):
        base, base_replicates = means.values[0], means.replicates[0]
        values = means.values[1:] / base if ratio else means.values[1:] - base
        replicates = (
            means.replicates[1:] / base_replicates if ratio else means.replicates[1:] - base_replicates
        )
        influences = [_influence(sample) for sample in samples]
        accelerations = np.array(
            [
                _skewness(own / x - influences[0] / base if ratio else own - influences[0])
                if len(own) == len(influences[0])
                else np.nan
                for own, x in zip(influences[1:], means.values[1:], strict=True)
            ]
        ) * (np.sign(values) if ratio else 1.0)
        accelerations /= 6
    drawn = np.isfinite(replicates).all(axis=1) & np.isfinite(values)
    out = np.full((3, len(values)), np.nan)
    same, fallback = np.zeros((2, len(values)), dtype=bool)
    if drawn.any():
        limits = limits_of(replicates[drawn], values[drawn], accelerations[drawn], plan)
        ends = (limits["low"], limits["high"])
        error, coincide, one = spreads(replicates[drawn], ends, plan.threads)
        same[drawn] = coincide | one
        fallback[drawn] = limits["fallback"].astype(bool) & ~coincide
        out[:, drawn] = error, *ends
    stderr, low, high = out
    return Found(
        values,
        stderr,
        np.where(same, np.nan, low),
        np.where(same, np.nan, high),
        same,
        fallback,
        6 * accelerations,
        [_kind(sample) for sample in samples[1:]],
    )


def _ranks(loaded: Samples, groups: Sequence[NDArray[np.intp]], plan: Plan, engine: Engine) -> Found:
    """Ranks of the means in every replicate: 1 is best, equal means share the smaller."""
    count = loaded.labels.height
    metrics = loaded.labels["metric"].to_list() if "metric" in loaded.labels.columns else [None] * count
    signs = require_direction(sorted({name for name in metrics if name is not None}))
    value, stderr, low, high = np.full((4, count), np.nan)
    ranked = [
        _Ranked(
            [loaded.samples[row] for row in group],
            np.array([signs.get(metrics[row], 1) for row in group], dtype=float)[:, None],
        )
        for group in groups
    ]
    rank = partial(_ranks_of_group, plan=on_worker(plan, engine))
    sizes = [_work(group.samples) for group in ranked]
    for group, found in zip(groups, engine.map(rank, ranked, sizes=sizes), strict=True):
        if found is not None:
            value[group], stderr[group], low[group], high[group] = found
    nothing = np.zeros(count, dtype=bool)
    kinds = [_kind(sample) for sample in loaded.samples]
    return Found(value, stderr, low, high, nothing, nothing, np.full(count, np.nan), kinds)


@dataclass(frozen=True)
class _Ranked:
    """Runs that are ranked together."""

    samples: list[Sample]
    signs: Floats
    """+1 or -1 for each, a column."""


def _ranks_of_group(group: _Ranked, plan: Plan) -> tuple[Floats, Floats, Floats, Floats] | None:
    """Value, standard error and limits of each run's rank; None where there are none."""
    means = _means(group.samples, plan)
    if not np.isfinite(means.values).all() or len(group.samples) < 2:
        return None
    value = ranks(group.signs * means.values[:, None])[:, 0]
    drawn = ranks(group.signs * means.replicates)
    ends = limits_of(drawn, value, np.full(len(value), np.nan), plan)
    # A rank that no replicate changes is known as well as ranks are: no reason for a null.
    return value, np.std(drawn, axis=1, ddof=1), ends["low"], ends["high"]


def ranks(scores: Floats) -> Floats:
    """Ranks in each column, 1 for the highest; equal scores share the smaller."""
    order = np.argsort(-scores, axis=0, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=0)
    first = np.ones(scores.shape, dtype=bool)
    first[1:] = ordered[1:] < ordered[:-1]
    place = np.where(first, np.arange(1, len(scores) + 1)[:, None], 0)
    out = np.empty(scores.shape)
    np.put_along_axis(out, order, np.maximum.accumulate(place, axis=0).astype(float), axis=0)
    return out


def _influence(sample: Sample) -> Floats:
    """What each drawn unit adds to the mean over strata: (its sum - mean x its weight) / total weight."""
    if not len(sample.values):
        return np.zeros(0)
    weights = np.ones(len(sample.values)) if sample.weights is None else sample.weights
    starts = sample.members[:-1].astype(np.intp)
    total = np.add.reduceat(sample.values * weights, starts)
    weight = np.add.reduceat(weights, starts)
    strata = sample.strata.astype(np.intp)
    stratum = np.repeat(np.arange(len(strata) - 1), np.diff(strata))
    sums, sizes = np.bincount(stratum, total), np.bincount(stratum, weight)
    mean = sums / sizes
    found = (total - mean[stratum] * weight) / sizes[stratum] / len(sizes)
    return found * np.exp(mean.mean()) if sample.logs else found


def _skewness(influence: Floats) -> float:
    """Of a sum of such influences."""
    squares = float((influence**2).sum())
    return float((influence**3).sum()) / squares**1.5 if squares > 0 else np.nan


def _kind(sample: Sample) -> str:
    return "clusters" if sample.clustered else "instances"
