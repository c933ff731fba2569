"""Items tried until they succeed so many times, or until the budget is spent: who stopped where, and the pass rate.

An item is tried until its r-th success (`r` required successes, at trial K), or for N trials, the budget, with s < r
successes. Twin: ``reference/_tries.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Estimator = Literal["unbiased", "mle"]


@dataclass(frozen=True)
class Tried:
    """Items under the rule."""

    successes: Ints
    trials: Ints


def replayed(
    right: NDArray[np.bool_], offsets: NDArray[np.intp], required: int, budget: int | None
) -> tuple[Ints, Ints]:
    """Successes and trials of each item under the rule, from all its samples in their order.

    Item i has ``right[offsets[i]:offsets[i + 1]]``.
    """
    starts, ends = offsets[:-1], offsets[1:]
    if budget is not None:
        ends = np.minimum(ends, starts + budget)
    running = np.concatenate([[0], np.cumsum(right)])
    wanted = running[starts] + required
    # The first place whose running count is the wanted one.
    stop = np.searchsorted(running, wanted, side="left")
    ends = np.minimum(ends, stop)
    return (running[ends] - running[starts]).astype(np.int64), (ends - starts).astype(np.int64)


def pass_rates(successes: Ints, trials: Ints, required: int, estimator: Estimator) -> Floats:
    """The pass rate of each item; NaN without a trial."""
    stopped = successes >= required
    with np.errstate(all="ignore"):
        share = np.where(trials > 0, successes / trials, np.nan)
        if estimator == "mle":
            return share
        if required == 1:
            return np.where(stopped, (trials == 1).astype(float), share)
        return np.where(stopped, (required - 1) / (trials - 1), share)


def simulated(rates: Floats, budgets: Ints, uniforms: Floats) -> tuple[Ints, Ints]:
    """Successes and trials of items with these pass rates.

    `uniforms` has one more axis, as long as the required successes; all are in (0, 1).
    """
    with np.errstate(all="ignore"):
        # Trials up to the next success are geometric; a rate of 0 never gets there.
        gaps = np.maximum(np.ceil(np.log(uniforms) / np.log1p(-rates)[..., None]), 1.0)
        at = np.cumsum(np.where((rates > 0)[..., None], gaps, np.inf), axis=-1)
    successes = (at <= budgets[..., None]).sum(axis=-1)
    trials = np.minimum(at[..., -1], budgets).astype(np.int64)
    return successes.astype(np.int64), trials
