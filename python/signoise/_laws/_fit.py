"""Fits of a law to the points of many groups at once, and replicates of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import group_addresses
from .._errors import OptionError
from .._kernels import kernels
from .._options import check_choice, check_count
from ._law import OBJECTIVES, Floats, Law, Objective
from ._points import Points

#: Loss of the kernels and whether residuals are of logarithms.
_MEASURES: dict[Objective, tuple[str, bool]] = {
    "huber_log": ("huber", True),
    "lsq": ("square", False),
    "lsq_log": ("square", True),
    "huber": ("huber", False),
    "l1": ("absolute", False),
    "l1_log": ("absolute", True),
}
#: A parameter this near to its bound, as a share of its size, is at it.
_AT_BOUND = 1e-9
#: Points of replicates that are fitted in one call: what memory they take is bounded.
_BATCH = 2_000_000
#: Start values of a logarithm whose parameter starts at 0.
_LOWEST_LOG = -30.0


@dataclass(frozen=True)
class Settings:
    """What is minimised, and how."""

    objective: Objective
    delta: float
    overestimate_penalty: float = 1.0
    max_steps: int = 500
    polish: bool = True
    """Search once more from the lowest starts; replicates need no such precision."""
    threads: int | None = None

    @property
    def log(self) -> bool:
        """Whether residuals are of logarithms."""
        return _MEASURES[self.objective][1]

    @property
    def squares(self) -> bool:
        """Whether squares are summed."""
        return _MEASURES[self.objective][0] == "square"


@dataclass(frozen=True)
class Fit:
    """A law fitted to one group."""

    law: Law
    points: Points
    settings: Settings
    inner: Floats
    """What was fitted in the place of the parameters; NaN where there is no fit."""
    objective: float
    n_starts: int
    n_agree: int
    other: Floats
    """Inner parameters of another end that is as good as the best, the best itself where there is none."""
    settled: bool

    @property
    def estimates(self) -> Floats:
        """The parameters."""
        return outer(self.law, self.inner[None])[0]

    @property
    def found(self) -> bool:
        """Whether there is a fit."""
        return bool(np.isfinite(self.inner).all())

    @property
    def at_bound(self) -> NDArray[np.bool_]:
        """Parameters that a bound holds; those held on purpose are not among them."""
        lower, upper = self.law.inner_bounds
        room = _AT_BOUND * np.maximum(1.0, np.abs(self.inner))
        return (lower < upper) & ((self.inner - lower <= room) | (upper - self.inner <= room))

    @cached_property
    def n_free(self) -> int:
        """Parameters that were free to move."""
        lower, upper = self.law.inner_bounds
        return int(np.sum(lower < upper))

    @cached_property
    def fitted(self) -> Floats:
        """Values of the law at the points."""
        return values(self.law, self.inner[None], self.points.variables, self.points.n)[0]

    @cached_property
    def residuals(self) -> Floats:
        """Fitted minus observed, of logarithms where the objective takes them."""
        fitted, y = self.fitted, self.points.y
        with np.errstate(all="ignore"):
            return np.log(fitted) - np.log(y) if self.settings.log else fitted - y


def settings_of(
    law: Law,
    objective: Objective | None,
    delta: float | None,
    overestimate_penalty: float = 1.0,
    threads: int | None = None,
) -> Settings:
    """The settings of a call, checked; what is not given is the law's own."""
    chosen = law.objective if objective is None else objective
    check_choice("objective", chosen, OBJECTIVES)
    for name, number in (("delta", delta), ("overestimate_penalty", overestimate_penalty)):
        if number is not None and not (np.isfinite(number) and number > 0):
            raise OptionError(f"{name} must be above 0, got {number!r}")
    return Settings(chosen, law.delta if delta is None else delta, overestimate_penalty, threads=threads)


def outer(law: Law, inner: Floats) -> Floats:
    """Parameters (n_sets, n_parameters) that fitted ones stand for."""
    return np.stack([p.outer(inner[:, i]) for i, p in enumerate(law.parameters)], axis=1)


def inner(law: Law, estimates: Floats) -> Floats:
    """What is fitted in the place of parameters (n_sets, n_parameters)."""
    sets = np.stack([p.inner(estimates[:, i]) for i, p in enumerate(law.parameters)], axis=1)
    return np.ascontiguousarray(np.nan_to_num(sets, neginf=_LOWEST_LOG, posinf=-_LOWEST_LOG))


def values(
    law: Law, sets: Floats, variables: dict[str, Floats], n: int, threads: int | None = None
) -> Floats:
    """Values of a law (n_sets, n) for each set of fitted parameters."""
    data = law.program.data(variables, n)
    found: Floats = kernels().law_values(law.program.steps, data, np.ascontiguousarray(sets), threads=threads)
    return found


