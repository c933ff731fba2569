"""Laws of `pass_until` along the scales of runs: fits, limits over draws of items, and the test of emergence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import PASS_UNTIL_ITEMS, PASS_UNTIL_TRIALS, uniforms
from .._bootstrap import FEW_INSTANCES
from .._errors import SchemaError
from .._schema import RUN_IDENTITY, did_you_mean
from .._segments import new_segments
from .._status import Statuses, flag_lists, result_column
from ._draws import item_counts
from ._samples import RepeatedSamples
from ._scale_laws import (
    Mixture,
    acceleration_score,
    curvatures,
    fit_mixture,
    item_laws,
    lines,
    log_log,
    rate_at,
)
from ._stopped import Tried, simulated

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Share of draws in which a law must be defined for limits of it.
_DEFINED = 0.95


@dataclass(frozen=True)
class LawPlan:
    """Options of the laws, checked."""

    required: int
    budget: int | None
    scale: str
    n_resamples: int
    n_refits: int
    rng_seed: int
    level: float
    threads: int | None


@dataclass(frozen=True)
class LawGroup:
    """Runs along a scale and the items that all of them have: arrays have items in rows and runs in columns."""

    scales: Floats
    """Of each run."""
    successes: Ints
    trials: Ints
    rates: Floats
    budgets: Ints
    """Trials that end the sampling of an item, by run."""
    cluster_sizes: NDArray[np.intp]
    """Items of each cluster, one after the other; every item its own where they are independent."""
    n_unmatched: int
    unit: int
    """Address of its draws."""

    @cached_property
    def x(self) -> Floats:
        """Scales as logarithms."""
        return np.log(self.scales)

    @property
    def n_scales(self) -> int:
        """Different scales."""
        return len(np.unique(self.x))

    @cached_property
    def f(self) -> Floats:
        """``ln(-ln PU)`` of each run."""
        return log_log(self.rates.sum(axis=0) / max(len(self.rates), 1))

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Runs with a pass rate inside (0, 1): those that the task law is about."""
        return np.isfinite(self.f)

    def counts(self, n_resamples: int, plan: LawPlan) -> Floats:
        """How often each draw of items (rows), whole clusters at a time, holds each item."""
        return item_counts(self.cluster_sizes, self.unit, n_resamples, plan.rng_seed, plan.threads)


@dataclass(frozen=True)
class LawGroups:
    """The groups of a result."""

    key: list[str]
    labels: pl.DataFrame
    groups: list[LawGroup]
    flags: dict[str, NDArray[np.bool_]]

    def table(self, rows: list[dict[str, Any]], repeats: int = 1) -> pl.DataFrame:
        """Labels beside columns of rows; each has a set of reasons that it may be undefined for."""
        statuses = Statuses(len(rows))
        for reason in ("too_few", "at_bound"):
            statuses.set(reason, np.array([reason in row["reasons"] for row in rows], dtype=bool))
        names = [name for name in rows[0] if name != "reasons"]
        flags = {name: np.repeat(up, repeats) for name, up in self.flags.items()}
        shown = self.labels[np.repeat(np.arange(self.labels.height), repeats)] if self.key else None
        return pl.DataFrame(
            [
                *([] if shown is None else shown.get_columns()),
                *(result_column(name, np.array([row[name] for row in rows])) for name in names),
                statuses.column(),
                flag_lists(flags, len(rows)),
            ]
        )


def flags_of_rows(loaded: RepeatedSamples) -> dict[str, NDArray[np.bool_]]:
    """Flags of the rows of samples."""
    return {
        "missing_values": loaded.counts.sum_horizontal().to_numpy() > 0,
        "mixed_config": np.full(len(loaded), "config" in loaded.joined),
    }


