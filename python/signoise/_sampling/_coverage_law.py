"""The verb `coverage_law`: how the share of solved instances grows with the number of tries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._bootstrap import FEW_INSTANCES
from .._bootstrap_replicates import Plan, drawn_together, replicates_of, too_few
from .._duplicates import Duplicates
from .._laws._fit import Fit, fit_groups, refit, settings_of
from .._laws._law import find_law
from .._laws._points import Points
from .._options import as_columns, check_count, check_level, check_seed, signature
from .._scores import Filter, Scores
from .._status import Statuses, check_strict, flag_lists, result_column
from ._pass_at_k import checked_tries, pass_values
from ._samples import RepeatedSamples, load_repeated

Floats = NDArray[np.float64]

#: Numbers of tries that a curve is fitted to, at most: as good as all of them, which differ by less and less.
_POINTS = 32
#: Parameters of the law, and fewest points that say whether it holds.
_PARAMETERS, _FEWEST = ("a", "b"), 3
#: Share of replicates that must be fits.
_ENOUGH = 0.9


def coverage_law(
    scores: Scores,
    *,
    k: int | Sequence[int] | None = None,
    at: int | Sequence[int] | None = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    order: str = "tokens",
    cluster: str | None = None,
    n_resamples: int = 1000,
    confidence_level: float = 0.95,
    rng_seed: int = 0,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Fit the growth of pass@k with the number of tries, ``exp(a k^b)`` with a and b below 0.

    On log axes ``-ln pass@k`` is then a straight line: `b` is its slope, and ``exp(a)`` is pass@1.

    Parameters
    ----------
    scores, by, where, order, cluster, columns, duplicates, strict, threads
        As in `pass_at_k`.
    k
        Numbers of tries to fit to, up to the samples of the instance that has fewest. Default: up to 32 of them,
        from 1 on evenly on a log scale.
    at
        Numbers of tries to predict pass@k for, a row each.
    n_resamples, confidence_level, rng_seed
        Of the bootstrap over instances, or clusters of them: each replicate is a curve of its own, fitted again.

    Returns
    -------
    DataFrame
        A row for each run, checkpoint and score: ``run, step``, by-columns; ``n_items``; ``n_samples_min``, fewest of
        an instance; ``n_points`` fitted; ``a, a_low, a_high, b, b_low, b_high``; ``residual``, root mean square of the
        residuals of ln pass@k. With `at` a row for each number of tries ``k`` as well, with ``pass_at_k``, unbiased,
        where there are as many samples, and ``predicted, predicted_low, predicted_high`` by the law. Then
        ``n_missing, n_nan, status, flags, signature``.

    Undefined when
        Fewer than 3 numbers of tries, 2 instances or 2 clusters (``too_few``). No instance is ever solved, or all are
        at the first try (``constant``). More tries solve no more (``at_bound``: b is 0). Limits are null where more
        than a tenth of the replicates have no fit.

    Notes
    -----
    Least squares of ln pass@k, with unbiased estimates. These share their samples over all k: residuals say how well
    the form fits, not how sure it is, so intervals come from instances. The form goes to 1 for many tries whatever the
    instances are; where some cannot be solved it promises too much. Flags: ``extrapolated`` (more tries than some
    instance has samples: ``pass_at_k(extrapolate=True)`` says how far models of what is unseen differ),
    ``few_instances``, ``missing_values``, ``mixed_config``. How a and b scale with size or compute: name the column in
    `by`. The same law is ``"coverage"`` of `fit_scaling_law`, for tables of pass@k.

    References
    ----------
    Brown et al. 2024, "Large language monkeys: scaling inference compute with repeated sampling", arXiv 2407.21787,
    section 3.1 (their objective is not known to us); Schaeffer et al. 2025, arXiv 2502.17578 (why it holds).

    Examples
    --------
    >>> import numpy as np
    >>> import polars as pl
    >>> import signoise as sn
    >>> rng = np.random.default_rng(0)
    >>> right = rng.binomial(100, rng.beta(0.4, 1.5, 300))
    >>> counts = pl.DataFrame({"run": "m", "task": "math", "item": range(300), "n": 100, "c": right})
    >>> law = sn.coverage_law(counts, at=1000, n_resamples=100)
    >>> law["b"].item() < 0, law["flags"].to_list()
    (True, [['extrapolated']])
    """
    chosen = None if k is None else sorted(checked_tries(k))
    places = [] if at is None else checked_tries(at)
    check_level(confidence_level)
    check_count("n_resamples", n_resamples, 2)
    check_seed(rng_seed)
    loaded = load_repeated(
        scores,
        who="coverage_law",
        by=as_columns(by),
        where=where,
        order=order,
        cluster=cluster,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    plan = Plan("mean", None, None, "percentile", n_resamples, rng_seed, confidence_level, threads)
    curves = [_curve(loaded, group, chosen, plan) for group in range(len(loaded))]
    output = _table(loaded, curves, places, plan).with_columns(
        pl.lit(
            signature(
                "coverage_law",
                k=chosen,
                cluster=cluster,
                order=order,
                n_resamples=n_resamples,
                rng=rng_seed,
                level=confidence_level,
            )
        ).alias("signature")
    )
    check_strict(output, [*loaded.labels.columns, *(["k"] if places else [])], strict=strict)
    return output


@dataclass(frozen=True)
class _Curve:
    """The law of one group."""

    n_points: int
    few: bool
    constant: bool
    fit: Fit | None
    replicates: Floats
    """Parameters (n_replicates, 2); none where too few replicates have a fit."""

    @property
    def at_bound(self) -> bool:
        return self.fit is not None and bool(self.fit.at_bound.any())

    @property
    def settled(self) -> bool:
        """Whether the fit is one; where there are too few points to ask for one, too."""
        return self.fit is None or (self.fit.found and self.fit.settled)

    @property
    def parameters(self) -> Floats:
        usable = self.fit is not None and self.settled
        return self.fit.estimates if self.fit is not None and usable else np.full(2, np.nan)

    def predicted(self, k: float) -> float:
        return float(_law(self.parameters[None], k)[0])

    def limits(self, values: Floats, level: float) -> tuple[float, float]:
        """Percentiles of a statistic of the replicates."""
        if not len(values) or not self.settled:
            return np.nan, np.nan
        tail = 50 * (1 - level)
        low, high = np.percentile(values, [tail, 100 - tail])
        return float(low), float(high)


def _law(parameters: Floats, k: float) -> Floats:
    """exp(a k^b) for rows of parameters."""
    with np.errstate(all="ignore"):
        return np.exp(parameters[:, 0] * k ** parameters[:, 1])


def _curve(loaded: RepeatedSamples, group: int, chosen: Sequence[int] | None, plan: Plan) -> _Curve:
    """Fit the unbiased pass@k of one group, and of its instances drawn again."""
    sizes = loaded.sizes(group)
    fewest = int(sizes.min()) if len(sizes) else 0
    tries = [k for k in (_spaced(fewest) if chosen is None else chosen) if k <= fewest]
    nothing = np.empty((0, len(_PARAMETERS)))
    if len(tries) < _FEWEST:
        return _Curve(len(tries), True, False, None, nothing)
    values = pass_values(loaded.part(group), tries, "unbiased", "any", plan.threads)
    samples = [loaded.sample(group, row) for row in values]
    y = values.mean(axis=1)
    few, constant = too_few(samples[0]), bool(y[0] <= 0 or y[0] >= 1)
    if few or constant:
        return _Curve(len(tries), few, constant, None, nothing)
    law = find_law("coverage")
    at = {"k": np.array(tries, dtype=np.float64)}
    number = np.arange(len(tries))
    fit = fit_groups(
        law, [Points((), at, at, y, number, number)], settings_of(law, None, None, threads=plan.threads)
    )[0]
    drawn = np.empty((len(tries), plan.n_resamples))
    for rows in drawn_together(samples, plan):
        drawn[rows] = replicates_of([samples[row] for row in rows], plan).values
    # A replicate in which no instance is solved, or each at once, has no curve.
    usable = (drawn[0] > 0) & (drawn[0] < 1)
    found = refit(fit, np.ones((int(usable.sum()), len(tries))), np.ascontiguousarray(drawn.T[usable]))
    found = np.ascontiguousarray(found[np.isfinite(found).all(axis=1)])
    if len(found) < _ENOUGH * plan.n_resamples:
        found = nothing
    return _Curve(len(tries), False, False, fit, found)


def _spaced(fewest: int) -> list[int]:
    """Whole numbers from 1 on, evenly on a log scale."""
    if fewest < 1:
        return []
    return np.unique(np.round(np.geomspace(1, fewest, _POINTS)).astype(np.int64)).tolist()


def _table(
    loaded: RepeatedSamples, curves: Sequence[_Curve], places: Sequence[int], plan: Plan
) -> pl.DataFrame:
    """Groups, or groups x numbers of tries."""
    each = max(1, len(places))
    rows = np.repeat(np.arange(len(loaded)), each)
    fewest = [int(sizes.min()) if len(sizes := loaded.sizes(group)) else None for group in range(len(loaded))]
    n_items = np.diff(loaded.starts)
    numbers: dict[str, Any] = {
        "n_items": pl.Series(n_items, dtype=pl.Int64),
        "n_samples_min": pl.Series(fewest, dtype=pl.Int64),
        "n_points": pl.Series([curve.n_points for curve in curves], dtype=pl.Int64),
    }
    for at, name in enumerate(_PARAMETERS):
        limits = np.array([curve.limits(curve.replicates[:, at], plan.level) for curve in curves]).reshape(
            -1, 2
        )
        numbers[name] = np.array([curve.parameters[at] for curve in curves], dtype=np.float64)
        numbers[f"{name}_low"], numbers[f"{name}_high"] = limits.T
    numbers["residual"] = np.array(
        [
            np.nan if curve.fit is None or not curve.settled else np.sqrt(np.mean(curve.fit.residuals**2))
            for curve in curves
        ],
        dtype=np.float64,
    )
    columns = [result_column(name, values)[rows] for name, values in numbers.items()]
    k = np.tile(np.array(places, dtype=np.int64), len(loaded))
    beyond = np.zeros(len(rows), dtype=bool)
    first: list[pl.Series] = []
    if places:
        beyond = np.array([tries > (fewest[row] or 0) for row, tries in zip(rows, k, strict=True)])
        first = [pl.Series("k", k)]
        columns += _predictions(loaded, curves, places, plan)
    statuses = Statuses(len(rows))
    statuses.set("too_few", np.array([curve.few for curve in curves], dtype=bool)[rows])
    statuses.set("constant", np.array([curve.constant for curve in curves], dtype=bool)[rows])
    statuses.set("not_converged", np.array([not curve.settled for curve in curves], dtype=bool)[rows])
    statuses.set("at_bound", np.array([curve.at_bound for curve in curves], dtype=bool)[rows])
    counts = loaded.counts[rows]
    flags = {
        "missing_values": counts.sum_horizontal().to_numpy() > 0,
        "mixed_config": np.full(len(rows), "config" in loaded.joined),
        "few_instances": n_items[rows] < FEW_INSTANCES,
        "extrapolated": beyond,
    }
    return pl.DataFrame(
        [
            *loaded.labels[rows],
            *first,
            *columns,
            *counts,
            statuses.column(),
            flag_lists(flags, len(rows)),
        ]
    )


def _predictions(
    loaded: RepeatedSamples, curves: Sequence[_Curve], places: Sequence[int], plan: Plan
) -> list[pl.Series]:
    """What was seen and what the law says at each number of tries, group after group."""
    seen, predicted, low, high = [], [], [], []
    for group, curve in enumerate(curves):
        seen.append(pass_values(loaded.part(group), places, "unbiased", "any", plan.threads))
        predicted += [curve.predicted(tries) for tries in places]
        limits = [curve.limits(_law(curve.replicates, tries), plan.level) for tries in places]
        low += [limit for limit, _ in limits]
        high += [limit for _, limit in limits]
    means = [row.mean() if row.size else np.nan for values in seen for row in values]
    named = {"pass_at_k": means, "predicted": predicted, "predicted_low": low, "predicted_high": high}
    return [result_column(name, np.array(values, dtype=np.float64)) for name, values in named.items()]
