"""A law fitted to some of the rungs and held against the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._fit import Fit, fit_groups, inner, places
from ._law import Floats, Law
from ._points import Points, extrapolation
from ._status import UNDEFINED, status_of
from ._uncertainty import Interval, prediction_intervals, spread_of

Method = Literal["leave_one_out", "rolling"]
METHODS: tuple[Method, ...] = ("leave_one_out", "rolling")
#: Rungs that a split must leave to learn from.
LEAST_RUNGS = 2
#: Starts of the law that each split takes, beside the fit to all points.
SOME_STARTS = 64
_GOLDEN = 0.5 * (np.sqrt(5) - 1)


@dataclass(frozen=True)
class Split:
    """Which points are learnt from, and which are predicted."""

    method: Method
    rung: float
    """The amount that the rung left out stands for."""
    train: NDArray[np.intp]
    test: NDArray[np.intp]


@dataclass(frozen=True)
class Outcome:
    """What a fit says of the points that it has not seen; NaN where there is no fit."""

    split: Split
    n_rungs: int
    """Rungs that were learnt from."""
    actual: Floats
    predicted: Floats
    low: Floats
    high: Floats
    farthest: float
    status: str
    flags: tuple[str, ...]

    @property
    def relative(self) -> Floats:
        """Signed relative errors; NaN at an actual value of 0."""
        with np.errstate(all="ignore"):
            found = (self.predicted - self.actual) / np.abs(self.actual)
        return np.where(np.isfinite(found), found, np.nan)

    @property
    def covered(self) -> float:
        """Share of the points inside their prediction intervals; NaN without these."""
        if not np.isfinite(self.low).all():
            return np.nan
        return float(np.mean((self.low <= self.actual) & (self.actual <= self.high)))


def splits_of(points: Points, methods: Sequence[Method]) -> list[Split]:
    """Every rung in turn; to `rolling` only smaller ones are known, and at least two of them."""
    n_rungs = int(points.scale.max()) + 1
    found = []
    for method in methods:
        for rung in range(LEAST_RUNGS if method == "rolling" else 0, n_rungs):
            known = points.scale < rung if method == "rolling" else points.scale != rung
            if len(np.unique(points.scale[known])) >= LEAST_RUNGS:
                test = np.flatnonzero(points.scale == rung)
                found.append(Split(method, float(points.rungs[rung]), np.flatnonzero(known), test))
    return found


def outcomes(
    whole: Fit,
    label: pl.DataFrame,
    splits: Sequence[Split],
    interval: Interval | None,
    n_resamples: int,
    rng_seed: int,
    confidence_level: float,
    n_starts: int = SOME_STARTS,
) -> list[Outcome]:
    """The law of `whole` fitted to each split, from its optimum and an even choice of the law's starts."""
    law, points = whole.law, whole.points
    parts = [points.take(split.train) for split in splits]
    usable = [i for i, part in enumerate(parts) if len(np.unique(places(part))) >= whole.n_free]
    starts = [_starts(whole, parts[index], n_starts) for index in usable]
    fitted = fit_groups(law, [parts[index] for index in usable], whole.settings, starts) if usable else []
    fits = dict(zip(usable, fitted, strict=True))
    found = []
    for index, split in enumerate(splits):
        test, part = points.take(split.test), parts[index]
        n_rungs = int(part.scale.max()) + 1
        far = float(np.max(extrapolation(part, test.variables, test.n)))
        fit = fits.get(index)
        if fit is None or not fit.found:
            nothing = np.full(test.n, np.nan)
            status = "too_few" if fit is None else "not_converged"
            found.append(Outcome(split, n_rungs, test.y, nothing, nothing, nothing, far, status, ()))
            continue
        address = pl.DataFrame({"method": [split.method], "rung": [split.rung]})
        own = pl.concat([label, address], how="horizontal") if label.width else address
        spread = spread_of(fit, own, interval, n_resamples, rng_seed)
        status, flags = status_of(fit, spread)
        limits = prediction_intervals(fit, spread, test.variables, test.n, confidence_level)
        if status in UNDEFINED:
            limits = dict.fromkeys(limits, np.full(test.n, np.nan))
        found.append(
            Outcome(
                split,
                n_rungs,
                test.y,
                limits["predicted"],
                limits["prediction_low"],
                limits["prediction_high"],
                far,
                status,
                flags,
            )
        )
    return found


def _starts(whole: Fit, part: Points, most: int) -> Floats:
    """Starts of a split: the optimum of all points, and some of the law's."""
    grid = some_starts(whole.law, part, most)
    return np.concatenate([whole.inner[None], grid]) if whole.found else grid


def some_starts(law: Law, points: Points, most: int = SOME_STARTS) -> Floats:
    """At most so many of a law's starts: multiples of the golden section fall evenly on a grid whatever its shape."""
    with np.errstate(all="ignore"):  # a law that does not suit the scores may start anywhere
        grid = inner(law, law.start_grid(points.variables, points.y))
    if len(grid) > most:
        shares = np.arange(1, most + 1) * _GOLDEN % 1.0
        grid = grid[np.unique((shares * len(grid)).astype(np.intp))]
    return grid


#: Statuses of fits, the gravest first.
_GRAVEST = ("at_bound", "ok")


def outcome_status(every: Sequence[Outcome]) -> tuple[str, tuple[str, ...]]:
    """The gravest status of the splits that have a fit, and the flags of all."""
    known = [one for one in every if np.isfinite(one.predicted).all()]
    if not known:
        return "too_few" if all(one.status == "too_few" for one in every) else "not_converged", ()
    status = next(word for word in _GRAVEST if any(one.status == word for one in known))
    flags = tuple(dict.fromkeys(flag for one in known for flag in one.flags))
    return status, (*flags, *(["skipped_scales"] if len(known) < len(every) else []))


# --- baselines --------------------------------------------------------------------------------------

#: What is predicted without a law: the score of the largest known model at its last place, or the best known score.
BASELINES = ("predict_last", "predict_best")


def baseline(name: str, points: Points, split: Split) -> Outcome:
    """What a baseline says of the points left out (Choshen et al. 2024, section 4)."""
    part, test = points.take(split.train), points.take(split.test)
    value = known_score(name, part)
    nothing = np.full(test.n, np.nan)
    far = float(np.max(extrapolation(part, test.variables, test.n)))
    n_rungs = int(part.scale.max()) + 1
    return Outcome(split, n_rungs, test.y, np.full(test.n, value), nothing, nothing, far, "ok", ())


def known_score(name: str, part: Points) -> float:
    """The score that a baseline takes from the points that are known."""
    top = np.flatnonzero(part.scale == part.scale.max())
    if name == "predict_last":
        order = np.lexsort([column[top] for column in reversed(part.inputs.values())])
        return float(part.y[top[order[-1]]])
    rises = part.y[top].mean() > part.y[part.scale == 0].mean()
    return float(part.y.max() if rises else part.y.min())
