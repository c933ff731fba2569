"""Twin of ``rust/core/src/dispersion.rs``: every published variant of the signal, one small function each.

Names in the formulas: ``c`` data scores (one per recipe), ``d`` data noise (sds across recipes), ``last`` the
scores of the last checkpoints, ``s`` step noise (one sd per recipe). ``compat`` is what the reference program
computes, ``textbook`` what its label promises.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from .._errors import OptionError, ShapeError
from ._segments import Floats, Offsets, segments

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Spread: TypeAlias = Callable[[Floats, Floats, Floats], float]


def _mean(values: Floats) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator != 0 else math.nan


def _pair_distances(c: Floats) -> Floats:
    """Distances |c_i - c_j| for i < j."""
    return np.abs(c[:, None] - c[None, :])[np.triu_indices(len(c), k=1)]


def _quartile_range(c: Floats) -> float:
    low, high = np.percentile(c, [25, 75])
    return float(high - low)


def _scaled(c: Floats) -> Floats:
    return (c - c.min()) / (c.max() - c.min())


def _discrepancy(c: Floats) -> float:
    """Squared centred L2 discrepancy in one dimension; scores in [0, 1] only."""
    if c.min() < 0 or c.max() > 1:
        return math.nan
    a = np.abs(c - 0.5)
    pairs = 1 + a[:, None] / 2 + a[None, :] / 2 - np.abs(c[:, None] - c[None, :]) / 2
    return float(13 / 12 - 2 * np.mean(1 + a / 2 - a**2 / 2) + np.mean(pairs))


def _star_discrepancy(c: Floats) -> float:
    """A mean over i = 0..n of |i / n - t_i| with t_0 = 0, where the label promises a supremum."""
    n = len(c)
    t = np.concatenate([[0.0], np.sort(c)])
    return _mean(np.abs(np.arange(n + 1) / n - t))


def _star_discrepancy_shifted(c: Floats) -> float:
    return _star_discrepancy(_scaled(c))


def _dispersion(c: Floats) -> float:
    return float(np.max(_pair_distances(c)))


def _dispersion_shifted(c: Floats) -> float:
    """Always 1: the scaled scores reach from 0 to 1."""
    return _dispersion(_scaled(c))


def _mpd(c: Floats) -> float:
    return _mean(_pair_distances(c))


def _mpsd(c: Floats) -> float:
    return _mean(_pair_distances(c) ** 2)


def _mad(c: Floats) -> float:
    return float(np.median(np.abs(c - np.median(c))))


def _aad(c: Floats) -> float:
    return _mean(np.abs(c - c.mean()))


def _dist_std(c: Floats) -> float:
    return float(np.std(_pair_distances(c)))


def _gini(c: Floats) -> float:
    """Of the scores after min-max scaling."""
    n, totals = len(c), np.cumsum(np.sort(_scaled(c)))
    return float((n + 1 - 2 * np.sum(totals) / totals[-1]) / n)


def _quartile_deviation(c: Floats) -> float:
    return _quartile_range(c) / 2


def _rms_deviation(c: Floats) -> float:
    return float(np.std(c))


def _range(c: Floats) -> float:
    return float(c.max() - c.min())


def _halfspace_depths(points: Floats, c: Floats) -> Floats:
    """Tukey depth: min(share of c at or below x, share of c at or above x)."""
    at_or_below = np.array([np.sum(c <= x) for x in points]) / len(c)
    below = np.array([np.sum(c < x) for x in points]) / len(c)
    return np.minimum(at_or_below, 1 - below)


def _tukey(c: Floats) -> float:
    return _quartile_range(_halfspace_depths(c, c))


def _tukey_scale(c: Floats, last: Floats) -> float:
    return _mean(_halfspace_depths(last, c))


_NORMAL_QUARTILE = 0.6744897501960817
"""Upper quartile of the standard normal distribution."""


def _projection_depths(points: Floats, c: Floats) -> Floats:
    """Depths 1 / (1 + |x - median| / MADn), MADn the median absolute deviation scaled to a normal sd."""
    scale = np.median(np.abs(c - np.median(c))) / _NORMAL_QUARTILE
    if not scale > 0:
        return np.full(len(points), np.nan)
    return 1 / (1 + np.abs(points - np.median(c)) / scale)


def _projection(c: Floats) -> float:
    depths = _projection_depths(c, c)
    return math.nan if np.isnan(depths).any() else _quartile_range(depths)


def _projection_scale(c: Floats, last: Floats) -> float:
    return _mean(_projection_depths(last, c))


def _histogram(c: Floats) -> tuple[Floats, Floats]:
    """Shares and densities of the occupied bins: Freedman-Diaconis width, 5 to n bins."""
    iqr, n = _quartile_range(c), len(c)
    width = 2 * iqr / n ** (1 / 3) if iqr > 0 else 0.1
    bins = int(max(5, min((c.max() - c.min()) / width, n)))
    low, high = (c.min(), c.max()) if c.max() > c.min() else (c.min() - 0.5, c.max() + 0.5)
    edges = np.linspace(low, high, bins + 1)
    counts = np.diff([*(np.sum(c < edge) for edge in edges[:-1]), n])
    occupied = counts > 0
    return (counts / n)[occupied], (counts / np.diff(edges) / n)[occupied]


def _entropy(c: Floats) -> float:
    """Of densities, so it depends on the unit and can be negative."""
    _, densities = _histogram(c)
    return float(-np.sum(densities * np.log(densities)))


def _robust_range(c: Floats) -> float:
    low, high = np.percentile(c, [5, 95])
    return float(high - low)


def _differential_entropy(c: Floats) -> float:
    """Exponential of the nearest-neighbour estimate; no random jitter, so NaN if two scores are equal."""
    distances = np.abs(c[:, None] - c[None, :])
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    if nearest.min() == 0:
        return math.nan
    digamma_difference = sum(1 / k for k in range(1, len(c)))  # psi(n) - psi(1)
    return math.exp(digamma_difference + math.log(2) + _mean(np.log(nearest)))


def _textbook_star_discrepancy(c: Floats) -> float:
    """Supremum of |F_n - F| on [0, 1], reached at a score from the left or from the right."""
    if c.min() < 0 or c.max() > 1:
        return math.nan
    right = np.array([np.mean(c <= x) for x in c])
    left = np.array([np.mean(c < x) for x in c])
    return float(max(np.max(np.abs(right - c)), np.max(np.abs(left - c))))


def _textbook_mpd(c: Floats) -> float:
    return float(np.mean(np.abs(c[:, None] - c[None, :])))


def _textbook_mpsd(c: Floats) -> float:
    return float(np.mean((c[:, None] - c[None, :]) ** 2))


def _textbook_gini(c: Floats) -> float:
    return _ratio(float(np.sum(np.abs(c[:, None] - c[None, :]))), 2 * len(c) ** 2 * _mean(c))


def _textbook_entropy(c: Floats) -> float:
    shares, _ = _histogram(c)
    return float(np.sum(shares * np.log(1 / shares)))


def _plain(spread: Callable[[Floats], float]) -> Spread:
    return lambda c, _d, _last: spread(c)


def _relative(spread: Callable[[Floats], float]) -> Spread:
    """Over the mean of the last scores, where the labels divide by the mean of the data scores."""
    return lambda c, _d, last: _ratio(spread(c), _mean(last))


SIGNAL_VARIANTS: dict[str, Spread] = {
    "compat:rel_std": lambda c, d, _last: _ratio(_mean(d), _mean(c)),
    "compat:discrepancy": _plain(_discrepancy),
    "compat:star_discrepancy": _plain(_star_discrepancy),
    "compat:star_discrepancy_shifted": _plain(_star_discrepancy_shifted),
    "compat:rel_star_discrepancy": _relative(_star_discrepancy),
    "compat:dispersion": _plain(_dispersion),
    "compat:dispersion_shifted": _plain(_dispersion_shifted),
    "compat:rel_dispersion": _relative(_dispersion),
    "compat:mpd": _plain(_mpd),
    "compat:rel_mpd": _relative(_mpd),
    "compat:mpsd": _plain(_mpsd),
    "compat:rel_mpsd": _relative(_mpsd),
    "compat:mad": _plain(_mad),
    "compat:aad": _plain(_aad),
    "compat:dist_std": _plain(_dist_std),
    "compat:gini": _plain(_gini),
    "compat:quartile_deviation": _plain(_quartile_deviation),
    "compat:rms_deviation": _plain(_rms_deviation),
    "compat:range": _plain(_range),
    "compat:iqr": _relative(_quartile_range),
    "compat:tukey": _relative(_tukey),
    "compat:projection": _relative(_projection),
    "compat:entropy": _plain(_entropy),
    "compat:robust_range": _plain(_robust_range),
    "compat:differential_entropy": _plain(_differential_entropy),
    "compat:rel_differential_entropy": _relative(_differential_entropy),
    "textbook:star_discrepancy": _plain(_textbook_star_discrepancy),
    "textbook:mpd": _plain(_textbook_mpd),
    "textbook:mpsd": _plain(_textbook_mpsd),
    "textbook:gini": _plain(_textbook_gini),
    "textbook:entropy": _plain(_textbook_entropy),
}
"""Signal of each variant; the order is the kernel's."""