def scale_column(loaded: RepeatedSamples, scale: str) -> list[pl.Series]:
    """The scale of each run, where the table has it."""
    if scale not in loaded.items.columns:
        return []
    found = loaded.items.group_by("group", maintain_order=True).agg(pl.col(scale).drop_nulls().first())
    rows = pl.DataFrame({"group": np.arange(len(loaded))}, schema={"group": loaded.items.schema["group"]})
    return [rows.join(found, on="group", how="left", maintain_order="left")[scale]]


def law_groups(loaded: RepeatedSamples, tried: Tried, rates: Floats, plan: LawPlan) -> LawGroups:
    """Runs with the same by-columns along the scale."""
    scales = _scales(loaded, plan.scale)
    key = [name for name in loaded.labels.columns if name not in ("step", "revision", *RUN_IDENTITY)]
    number = loaded.labels.select(
        pl.struct(key).rank("dense") if key else pl.lit(1, dtype=pl.UInt32).alias("one")
    )
    group_of = number.to_series().to_numpy() - 1
    if not key:
        group_of = np.zeros(len(loaded), dtype=np.intp)
    labels = loaded.labels.select(key).unique().sort(key) if key else pl.DataFrame()
    runs = [np.flatnonzero(group_of == at) for at in range(int(group_of.max()) + 1)]
    groups = [_group(loaded, tried, rates, scales, own, plan) for own in runs]
    flags = {name: np.array([up[own].any() for own in runs]) for name, up in flags_of_rows(loaded).items()}
    flags["few_instances"] = np.array([len(group.rates) < FEW_INSTANCES for group in groups])
    flags["unmatched"] = np.array([group.n_unmatched > 0 for group in groups])
    return LawGroups(key, labels, groups, flags)


def _scales(loaded: RepeatedSamples, scale: str) -> Floats:
    """The scale of each run as a number above 0."""
    found = scale_column(loaded, scale)
    if not found:
        names = [name for name in loaded.items.columns if not name.startswith("__")]
        raise SchemaError(
            f"laws need the scale of each run, and the table has no column {scale!r}{did_you_mean(scale, names)}; name "
            "it with scale=, or declare it with columns="
        )
    if not found[0].dtype.is_numeric():
        raise SchemaError(f"scale: column {scale!r} holds {found[0].dtype}, not numbers")
    numbers = found[0].cast(pl.Float64).to_numpy()
    bad = ~(np.isfinite(numbers) & (numbers > 0))
    if bad.any():
        run = loaded.labels["run"][int(bad.argmax())]
        raise SchemaError(
            f"scale: {int(bad.sum())} runs, first {run!r}, have no {scale} above 0; leave them out (where=...)"
        )
    return numbers


def _group(
    loaded: RepeatedSamples,
    tried: Tried,
    rates: Floats,
    scales: Floats,
    runs: NDArray[np.intp],
    plan: LawPlan,
) -> LawGroup:
    """The items that all runs have, sorted by cluster and label."""
    items = loaded.items.with_row_index("__at").filter(pl.col("group").is_in(runs.tolist()))
    shared = items.filter(pl.len().over("instance_id") == len(runs)).sort("instance_id", "group")
    at = shared["__at"].to_numpy().reshape(-1, len(runs))
    labels = shared[:: len(runs)]
    order = labels.select(pl.arg_sort_by("__cluster", "instance_id")).to_series().to_numpy()
    at, labels = at[order], labels[order]
    alone = labels["__cluster"].is_null().to_numpy()
    successes, trials = tried.successes[at], tried.trials[at]
    # Of items that succeeded nothing says how long they might have been tried: as long as the longest.
    longest = trials.max(axis=0, initial=1)
    budgets = longest if plan.budget is None else np.full_like(longest, plan.budget)
    return LawGroup(
        scales[runs],
        successes,
        trials,
        rates[at],
        budgets,
        np.diff(np.append(np.flatnonzero(new_segments(labels, ["__cluster"]) | alone), labels.height)),
        items["instance_id"].n_unique() - len(at),
        # Runs of a group share it, but for those without any score.
        int(loaded.units[runs].max()),
    )


