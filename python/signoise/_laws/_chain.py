"""The steps of a ladder as one prediction: a law of scale, and a law of what that law predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import LADDER_CHECKPOINTS, uniforms
from .._kernels import kernels
from ._fit import Fit, address, refit, solve_columns, values
from ._law import Floats
from ._uncertainty import Spread, spread_of

#: Relative step of the slope of the second law.
_STEP = 1e-4


@dataclass(frozen=True)
class Chain:
    """The fits of one group. In points of the second, clusters are runs as in the first; what is added is one more."""

    first: Fit
    second: Fit | None
    spread: Spread
    """Residual variance of the first step, and what its residuals say of runs and rungs."""
    second_variance: float
    """Residual variance of the second step, within and between runs."""

    @property
    def found(self) -> bool:
        """Whether every step has a fit."""
        return self.first.found and (self.second is None or self.second.found)

    def predict(
        self,
        variables: Mapping[str, Floats],
        n: int,
        first: Floats | None = None,
        second: Floats | None = None,
    ) -> tuple[Floats, Floats]:
        """Both steps' predictions (n_sets, n) at n places, with these parameters in place of the fitted ones.

        `second` holds a row for each of `first`, or is None: then all go through the fitted one.
        """
        sets = self.first.inner[None] if first is None else first
        between = values(self.first.law, sets, dict(variables), n)
        if self.second is None:
            return between, between
        law = self.second.law
        (name,) = law.variables
        if second is None:
            flat = values(law, self.second.inner[None], {name: between.ravel()}, between.size)
            return between, flat.reshape(between.shape)
        rows = [values(law, own[None], {name: row}, n)[0] for own, row in zip(second, between, strict=True)]
        return between, np.array(rows).reshape(between.shape)

    def refits(self, weights: Floats) -> tuple[Floats, Floats | None]:
        """Parameters of both steps for each row of weights of the runs; what was added to the second counts once."""
        first = refit(self.first, np.ascontiguousarray(weights[:, self.first.points.cluster]))
        if self.second is None:
            return first, None
        padded = np.hstack([weights, np.ones((len(weights), 1))])
        return first, refit(self.second, np.ascontiguousarray(padded[:, self.second.points.cluster]))

    def new_variance(self, variables: Mapping[str, Floats], n: int) -> Floats:
        """Variance of what a new run adds to the prediction at n places: residuals of the first step through the slope
        of the second, and those of the second.
        """
        between, predicted = (row[0] for row in self.predict(variables, n))
        residual = self.spread.within + self.spread.between
        scale = between if self.first.settings.log else np.ones(n)
        if self.second is None:
            return residual * scale**2
        law = self.second.law
        (name,) = law.variables
        step = _STEP * np.maximum(np.abs(between), 1e-12)
        moved = values(law, self.second.inner[None], {name: between + step}, n)[0]
        slope = (moved - predicted) / step
        return residual * (scale * slope) ** 2 + self.second_variance


def run_weights(chain: Chain, kind: str, label: pl.DataFrame, n_resamples: int, rng_seed: int) -> Floats:
    """A row for each replicate: how often it holds each run. Whole rungs where residuals differ between them."""
    points = chain.first.points
    unit = units(chain)
    n_units = int(unit.max()) + 1
    if kind == "bootstrap":
        drawn = (
            kernels()
            .bootstrap_counts(np.array([0, n_units], dtype=np.uintp), address(label), n_resamples, rng_seed)
            .astype(np.float64)
        )
    else:
        drawn = 1.0 - np.eye(n_units)
    n_runs = int(points.cluster.max()) + 1
    of_run = np.zeros(n_runs, dtype=np.int64)
    of_run[points.cluster] = unit
    return np.ascontiguousarray(drawn[:, of_run])


def units(chain: Chain) -> NDArray[np.int64]:
    """What replicates leave out or draw, for each point of the first step."""
    points = chain.first.points
    return points.scale if "rung_effects" in chain.spread.flags else points.cluster


def rung_weights(chain: Chain) -> Floats:
    """A row for each rung: the runs of all others."""
    points = chain.first.points
    n_rungs, n_runs = int(points.scale.max()) + 1, int(points.cluster.max()) + 1
    weights = np.ones((n_rungs, n_runs))
    weights[points.scale, points.cluster] = 0.0
    return weights


def degrees_of_freedom(chain: Chain) -> int:
    """Of Student's t: units less one, and no more than the residuals of the first step have."""
    points = chain.first.points
    return min(int(units(chain).max()), points.n - chain.first.n_free)


@dataclass(frozen=True)
class Pool:
    """The last checkpoints of the training runs of one group, a row a run, padded by the last one."""

    inputs: Mapping[str, Floats]
    values: Floats
    n: NDArray[np.int64]
    addresses: NDArray[np.uint64]


def checkpoint_refits(chain: Chain, pool: Pool, n_resamples: int, rng_seed: int) -> Floats:
    """Parameters of the first step, each fitted to one random checkpoint of every run."""
    rows = np.arange(len(pool.n))
    share = np.stack(
        [uniforms(rng_seed, LADDER_CHECKPOINTS, int(unit), n_resamples) for unit in pool.addresses], axis=1
    )
    drawn = np.minimum((share * pool.n).astype(np.int64), pool.n - 1)
    law = chain.first.law
    variables = {name: column[rows, drawn].ravel() for name, column in pool.inputs.items()}
    size = drawn.size
    found = solve_columns(
        law,
        law.program.data(variables, size),
        pool.values[rows, drawn].ravel(),
        np.ones(size),
        [len(rows)] * n_resamples,
        [chain.first.inner[None]] * n_resamples,
        replace(chain.first.settings, polish=False),
    )
    return found["parameters"]


def chain_of(first: Fit, second: Fit | None, label: pl.DataFrame) -> Chain:
    """Join the fits of a group; points of the second whose cluster is no run of the first were added to it."""
    spread = spread_of(first, label, "none", 2, 0)
    variance = 0.0
    if second is not None and second.found:
        observed = second.points.cluster <= int(first.points.cluster.max())
        alone = replace(second, points=second.points.take(np.flatnonzero(observed)))
        own = spread_of(alone, label, "none", 2, 0)
        variance = own.within + own.between
    return Chain(first, second, spread, variance)
