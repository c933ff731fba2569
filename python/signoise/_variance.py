"""The verb `variance`: what a score varies with, how far a ranking can be relied on, and what a budget buys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import _intervals
from . import _variance_components as parts
from ._duplicates import Duplicates, settle_duplicates
from ._encode import Encoded, Series, encode
from ._errors import OptionError
from ._kernels import kernels
from ._measure import AUTOCORRELATED, FEW_MEMBERS, check_autocorrelation, group_autocorrelation
from ._options import as_columns, check_choice, check_count, check_level, signature
from ._power import detectable
from ._scores import Filter, Groups, Scores, load, note_key, rows_of, warn_notes
from ._status import Statuses, check_strict, flag_lists, result_column
from ._variance_items import ItemParts, item_parts
from ._variance_needs import ACCURACY, POWER, Budget, allowed_by_accuracy, needs

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: Fewer spare runs than this bound the seed variance within a factor of 10 or worse.
FEW_SEEDS = 4


def variance(
    scores: Scores,
    *,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    across: str | Sequence[str] | None = None,
    order: str = "tokens",
    window: int = 5,
    noise: Literal["within", "detrended"] = "within",
    autocorrelation: float | Literal["pooled"] = "pooled",
    instances: bool = True,
    seeds: int | Sequence[int] = 1,
    checkpoints: int | Sequence[int] = 1,
    items: int | Sequence[int] | None = None,
    accuracy: float = ACCURACY,
    mde: float | None = None,
    power: float = POWER,
    confidence_level: float = 0.95,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Split the variance of a score into seed, checkpoint, instance and generation, and price a budget with it.

    Parameters
    ----------
    scores, by, where, order, window, groups, columns, duplicates, strict, threads
        As in `snr`.
    across
        What a member of the population is; runs of one member (and size) are taken to differ by their seed alone.
        Default ``recipe`` where it is filled, else ``run``.
    noise
        ``"within"``: variance of the last `window` checkpoints about their mean; ``"detrended"``: about their line.
    autocorrelation
        Of checkpoints, as in `snr`: it enters every component.
    instances
        Use instance rows where there are any (all of them are held in memory); ``False`` leaves their components out.
    seeds, checkpoints, items
        The budget: training runs of a member, checkpoints of a run and instances whose scores are averaged. Lists
        make a row for every combination. Default: one run, one checkpoint, the instances at hand.
    accuracy
        The goal of the columns ``need_``: two random members are ordered rightly with this probability.
    mde
        Instead: a difference between two members, score units, is detected with `power`.
    power
        Of `mde`, goal and column.
    confidence_level
        Of the limits and of `mde`.

    Returns
    -------
    DataFrame
        By-columns; ``n_members, n_runs, n_checkpoints`` (smallest number used), ``n_items`` (null without instances),
        ``mean``. Variances, score units squared: ``variance_seed, variance_seed_low, variance_seed_high,
        variance_seed_unclipped, variance_step, variance_step_low, variance_step_high`` of a score over the instances
        at hand; ``variance_runs`` (between means of sister runs, as observed), ``variance_members`` (between true
        scores of members); from instances ``variance_step_item`` (generations inside), ``variance_seed_item,
        variance_item, variance_generation``. ``share_members, share_seed, share_step``: of one checkpoint's score.
        The budget ``seeds, checkpoints, items`` and what it buys: ``stderr`` of a member's score on these instances,
        ``stderr_new_items`` (for claims about new instances), ``mde`` (difference between two members that is
        detected with `power`), ``reliability`` (share of true variance in the members' scores), ``expected_accuracy``
        (chance that two random members are ordered rightly). What the goal takes, each number alone while the others
        stay as in the budget: ``need_seeds, need_checkpoints, need_items``; ``unreachable`` lists those of which a
        million are not enough. ``autocorrelation, n_missing, n_nan, status, flags, signature``.

    Undefined when
        No run has 2 checkpoints (``too_few``: steps and all that follows from them null); no member has 2 runs (flag
        ``no_seeds``: seed null and taken as 0 in the budget, which then speaks of these runs and not of recipes);
        fewer than 2 members (reliability null). Instance components are null for metrics that are no plain mean over
        instances, and the budget with them if `items` is given. A ``need_`` is null where it is in ``unreachable``, or
        where the components it rests on are unknown: ``need_seeds`` without sister seeds, ``need_items`` without
        instances, all of them for `accuracy` with fewer than 2 members.

    Notes
    -----
    Components by the method of moments, unbiased; negative ones count as 0 (``variance_seed_unclipped`` keeps the
    sign). Limits of seed: modified large-sample method, of step: chi-square, both for normal scores. Checkpoints of
    short runs hide part of their autocorrelation, and what is hidden counts as seed: with 15 checkpoints and an
    autocorrelation of 0.8 half of the false seed variance stays (simulated); give `autocorrelation` if you know it.
    Budget:
    ``stderr^2 = [seed + seed_item/n + (step + step_item/n)/k]/s`` with k the independent checkpoints that those
    averaged are worth, and ``item/n`` more for new instances; ``mde = (z_a + z_b) sqrt(2) stderr``;
    ``expected_accuracy = 1/2 + asin(sqrt(reliability))/pi`` for normally distributed members. Between-member variance
    is that of this population: it says nothing about closer models. Needs invert the same formula; checkpoints are
    meant to be like those of the window, so that many more of them need a longer flat end of training.

    References
    ----------
    Burdick and Graybill 1992, "Confidence intervals on variance components"; Madaan et al. 2024, "Quantifying Variance
    in Evaluation Benchmarks", arXiv 2406.10229; Miller 2024, arXiv 2411.00640.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=6, seeds=4, params=(150_000_000,), seed_noise=0.004)
    >>> sn.variance(scores, checkpoints=[1, 5])["mde"].round(4).to_list()[0] > 0.01
    True
    """
    check_count("window", window)
    check_level(confidence_level)
    check_autocorrelation(autocorrelation)
    check_choice("noise", noise, ("within", "detrended"))
    if not 0 < power < 1:
        raise OptionError(f"power must be a fraction between 0 and 1, got {power!r}")
    if not 0.5 < accuracy < 1:
        raise OptionError(f"accuracy must be between 0.5 (a coin) and 1, got {accuracy!r}")
    if mde is not None and not 0 < mde < np.inf:
        raise OptionError(f"mde must be a positive difference in score units, got {mde!r}")
    budget = {
        name: _counts(name, value)
        for name, value in (("seeds", seeds), ("checkpoints", checkpoints), ("items", items))
    }
    by = as_columns(by)
    wanted = as_columns(across) if across else ("recipe", "run")
    use = [*by, *(wanted if across else ()), order]
    rows = None
    source: Scores = scores
    if instances:
        rows, _ = rows_of(scores, columns, where, use, strict=strict, threads=threads, instances=True)
        source, columns, where = rows, None, None
    table = load(
        source,
        columns=columns,
        where=where,
        groups=groups,
        use=use,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    members = wanted if across else wanted[:1] if _filled(table.frame, "recipe") else wanted[1:]
    encoded = encode(table.frame, by=by, members=members, order=order, duplicates=duplicates)
    warn_notes(table.notes)
    note_key(encoded, by)
    settings = {
        "across": members,
        "order": order,
        "window": window,
        "noise": noise,
        "autocorrelation": autocorrelation,
        "instances": instances,
        "level": confidence_level,
        "power": power,
        "goal": f"accuracy={accuracy:g}" if mde is None else f"mde={mde:g}",
    }

    def allowed(members: Floats) -> Floats:
        """Largest variance of a score that reaches the goal."""
        if mde is None:
            return allowed_by_accuracy(members, accuracy)
        unit = detectable(np.ones(len(members)), power, confidence_level)
        return (mde / unit) ** 2 / 2

    with np.errstate(all="ignore"):
        split = _split(encoded, window, noise, autocorrelation, confidence_level, threads)
        found = _items(rows, encoded, split, members, order, window, duplicates, grouped=groups is not None)
        columns_of, flags, statuses = _group_columns(encoded, split, found, window, confidence_level)
        result = _with_budget(encoded, split, found, columns_of, budget, allowed, power, confidence_level)
    count = result.pop("__rows")
    place = np.repeat(np.arange(len(encoded.groups)), count)
    output = pl.DataFrame(
        [
            *(encoded.groups[name][place] for name in encoded.by),
            *(result_column(name, values) for name, values in result.items()),
            statuses.column()[place],
            flag_lists(flags, len(encoded.groups))[place],
        ]
    ).with_columns(pl.lit(signature("variance", **settings)).alias("signature"))
    check_strict(output, encoded.by, strict=strict)
    return output


@dataclass(frozen=True)
class _Split:
    """Components over checkpoints and runs, by group."""

    series: Series
    cell: Ints
    """Of each series: runs of one cell differ by their seed alone."""
    components: parts.SeedAndStep
    rho: Floats
    trend_t: Floats
    trend_df: Floats
    n_cells: Ints
    members: Floats
    """Between true scores of cells, unclipped."""


def _counts(name: str, value: int | Sequence[int] | None) -> list[int] | None:
    if value is None:
        return None
    values = [value] if isinstance(value, int) else list(value)
    if not values:
        raise OptionError(f"{name} is an empty list")
    for count in values:
        check_count(name, count)
    return values


def _filled(frame: pl.DataFrame, name: str) -> bool:
    return name in frame.columns and frame[name].null_count() == 0


def _cell_columns(encoded: Encoded, members: Sequence[str]) -> list[str]:
    """Columns within which runs differ by their seed alone: a larger model is no other seed."""
    return [
        *members,
        *(name for name in ("params",) if name in encoded.heads.columns and name not in members),
    ]


def _split(
    encoded: Encoded,
    window: int,
    noise: str,
    autocorrelation: float | str,
    level: float,
    threads: int | None,
) -> _Split:
    n_groups = len(encoded.groups)
    series = encoded.series(window, threads=threads)
    columns = series.columns
    offsets = np.searchsorted(series.group, np.arange(n_groups + 1)).astype(np.uintp)
    inputs = [columns[name] for name in ("n", "mean", "m2", "slope", "sxx", "residual", "successive")]
    combined = kernels().group_noise(*inputs, offsets, noise, 1, threads=threads)
    rho = group_autocorrelation(encoded, series, combined, autocorrelation).rho
    known = np.nan_to_num(rho, nan=0.0)
    labels = encoded.heads[series.block].select(_cell_columns(encoded, list(encoded.members.columns)))
    cell = (
        labels.with_columns(pl.Series("__group", series.group))
        .select(pl.struct(pl.all()).rank("dense"))
        .to_series()
        .to_numpy()
        .astype(np.intp)
        - 1
    )
    n = columns["n"].astype(float)
    detrended = noise == "detrended"
    components = parts.seed_and_step(
        n,
        columns["mean"],
        columns["residual"] if detrended else columns["m2"],
        np.maximum(n - (2 if detrended else 1), 0),
        cell,
        series.group,
        n_groups,
        rho=known,
        level=level,
    )
    # Between members: the variance of their observed scores less the mean variance of what they err by.
    runs = np.bincount(cell)
    group_of_cell = np.zeros(len(runs), dtype=np.intp)
    group_of_cell[cell] = series.group
    f = kernels().autocorrelation_factors(np.maximum(n, 2.0), known[series.group])["f"]
    worth = parts.worth_of(n, np.where(n >= 2, f, 0.0))
    seed, step = (np.nan_to_num(x.value, nan=0.0) for x in (components.seed, components.step))
    own = seed[series.group] + step[series.group] / worth
    error = np.bincount(cell, weights=own) / runs**2
    score = np.bincount(cell, weights=columns["mean"]) / runs
    n_cells = np.bincount(group_of_cell, minlength=n_groups)
    mean = np.bincount(group_of_cell, weights=score, minlength=n_groups) / n_cells
    observed = np.bincount(group_of_cell, weights=(score - mean[group_of_cell]) ** 2, minlength=n_groups)
    mean_error = np.bincount(group_of_cell, weights=error, minlength=n_groups) / n_cells
    members = np.where(n_cells >= 2, observed / (n_cells - 1) - mean_error, np.nan)
    # Without steps the error of a score is unknown.
    members = np.where(np.isfinite(components.step.unclipped), members, np.nan)
    return _Split(series, cell, components, rho, combined["trend_t"], combined["trend_df"], n_cells, members)


def _items(
    rows: pl.DataFrame | None,
    encoded: Encoded,
    split: _Split,
    members: Sequence[str],
    order: str,
    window: int,
    duplicates: Duplicates,
    *,
    grouped: bool,
) -> ItemParts:
    """Components from instances, all undefined where there are none or tasks were merged."""
    nothing = ItemParts(*(np.full(len(encoded.groups), np.nan) for _ in range(5)))
    # Tasks that were merged are averaged as tasks, whatever the number of their instances.
    if rows is None or grouped or "instance_id" not in rows.columns:
        return nothing
    rows = rows.filter(pl.col("instance_id").is_not_null())
    if not rows.height:
        return nothing
    rows, _ = settle_duplicates(rows, "mean" if duplicates == "status" else duplicates)
    return item_parts(
        rows,
        encoded.groups,
        split.rho,
        by=encoded.by,
        cells=_cell_columns(encoded, members),
        order=order,
        window=window,
    )


def _group_columns(
    encoded: Encoded, split: _Split, found: ItemParts, window: int, level: float
) -> tuple[dict[str, Any], dict[str, NDArray[np.bool_]], Statuses]:
    """Columns that do not depend on the budget, flags and statuses."""
    n_groups = len(encoded.groups)
    series, seed, step = split.series, split.components.seed, split.components.step
    fewest = np.full(n_groups, np.iinfo(np.intp).max, dtype=np.intp)
    np.minimum.at(fewest, series.group, series.columns["n"].astype(np.intp))
    runs = np.bincount(series.group, minlength=n_groups)
    fewest = np.where(runs > 0, fewest, 0)
    mean = np.bincount(series.group, weights=series.columns["mean"], minlength=n_groups) / runs
    total = sum(np.nan_to_num(np.maximum(part, 0.0)) for part in (split.members, seed.value, step.value))
    columns: dict[str, Any] = {
        "n_members": split.n_cells,
        "n_runs": runs,
        "n_checkpoints": fewest,
        "n_items": _whole(found.n_items),
        "mean": mean,
        "variance_seed": seed.value,
        "variance_seed_low": seed.low,
        "variance_seed_high": seed.high,
        "variance_seed_unclipped": seed.unclipped,
        "variance_step": step.value,
        "variance_step_low": step.low,
        "variance_step_high": step.high,
        "variance_runs": split.components.runs,
        "variance_members": np.maximum(split.members, 0.0),
        "variance_step_item": found.step_item,
        "variance_seed_item": np.maximum(found.seed_item, 0.0),
        "variance_item": np.maximum(found.item, 0.0),
        "variance_generation": found.generation,
        "share_members": np.maximum(split.members, 0.0) / total,
        "share_seed": seed.value / total,
        "share_step": step.value / total,
    }
    limit = _intervals.quantile_at("t_quantile", (1 + level) / 2, split.trend_df)
    spare = np.nan_to_num(seed.df, nan=0.0)
    flags = {
        "few_checkpoints": fewest < window,
        "trend": np.abs(split.trend_t) > limit,
        "missing_values": (encoded.n_missing + encoded.n_nan) > 0,
        "autocorrelated": split.rho >= AUTOCORRELATED,
        "few_members": split.n_cells < FEW_MEMBERS,
        "few_seeds": (spare > 0) & (spare < FEW_SEEDS),
        "no_seeds": spare == 0,
    }
    statuses = Statuses(n_groups)
    statuses.set("duplicate_key", encoded.conflicts)
    short = np.ones(n_groups, dtype=bool)
    short[series.group[series.columns["n"] >= 2]] = False
    statuses.set("too_few", short | ~(step.df > 0))
    statuses.set("zero_noise", step.unclipped == 0)
    statuses.check_finite(~np.isfinite(step.unclipped))
    statuses.blank(columns, "duplicate_key")
    return columns, flags, statuses


def _whole(values: Floats) -> pl.Series:
    return pl.Series(values, nan_to_null=True).cast(pl.Int64)


def _with_budget(
    encoded: Encoded,
    split: _Split,
    found: ItemParts,
    columns: dict[str, Any],
    budget: Mapping[str, list[int] | None],
    allowed: Callable[[Floats], Floats],
    power: float,
    level: float,
) -> dict[str, Any]:
    """The columns with a row for every budget of every group; ``__rows`` says how many each has."""
    n_groups = len(encoded.groups)
    asked = [values if values is not None else [0] for values in budget.values()]
    grid = np.array(list(product(*asked)), dtype=float)
    place = np.repeat(np.arange(n_groups), len(grid))
    seeds, checkpoints, items = (np.tile(column, n_groups) for column in grid.T)
    at_hand = found.n_items[place]
    items = at_hand if budget["items"] is None else items
    out: dict[str, Any] = {name: values[place] for name, values in columns.items()}

    seed = np.nan_to_num(out["variance_seed"], nan=0.0)
    step, step_item = out["variance_step"], out["variance_step_item"]
    seed_item = np.where(np.isnan(step_item), np.nan, np.nan_to_num(out["variance_seed_item"], nan=0.0))
    rho = np.nan_to_num(split.rho, nan=0.0)[place]
    # What the instances at hand have averaged away already.
    apart = Budget(
        seed=np.maximum(0.0, seed - seed_item / at_hand),
        step=np.maximum(0.0, step - step_item / at_hand),
        seed_item=seed_item,
        step_item=step_item,
        items=items,
        checkpoints=checkpoints,
        seeds=seeds,
        rho=rho,
    )
    nothing, one = np.zeros(len(place)), np.ones(len(place))
    whole = replace(apart, seed=seed, step=step, seed_item=nothing, step_item=nothing, items=one)
    chosen = whole if budget["items"] is None else apart
    error = chosen.error()
    share = parts.reliability(out["variance_members"], error)
    known = np.isfinite(share)
    accuracy = np.where(known, parts.expected_accuracy(np.where(known, share, 0.0)), np.nan)
    out |= {
        "seeds": seeds.astype(np.int64),
        "checkpoints": checkpoints.astype(np.int64),
        "items": _whole(items),
        "stderr": np.sqrt(error),
        "stderr_new_items": np.sqrt(error + out["variance_item"] / items),
        "mde": detectable(np.sqrt(2 * error), power, level),
        "reliability": share,
        "expected_accuracy": accuracy,
        **needs(
            chosen,
            apart,
            allowed(out["variance_members"]),
            no_seeds=~(np.nan_to_num(split.components.seed.df, nan=0.0) > 0)[place],
        ),
        "autocorrelation": split.rho[place],
        "n_missing": encoded.n_missing[place],
        "n_nan": encoded.n_nan[place],
        "__rows": len(grid),
    }
    return out