# --- laws ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Laws:
    """The laws of a group and their draws (rows)."""

    group: LawGroup
    plan: LawPlan
    reasons: set[str]

    @cached_property
    def counts(self) -> Floats:
        """Draws of items."""
        return self.group.counts(self.plan.n_resamples, self.plan)

    @cached_property
    def drawn_f(self) -> Floats:
        """``ln(-ln PU)`` of the runs that the task law is about, in each draw."""
        inside = self.group.inside
        return log_log(self.counts @ self.group.rates[:, inside] / self.counts.sum(axis=1, keepdims=True))

    def limits(self, draws: Floats) -> tuple[Floats, Floats]:
        """Percentile limits of each column of draws, NaN where too few of them are defined."""
        tail = 100 * (1 - self.plan.level) / 2
        known = np.isfinite(draws).mean(axis=0) >= _DEFINED
        ends = np.full((2, draws.shape[1]), np.nan)
        if known.any():
            ends[:, known] = np.nanpercentile(draws[:, known], [tail, 100 - tail], axis=0)
        return ends[0], ends[1]

    @cached_property
    def mixture(self) -> Mixture:
        """The instance law."""
        return fit_mixture(self.group.successes, self.group.trials, self.group.x)

    @cached_property
    def drawn_mixtures(self) -> list[Mixture]:
        """The instance law of each draw of items, of as many as there are refits."""
        group = self.group
        return [
            fit_mixture(group.successes, group.trials, group.x, counts=counts, like=self.mixture)
            for counts in group.counts(self.plan.n_refits, self.plan)
        ]

    def simulated_scores(self) -> Iterator[float]:
        """Score of acceleration of tables simulated under the mixture."""
        group, plan = self.group, self.plan
        rates, shares = self.mixture.rates(group.x), np.cumsum(self.mixture.shares)
        n, runs = group.trials.shape
        for replicate in range(plan.n_refits):
            pick = uniforms(plan.rng_seed, PASS_UNTIL_ITEMS, group.unit, n, replicate)
            sort = np.minimum(np.searchsorted(shares, pick * shares[-1]), len(shares) - 1)
            u = uniforms(plan.rng_seed, PASS_UNTIL_TRIALS, group.unit, n * runs * plan.required, replicate)
            budgets = np.broadcast_to(group.budgets, (n, runs))
            table = simulated(rates[sort], budgets, u.reshape(n, runs, plan.required))
            yield acceleration_score(*table, fit_mixture(*table, group.x, like=self.mixture))


def law_rows(groups: LawGroups, plan: LawPlan) -> pl.DataFrame:
    """A row for each group."""
    with np.errstate(all="ignore"):
        return groups.table([_law_row(_Laws(group, plan, set())) for group in groups.groups])


def _law_row(laws: _Laws) -> dict[str, Any]:
    group, inside = laws.group, laws.group.inside
    x, f = group.x[inside], group.f[inside]
    enough = len(group.rates) >= 2
    row: dict[str, Any] = {
        "n_runs": len(group.x),
        "n_at_bound": int((~inside).sum()),
        "n_items": len(group.rates),
        "n_unmatched": group.n_unmatched,
    }
    statistics = (
        *("alpha", "alpha_low", "alpha_high", "log_c"),
        *("curvature", "curvature_low", "curvature_high", "curvature_mixture"),
        *("instance_alpha", "instance_alpha_low", "instance_alpha_high", "z", "p_value"),
    )
    row |= dict.fromkeys(statistics, np.nan)
    scales = len(np.unique(x))
    if scales < 3 or not enough:
        laws.reasons.add("at_bound" if group.n_scales >= 3 and enough else "too_few")
    if scales >= 2:
        intercept, slope = lines(x, f)
        row |= {"alpha": -float(slope), "log_c": float(intercept)}
        if enough:
            low, high = laws.limits(-lines(x, laws.drawn_f)[1][:, None])
            row |= {"alpha_low": low[0], "alpha_high": high[0]}
    if scales >= 3:
        row["curvature"] = float(curvatures(x, f))
        if enough:
            low, high = laws.limits(curvatures(x, laws.drawn_f)[:, None])
            row |= {"curvature_low": low[0], "curvature_high": high[0]}
    if group.n_scales >= 2 and enough and inside.any():
        row |= _of_mixture(laws, x)
    row["reasons"] = laws.reasons
    return row