NOISE_SCALES: dict[str, Callable[[Floats, Floats], float]] = {
    "compat:tukey": _tukey_scale,
    "compat:projection": _projection_scale,
}
"""What the mean step noise is divided by, where that is not the mean of the last scores."""


def _finite_or_nan(value: float) -> float:
    return value if math.isfinite(value) else math.nan


def _known(name: str) -> str:
    if name not in SIGNAL_VARIANTS:
        raise OptionError(f'signal has no entry "{name}"; known: {", ".join(SIGNAL_VARIANTS)}')
    return name


def _signal_and_noise(name: str, c: Floats, last: Floats, s: Floats, d: Floats) -> tuple[float, float]:
    with np.errstate(all="ignore"):
        usable = len(c) >= 2 and bool(np.isfinite(c).all())
        signal = SIGNAL_VARIANTS[name](c, d, last) if usable else math.nan
        scale = _mean(last)
        if name in NOISE_SCALES:
            scale = NOISE_SCALES[name](c, last) if usable else math.nan
        noise = _ratio(_mean(s), scale)
    return _finite_or_nan(signal), _finite_or_nan(noise)


def signal_variant(
    name: str,
    data_scores: ArrayLike,
    last_n_scores: ArrayLike,
    step_noise: ArrayLike,
    data_noise: ArrayLike,
) -> tuple[float, float, float]:
    """Signal, relative noise and their ratio of one published variant, for one group.

    noise = mean(step_noise) / mean(last_n_scores), except that ``tukey`` and ``projection`` divide by the
    mean depth of the last scores among the data scores.

    Parameters
    ----------
    name
        ``compat:<name>`` (what the reference program computes) or ``textbook:<name>`` (what its label
        promises); without a prefix, ``compat`` is meant.
    data_scores
        One score per recipe, shape ``(n_recipes,)``.
    last_n_scores
        Scores of the last checkpoints, of all recipes together; any length.
    step_noise
        One absolute standard deviation over checkpoints per recipe; any length.
    data_noise
        Standard deviations across recipes; any length. Only ``rel_std`` looks at them.

    Returns
    -------
    tuple of float
        ``(signal, noise, signal / noise)``; what is undefined is NaN.

    Raises
    ------
    OptionError
        For a name in neither family; the message lists them.

    Notes
    -----
    Undefined: fewer than two data scores; an input that is not finite; a denominator of 0 (for the ratio also
    a noise of exactly 0); a score outside [0, 1] in ``discrepancy`` and ``textbook:star_discrepancy``; equal
    scores in ``gini``, the ``_shifted`` variants and, any two of them, in ``differential_entropy``; a median
    absolute deviation of 0 in ``projection``.

    Departures from the reference: it adds random jitter of 1e-10 before ``differential_entropy``, here
    nothing is drawn. Means keep their sign, as there, so a negative level gives a negative noise.

    References
    ----------
    Heineman et al. (2025), "Signal and Noise", arXiv:2508.13144, and its program's table of signal variants.

    Examples
    --------
    >>> found = signal_variant("rel_dispersion", [0.40, 0.45, 0.50], [0.44, 0.46], [0.01, 0.02], [])
    >>> tuple(round(x, 4) for x in found)
    (0.2222, 0.0333, 6.6667)
    """
    full_name = _known(name if ":" in name else f"compat:{name}")
    c, last, s, d = (
        np.asarray(values, dtype=np.float64).ravel()
        for values in (data_scores, last_n_scores, step_noise, data_noise)
    )
    signal, noise = _signal_and_noise(full_name, c, last, s, d)
    return signal, noise, _finite_or_nan(_ratio(signal, noise))


def signal_variant_groups(
    name: str,
    data_scores: Floats,
    data_offsets: Offsets,
    last_n_scores: Floats,
    last_n_offsets: Offsets,
    step_noise: Floats,
    step_offsets: Offsets,
    data_noise: Floats,
    noise_offsets: Offsets,
    *,
    threads: int | None = None,
) -> dict[str, Floats]:
    """Signal and noise of the variant ``name`` for every group; see ``signal_variant``."""
    del threads
    _known(name)
    columns = [
        [values for _, values in segments(*pair)]
        for pair in (
            (data_scores, data_offsets),
            (last_n_scores, last_n_offsets),
            (step_noise, step_offsets),
            (data_noise, noise_offsets),
        )
    ]
    if len({len(column) for column in columns}) > 1:
        raise ShapeError("all four offsets must have the same number of groups")
    pairs = [_signal_and_noise(name, *group) for group in zip(*columns, strict=True)]
    signal, noise = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    return {"signal": signal, "noise": noise}
