"""Twin of ``rust/core/src/decisions.rs``: agreement of two scales, pair by pair as the definitions read."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import OptionError, ShapeError
from ._random import CHECKPOINT_DRAW, CHECKPOINT_NOISE, Words
from ._segments import Floats, Offsets, check_length, check_positive, segments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

#: Trials that share a stream of draws.
_TRIALS = 64


def pair_agreement(
    small: Floats, target: Floats, offsets: Offsets, *, threads: int | None = None
) -> dict[str, NDArray[np.int64]]:
    """Pairs by how they compare on the two sides, for each group and (``member_``) each member.

    ``compat_agree`` is the reference's rule, ``(a_i > a_j) == (b_i > b_j)`` over i < j, for which a tie means
    "less", so that it depends on the order of the members.
    """
    del threads
    groups = list(_matched(small, target, offsets))
    by_group = (
        "n_pairs",
        "concordant",
        "discordant",
        "tied_small",
        "tied_target",
        "tied_both",
        "compat_agree",
    )
    by_member = ("concordant", "discordant", "tied_one", "tied_both", "compat_agree")
    out = {name: np.zeros(len(groups), dtype=np.int64) for name in by_group}
    out |= {f"member_{name}": np.zeros(len(small), dtype=np.int64) for name in by_member}
    for group, (start, a, b) in enumerate(groups):
        for i, j in combinations(range(len(a)), 2):
            kind = _kind(a[i], a[j], b[i], b[j])
            compat = (a[i] > a[j]) == (b[i] > b[j])
            out["n_pairs"][group] += 1
            out[kind][group] += 1
            out["compat_agree"][group] += compat
            for member in (start + i, start + j):
                out["member_" + ("tied_one" if kind in ("tied_small", "tied_target") else kind)][member] += 1
                out["member_compat_agree"][member] += compat
    return out


def agreement_weighted(
    small: Floats, target: Floats, offsets: Offsets, *, threads: int | None = None
) -> dict[str, Floats]:
    """Share of ordered target differences: sum of ``|b_i - b_j| s_ij`` over the sum of ``|b_i - b_j|``."""
    del threads
    out = []
    for _, a, b in _matched(small, target, offsets):
        scored = weights = 0.0
        for i, j in combinations(range(len(a)), 2):
            with np.errstate(invalid="ignore"):
                gap = abs(b[i] - b[j])
            scored += gap * _score(a[i], a[j], b[i], b[j])
            weights += gap
        out.append(scored / weights if 0 < weights < math.inf else math.nan)
    return {"weighted": np.array(out, dtype=float)}


def agreement_decidable(
    small: Floats, target: Floats, threshold: Floats, offsets: Offsets, *, threads: int | None = None
) -> dict[str, Any]:
    """Agreement over the pairs with ``|b_i - b_j| > threshold`` of their group; NaN where there is none."""
    del threads
    groups = list(_matched(small, target, offsets))
    check_length("threshold", len(threshold), len(groups))
    _check_not_negative("threshold", threshold)
    n_pairs, agreement = [], []
    for (_, a, b), limit in zip(groups, threshold, strict=True):
        with np.errstate(invalid="ignore"):
            scores = [
                _score(a[i], a[j], b[i], b[j])
                for i, j in combinations(range(len(a)), 2)
                if abs(b[i] - b[j]) > limit
            ]
        n_pairs.append(len(scores))
        agreement.append(_mean(scores))
    return {"n_pairs": np.array(n_pairs, dtype=np.int64), "agreement": np.array(agreement, dtype=float)}


def expected_agreement(
    small: Floats,
    target: Floats,
    sd_small: Floats,
    sd_target: Floats,
    offsets: Offsets,
    *,
    threads: int | None = None,
) -> dict[str, Floats]:
    """Mean over pairs of ``P_a P_b + (1 - P_a)(1 - P_b)`` under normal noise about true scores."""
    del threads
    groups = list(_matched(small, target, offsets))
    for name, sds in (("sd_small", sd_small), ("sd_target", sd_target)):
        check_length(name, len(sds), len(small))
        _check_not_negative(name, sds)
    out = []
    for start, a, b in groups:
        terms = []
        for i, j in combinations(range(len(a)), 2):
            p = _exceeds(a[i], a[j], sd_small[start + i], sd_small[start + j])
            q = _exceeds(b[i], b[j], sd_target[start + i], sd_target[start + j])
            terms.append(p * q + (1.0 - p) * (1.0 - q))
        out.append(_mean(terms))
    return {"expected": np.array(out, dtype=float)}


def agreement_columns(small: Floats, target: Floats, *, threads: int | None = None) -> Floats:
    """Decision accuracy, ties one half, of each column; a row is a member."""
    del threads
    if small.shape != target.shape:
        raise ShapeError(f"target must have the shape of small, {small.shape}, got {target.shape}")
    _check_no_nan("small", small.ravel())
    _check_no_nan("target", target.ravel())
    if len(small) < 2:
        return np.full(small.shape[1], math.nan)
    return np.array([_half_agreement(a, b) for a, b in zip(small.T, target.T, strict=True)])


def noisy_agreement(
    small: Floats,
    target: Floats,
    sd_small: Floats,
    sd_target: Floats,
    offsets: Offsets,
    group_units: NDArray[np.uint64],
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> dict[str, Floats]:
    """Mean and sd of the decision accuracy of scores with independent normal noise added, ``n_resamples`` times.

    A word stands for the normal quantile at the middle of its 2**-32. ``group_units`` is each group's own address.
    """
    del threads
    groups = list(_matched(small, target, offsets))
    for name, given in (("sd_small", sd_small), ("sd_target", sd_target)):
        check_length(name, len(given), len(small))
        _check_not_negative(name, given)
    check_length("group_units", len(group_units), len(groups))
    check_positive("n_resamples", n_resamples)
    draws = np.full((len(groups), n_resamples), math.nan)
    for group, (start, a, b) in enumerate(groups):
        members = slice(start, start + len(a))
        sds = sd_small[members], sd_target[members]
        if len(a) < 2 or np.isnan(sds).any():
            continue
        words = _trial_words(rng_seed, CHECKPOINT_NOISE, int(group_units[group]), len(a), n_resamples)
        normal = np.vectorize(NormalDist().inv_cdf, otypes=[float])((words + 0.5) / 2**32)
        for trial, z in enumerate(normal):
            draws[group, trial] = _half_agreement(a + sds[0] * z[:, 0], b + sds[1] * z[:, 1])
    return {"mean": draws.mean(axis=1), "sd": _sd(draws)}


def sampled_agreement(
    small_values: Floats,
    small_offsets: Offsets,
    target_values: Floats,
    target_offsets: Offsets,
    group_offsets: Offsets,
    group_units: NDArray[np.uint64],
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> dict[str, Floats]:
    """Decision accuracy of one random checkpoint per member and side, ``n_resamples`` times.

    Segment m of a side's values is member m's window, ``group_offsets`` divides the members, and
    ``group_units`` is each group's own address, so that another group's presence changes no draw.
    """
    del threads
    _check_no_nan("small_values", small_values)
    _check_no_nan("target_values", target_values)
    small = [window for _, window in segments(small_values, small_offsets)]
    target = [window for _, window in segments(target_values, target_offsets)]
    check_length("target_offsets", len(target_offsets), len(small_offsets))
    groups = list(segments(np.arange(len(small), dtype=float), group_offsets))
    check_length("group_units", len(group_units), len(groups))
    check_positive("n_resamples", n_resamples)
    draws = np.full((len(groups), n_resamples), math.nan)
    for group, (start, members) in enumerate(groups):
        sides = [side[start : start + len(members)] for side in (small, target)]
        if len(members) < 2 or any(len(window) == 0 for side in sides for window in side):
            continue
        words = _trial_words(
            rng_seed, CHECKPOINT_DRAW, int(group_units[group]), len(members), n_resamples
        ).astype(int)
        for trial, chosen in enumerate(words):
            a, b = (
                np.array([window[word * len(window) >> 32] for word, window in zip(row, side, strict=True)])
                for row, side in zip(chosen.T.tolist(), sides, strict=True)
            )
            draws[group, trial] = _half_agreement(a, b)
    return {"mean": draws.mean(axis=1), "sd": _sd(draws), "draws": draws.ravel()}


def jackknife_interval(
    estimates: Floats,
    leave_one_out: Floats,
    t_critical: Floats,
    offsets: Offsets,
    confidence_level: float,
    *,
    threads: int | None = None,
) -> dict[str, Floats]:
    """Delete-one-recipe interval on the logit scale; closed form where the estimate is 0 or 1.

    NaN where an input is, below 3 members (2 will do at a bound), and where no deletion changes an estimate
    between the bounds. ``t_critical`` is the quantile ``1 - alpha/2`` of Student's t with J - 1 degrees of
    freedom.
    """
    del threads
    groups = list(segments(leave_one_out, offsets))
    check_length("estimates", len(estimates), len(groups))
    check_length("t_critical", len(t_critical), len(groups))
    if not 0 < confidence_level < 1:
        raise OptionError(f"confidence_level must be between 0 and 1, got {confidence_level}")
    for estimate in estimates:
        if not (math.isnan(estimate) or 0 <= estimate <= 1):
            raise OptionError(f"estimates must be from 0 to 1, got {estimate}")
    low, high = np.full(len(groups), math.nan), np.full(len(groups), math.nan)
    for group, (_, deleted) in enumerate(groups):
        n, estimate = len(deleted), float(estimates[group])
        if estimate in (0.0, 1.0):
            if n >= 2:
                tail = ((1 - confidence_level) / 2) ** (1 / (n // 2))
                low[group], high[group] = (tail, 1.0) if estimate == 1 else (0.0, 1.0 - tail)
        elif n >= 3 and len(set(deleted)) > 1 and not np.isnan([estimate, t_critical[group], *deleted]).any():
            stderr = math.sqrt((n - 1) / n * sum((deleted - deleted.mean()) ** 2))
            centre = math.log(estimate / (1 - estimate))
            margin = t_critical[group] * stderr / (estimate * (1 - estimate))
            low[group], high[group] = _logistic(centre - margin), _logistic(centre + margin)
    return {"low": low, "high": high}


def _matched(small: Floats, target: Floats, offsets: Offsets) -> Iterator[tuple[int, Floats, Floats]]:
    check_length("target", len(target), len(small))
    _check_no_nan("small", small)
    _check_no_nan("target", target)
    for start, a in segments(small, offsets):
        yield start, a, target[start : start + len(a)]


def _kind(a_i: float, a_j: float, b_i: float, b_j: float) -> str:
    if a_i == a_j:
        return "tied_both" if b_i == b_j else "tied_small"
    if b_i == b_j:
        return "tied_target"
    return "concordant" if (a_i > a_j) == (b_i > b_j) else "discordant"


def _score(a_i: float, a_j: float, b_i: float, b_j: float) -> float:
    """``(1 + sign(a_i - a_j) sign(b_i - b_j)) / 2``."""
    return {"concordant": 1.0, "discordant": 0.0}.get(_kind(a_i, a_j, b_i, b_j), 0.5)


def _trial_words(rng_seed: int, purpose: int, unit: int, members: int, trials: int) -> NDArray[np.uint32]:
    """A word for each trial, member and side: 64 trials share a stream, which goes from member to member."""
    blocks = []
    for block in range(-(-trials // _TRIALS)):
        stream = Words(rng_seed, purpose, block, unit)
        rows = [[stream.step() for _ in range(_TRIALS // 16)] for _ in range(2 * members)]
        blocks.append(np.array(rows).reshape(members, 2, _TRIALS))
    return np.concatenate(blocks, axis=2).transpose(2, 0, 1)[:trials]


def _half_agreement(a: Floats, b: Floats) -> float:
    """Decision accuracy with ties one half."""
    i, j = np.triu_indices(len(a), 1)
    return float(np.mean((1 + np.sign(a[i] - a[j]) * np.sign(b[i] - b[j])) / 2))


def _sd(draws: Floats) -> Floats:
    return draws.std(axis=1, ddof=1) if draws.shape[1] > 1 else np.full(len(draws), math.nan)


def _exceeds(x: float, y: float, sd_x: float, sd_y: float) -> float:
    """P(x > y) of independent normal values with these means and sds."""
    sd = math.sqrt(sd_x**2 + sd_y**2)
    if math.isnan(sd):
        return math.nan
    if x == y:
        return 0.5
    if sd == 0:
        return 1.0 if x > y else 0.0
    return 0.5 * math.erfc(-(x - y) / sd / math.sqrt(2))


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def _mean(terms: list[float]) -> float:
    return sum(terms) / len(terms) if terms else math.nan


def _check_no_nan(name: str, values: Floats) -> None:
    bad = np.flatnonzero(np.isnan(values))
    if len(bad):
        raise OptionError(f"{name} must be free of NaN, got NaN at position {bad[0]}")


def _check_not_negative(name: str, values: Floats) -> None:
    for value in values:
        if value < 0:
            raise OptionError(f"{name} must be at least 0, got {value}")