def _of_mixture(laws: _Laws, x: Floats) -> dict[str, float]:
    """The instance law, what curvature it explains, and the test against it."""
    group, mixture = laws.group, laws.mixture
    if mixture.at_bound:
        laws.reasons.add("at_bound")
        return {}
    low, high = laws.limits(np.array([[drawn.alpha] for drawn in laws.drawn_mixtures]))
    found = {
        "instance_alpha": mixture.alpha,
        "instance_alpha_low": low[0],
        "instance_alpha_high": high[0],
    }
    if len(np.unique(x)) >= 3:
        found["curvature_mixture"] = float(curvatures(x, log_log(mixture.mean_rates(x))))
    if group.n_scales >= 3:
        score = acceleration_score(group.successes, group.trials, mixture)
        null = np.array(list(laws.simulated_scores()))
        found["z"] = (score - float(null.mean())) / float(null.std(ddof=1))
        found["p_value"] = (1 + int((null >= score).sum())) / (1 + len(null))
    return found


def prediction_rows(groups: LawGroups, plan: LawPlan, scales: Floats) -> pl.DataFrame:
    """A row for each group and scale."""
    with np.errstate(all="ignore"):
        rows = [row for group in groups.groups for row in _prediction_rows(_Laws(group, plan, set()), scales)]
    return groups.table(rows, len(scales)).rename({"__scale": plan.scale})


def _prediction_rows(laws: _Laws, scales: Floats) -> list[dict[str, Any]]:
    group, inside, to = laws.group, laws.group.inside, np.log(scales)
    x, f = group.x[inside], group.f[inside]
    enough = len(group.rates) >= 2
    found = {
        f"{law}{end}": np.full(len(to), np.nan)
        for law in ("task_law", "ipu", "mixture")
        for end in ("", "_low", "_high")
    }
    if len(np.unique(x)) >= 2:
        intercept, slope = lines(x, f)
        found["task_law"] = rate_at(intercept + slope * to)
        if enough:
            intercepts, slopes = lines(x, laws.drawn_f)
            drawn = rate_at(intercepts[:, None] + slopes[:, None] * to)
            drawn[~np.isfinite(slopes)] = np.nan
            found["task_law_low"], found["task_law_high"] = laws.limits(drawn)
    else:
        laws.reasons.add("at_bound" if group.n_scales >= 2 and enough else "too_few")
    if group.n_scales >= 2 and len(group.rates):
        level, alpha = item_laws(group.successes, group.trials, group.x)
        own = rate_at(level[:, None] - alpha[:, None] * to)
        found["ipu"] = own.mean(axis=0)
        if enough:
            found["ipu_low"], found["ipu_high"] = laws.limits(
                laws.counts @ own / laws.counts.sum(axis=1, keepdims=True)
            )
    if group.n_scales >= 2 and enough and inside.any():
        if laws.mixture.at_bound:
            laws.reasons.add("at_bound")
        else:
            found["mixture"] = laws.mixture.mean_rates(to)
            drawn = np.array([mixture.mean_rates(to) for mixture in laws.drawn_mixtures])
            found["mixture_low"], found["mixture_high"] = laws.limits(drawn)
    return [
        {
            "__scale": scale,
            "scale_ratio": scale / float(group.scales.max()),
            "n_runs": len(group.x),
            "n_items": len(group.rates),
            **{name: values[at] for name, values in found.items()},
            "reasons": laws.reasons,
        }
        for at, scale in enumerate(scales.tolist())
    ]