def fit_groups(
    law: Law, groups: Sequence[Points], settings: Settings, starts: Sequence[Floats] | None = None
) -> list[Fit]:
    """The best fit of each group. `starts`, fitted parameters a group, default to the law's own."""
    check_count("max_steps", settings.max_steps)
    if settings.log:
        for group in groups:
            if (low := float(np.min(group.y))) <= 0:
                raise OptionError(
                    f"objective {settings.objective!r} takes logarithms, and the lowest value of {group.y_name} is "
                    f"{low:g}; use objective='lsq', or filter those rows (where=...)"
                )
    if starts is None:
        starts = [inner(law, law.start_grid(group.variables, group.y)) for group in groups]
    found = solve(law, groups, [np.ones(group.n) for group in groups], starts, settings)
    return [
        Fit(
            law,
            group,
            settings,
            found["parameters"][index],
            float(found["objective"][index]),
            len(starts[index]),
            int(found["n_agree"][index]),
            found["others"][index],
            bool(found["settled"][index]),
        )
        for index, group in enumerate(groups)
    ]


def solve(
    law: Law,
    groups: Sequence[Points],
    weights: Sequence[Floats],
    starts: Sequence[Floats],
    settings: Settings,
    observed: Sequence[Floats] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """One kernel call for all groups; points of weight 0 are left out of it."""
    kept = [np.flatnonzero(weight) for weight in weights]
    # Replicates are of one group: its columns are made once.
    whole = {id(group): group for group in groups}
    made = {key: law.program.data(group.variables, group.n) for key, group in whole.items()}
    data = [made[id(group)][:, rows] for group, rows in zip(groups, kept, strict=True)]
    y = [group.y for group in groups] if observed is None else observed
    return solve_columns(
        law,
        np.concatenate(data, axis=1),
        np.concatenate([values[rows] for values, rows in zip(y, kept, strict=True)]),
        np.concatenate([weight[rows] for weight, rows in zip(weights, kept, strict=True)]),
        [len(rows) for rows in kept],
        starts,
        settings,
    )


def solve_columns(
    law: Law,
    data: Floats,
    observed: Floats,
    weights: Floats,
    sizes: Sequence[int],
    starts: Sequence[Floats],
    settings: Settings,
) -> dict[str, NDArray[np.float64]]:
    """The kernel call: problems of these sizes one after the other along the columns of `data`."""
    lower, upper = law.inner_bounds
    loss, log = _MEASURES[settings.objective]
    found: dict[str, NDArray[np.float64]] = kernels().fit_laws(
        law.program.steps,
        np.ascontiguousarray(data),
        observed,
        weights,
        _offsets(sizes),
        np.ascontiguousarray(np.concatenate(starts)),
        _offsets([len(own) for own in starts]),
        lower,
        upper,
        law.program.linear & (not log),
        loss=loss,
        delta=settings.delta,
        log=log,
        overestimate_penalty=settings.overestimate_penalty,
        max_steps=settings.max_steps,
        polish=settings.polish,
        threads=settings.threads,
    )
    return found


def _offsets(lengths: Sequence[int]) -> NDArray[np.uintp]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.uintp)


def bootstrap(
    fit: Fit, cluster: NDArray[np.int64], label: pl.DataFrame, n_resamples: int, rng_seed: int
) -> Floats:
    """Fitted parameters (n_resamples, n_parameters) to clusters drawn with replacement; NaN where they do not suffice.

    Draws are addressed by the label of the group, one row, so that no other group moves them.
    """
    n_clusters = int(cluster.max()) + 1
    counts = kernels().bootstrap_counts(
        np.array([0, n_clusters], dtype=np.uintp),
        address(label),
        n_resamples,
        rng_seed,
        threads=fit.settings.threads,
    )
    return refit(fit, counts[:, cluster].astype(np.float64))


def address(label: pl.DataFrame) -> NDArray[np.uint64]:
    """Where the draws of a group come from; of a table that is one group, from its emptiness."""
    return group_addresses(label) if label.columns else np.zeros(1, dtype=np.uint64)


def refit(fit: Fit, weights: Floats, observed: Floats | None = None) -> Floats:
    """Fitted parameters from the optimum on, for each row of weights (and of observations)."""
    p, points = len(fit.inner), fit.points
    out = np.full((len(weights), p), np.nan)
    # As many places as there are parameters, or nothing pins them down.
    place = places(points)
    distinct = np.array([len(np.unique(place[row > 0])) for row in weights])
    usable = np.flatnonzero(distinct >= fit.n_free)
    size = max(1, _BATCH // max(1, points.n))
    settings = replace(fit.settings, polish=False)
    for first in range(0, len(usable), size):
        rows = usable[first : first + size]
        found = solve(
            fit.law,
            [points] * len(rows),
            list(weights[rows]),
            [fit.inner[None]] * len(rows),
            settings,
            None if observed is None else list(observed[rows]),
        )
        out[rows] = found["parameters"]
    return out


def places(points: Points) -> NDArray[np.intp]:
    """A number for each distinct combination of variables."""
    stacked = np.stack(list(points.variables.values()), axis=1)
    return np.unique(stacked, axis=0, return_inverse=True)[1].reshape(-1)
