"""The verb `plateau`: has a learning curve stopped improving, and when could one have known?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._duplicates import Duplicates
from ._encode import Encoded
from ._errors import OptionError
from ._kernels import kernels
from ._measure import check_autocorrelation
from ._metrics import require_direction
from ._options import as_columns, check_level, signature
from ._run_series import encode_runs
from ._scores import Filter, Groups, Scores, load, note_key, warn_notes
from ._smoothness import series_autocorrelation
from ._status import Statuses, check_strict, flag_lists, result_column

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: Checkpoints that a slope with an error takes, and below which it is flagged.
_LEAST, _FEW = 4, 8
#: Logarithms of places this near are of one place.
_ROUNDING = 1e-9
_FLOATS = ("gain", "low", "high", "p_value", "plateau_at", "autocorrelation")


def plateau(
    scores: Scores,
    *,
    delta: float,
    ahead: float = 2.0,
    span: float = 2.0,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    across: str | Sequence[str] = "run",
    direction: Mapping[str, str] | None = None,
    order: str = "tokens",
    autocorrelation: float | Literal["pooled"] = "pooled",
    confidence_level: float = 0.95,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Whether learning curves have stopped improving by more than `delta`, and when that could have been known.

    ``gain = slope ln(ahead)``, the slope being that of the score against ln(tokens) over the last stretch, from T/span
    to T: what `ahead` times the tokens bring where the curve keeps its course. Curves that level off bring less.

    Parameters
    ----------
    scores, by, where, across, order, groups, columns, duplicates, strict, threads
        As in `snr`.
    delta
        Improvement that matters, in units of the score (0.01 is a point of accuracy).
    ahead
        How far training would go on: 2 is twice the tokens.
    span
        The stretch whose slope is taken: 2 is the last half of the tokens.
    direction
        ``{"metric": "higher" | "lower"}`` for metrics that are not known.
    autocorrelation
        Lag-1 autocorrelation of checkpoints about lines over stretches: ``"pooled"`` over the runs of a score, or a
        known value.
    confidence_level
        Of ``low, high``; 1 - it is the chance of a wrong ``verdict``, and of ever stopping wrongly.

    Returns
    -------
    DataFrame
        A row for each run: by-columns, run; ``n_checkpoints`` (in the last stretch); ``gain`` (above 0 is better),
        ``low, high``; ``p_value`` (of a gain of `delta` or more, small where the curve is flat); ``verdict``:
        ``plateau`` (gain surely below `delta`), ``improving`` (surely above), ``undecided``; ``plateau_at`` (tokens at
        which a watcher could first have stopped, null if never), ``n_looks`` (how often he would look at all of it);
        ``autocorrelation``; ``status, flags, signature``.

    Undefined when
        Fewer than 4 checkpoints in the last stretch, or fewer than 20 values to estimate the autocorrelation from
        (``too_few``; give ``autocorrelation=``); all scores of the stretch equal (``constant``: gain 0, the rest null).

    Raises
    ------
    OptionError, SchemaError, UnknownMetricError
        As `snr`; `delta` of 0 or less, `ahead` or `span` of 1 or less.

    Notes
    -----
    Generalised least squares with AR(1) errors within a stretch, Student's t with n - 2 degrees of freedom. The watcher
    looks each time the tokens have grown `span` times, at stretches that do not overlap; the k-th look spends
    alpha/(k(k+1)), so that all looks together err with at most alpha. He is given the autocorrelation that the whole
    curve shows. Simulated at a gain of just `delta`, 16 to 256 checkpoints, autocorrelations of 0 to .8 pooled over
    runs: a plateau in .04 to .06, a stop ever in .04 to .05, coverage .95; of a single run of 32 checkpoints, with none
    to pool with, .03, .05 and .11 at autocorrelations of 0, .5 and .8. A falling learning rate bends curves upwards at
    their end: a plateau before it says nothing of what annealing brings.

    References
    ----------
    Schuirmann 1987 (one-sided tests against a margin); Pocock 1977 (looks at growing data).

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> steps = list(range(1, 65))
    >>> flat = [0.7 - 0.4 * step**-1.5 + (0.002 if step % 3 else -0.004) for step in steps]
    >>> curve = pl.DataFrame({"run": "a", "task": "t", "metric": "acc", "step": steps, "value": flat})
    >>> sn.plateau(curve, delta=0.01).select("verdict", "plateau_at").rows()
    [('plateau', 56.0)]
    """
    for name, value, least in (("delta", delta, 0.0), ("ahead", ahead, 1.0), ("span", span, 1.0)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least < value < np.inf:
            raise OptionError(f"{name} must be above {least:g}, got {value!r}")
    check_autocorrelation(autocorrelation)
    check_level(confidence_level)
    by, runs = as_columns(by), as_columns(across)
    table = load(
        scores,
        columns=columns,
        where=where,
        groups=groups,
        use=[*by, *runs, order],
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    encoded, apart = encode_runs(table.frame, by=by, runs=runs, order=order, duplicates=duplicates)
    warn_notes(table.notes)
    note_key(encoded, by)
    curves = _curves(encoded, direction)
    labels = encoded.groups
    scores_of = labels.select(name for name in encoded.by if name not in runs and name not in apart)
    rho = _autocorrelations(curves, scores_of, encoded.conflicts, autocorrelation, float(span))
    out = _judged(curves, len(labels), rho, delta, float(ahead), float(span), confidence_level)
    statuses = Statuses(len(labels))
    statuses.set("duplicate_key", encoded.conflicts)
    statuses.set("constant", out["constant"])
    statuses.set("too_few", ~out["constant"] & np.isnan(out["gain"]))
    statuses.blank(out, "duplicate_key")
    flags = {
        "few_checkpoints": (out["n_checkpoints"] < _FEW) & np.isfinite(out["gain"]),
        "missing_values": (encoded.n_missing + encoded.n_nan) > 0,
    }
    text = signature(
        "plateau",
        delta=delta,
        ahead=ahead,
        span=span,
        order=order,
        autocorrelation=autocorrelation,
        level=confidence_level,
    )
    result = labels.select(encoded.by).with_columns(
        pl.Series("n_checkpoints", out["n_checkpoints"]),
        *(result_column(name, out[name]) for name in _FLOATS[:4]),
        _verdicts(out["p_value"], 1 - confidence_level),
        result_column("plateau_at", out["plateau_at"]),
        pl.Series("n_looks", out["n_looks"]),
        result_column("autocorrelation", out["autocorrelation"]),
        statuses.column(),
        flag_lists(flags, len(labels)),
        pl.lit(text).alias("signature"),
    )
    check_strict(result, encoded.by, strict=strict)
    return result


# --- curves -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Curve:
    """A run's scores, the better the higher, by the logarithm of where they stand."""

    row: int
    """Its row of the result."""
    places: Floats
    logs: Floats
    values: Floats

    def stretch(self, end: float, span: float) -> slice:
        """The checkpoints after `end` - ln(span), up to `end`."""
        first = np.searchsorted(self.logs, end - np.log(span) + _ROUNDING, side="right")
        return slice(int(first), int(np.searchsorted(self.logs, end + _ROUNDING, side="right")))

    def stretches(self, span: float) -> list[slice]:
        """All stretches, back from the end."""
        found, end = [], self.logs[-1]
        while end >= self.logs[0]:
            found.append(self.stretch(end, span))
            end -= np.log(span)
        return found

    def looks(self, span: float) -> list[slice]:
        """The stretches that a watcher looks at: each begins after the last one has ended."""
        found, last = [], -np.inf
        for end in self.logs:
            here = self.stretch(end, span)
            if end >= last + np.log(span) - _ROUNDING and here.stop - here.start >= _LEAST:
                found.append(here)
                last = end
        return found


def _curves(encoded: Encoded, declared: Mapping[str, str] | None) -> list[_Curve]:
    """The curves that have a checkpoint at a place above 0."""
    signs = np.ones(len(encoded.groups))
    if "metric" in encoded.groups.columns:
        metrics = encoded.groups["metric"]
        known = require_direction(metrics.unique().drop_nulls().sort().to_list(), declared)
        signs = np.array([known.get(metric, 1) for metric in metrics], dtype=float)
    values, places, offsets, filled = encoded.select()
    found = []
    for series, (first, last) in zip(filled, itertools.pairwise(offsets.astype(np.intp)), strict=True):
        row = int(encoded.group_of[series])
        usable = (places[first:last] > 0) & np.isfinite(values[first:last])
        own = places[first:last][usable]
        if len(own):
            found.append(_Curve(row, own, np.log(own), signs[row] * values[first:last][usable]))
    return sorted(found, key=lambda curve: curve.row)


def _autocorrelations(
    curves: Sequence[_Curve],
    scores_of: pl.DataFrame,
    conflicts: NDArray[np.bool_],
    given: float | Literal["pooled"],
    span: float,
) -> Floats:
    """Autocorrelation about lines over stretches for each curve, from those of all runs of its score."""
    parts = [
        (index, curve.values[here])
        for index, curve in enumerate(curves)
        for here in curve.stretches(span)
        if here.stop - here.start >= _LEAST
    ]
    found = np.full(len(curves), np.nan)
    if parts:
        lengths = [len(values) for _, values in parts]
        rho = series_autocorrelation(
            np.concatenate([values for _, values in parts]),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.uintp),
            np.array([curves[index].row for index, _ in parts], dtype=np.intp),
            scores_of,
            conflicts,
            given,
        )
        found[[index for index, _ in parts]] = rho
    return found


# --- slopes -----------------------------------------------------------------------------------------


def slope(logs: Floats, values: Floats, rho: float) -> tuple[float, float]:
    """Slope of a line with AR(1) errors and its standard error, by generalised least squares."""

    def whitened(column: Floats) -> Floats:
        return np.concatenate([[np.sqrt(1 - rho**2) * column[0]], column[1:] - rho * column[:-1]])

    n = len(logs)
    basis = np.stack([whitened(np.ones(n)), whitened(logs - logs.mean())], axis=1)
    inverse = np.linalg.inv(basis.T @ basis)
    estimate = inverse @ (basis.T @ whitened(values))
    residual = whitened(values) - basis @ estimate
    return float(estimate[1]), float(np.sqrt(inverse[1, 1] * (residual @ residual) / (n - 2)))


@dataclass
class _Slopes:
    """Slopes of stretches, all to be tested at once."""

    slope: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    df: list[float] = field(default_factory=list)

    def add(self, curve: _Curve, here: slice, rho: float) -> None:
        """The slope of a stretch."""
        estimate, error = slope(curve.logs[here], curve.values[here], rho)
        self.slope.append(estimate)
        self.error.append(error)
        self.df.append(here.stop - here.start - 2.0)

    def p_values(self, least: float) -> Floats:
        """Of slopes of `least` or more: small where a slope is surely below it."""
        with np.errstate(all="ignore"):
            t = (np.array(self.slope) - least) / np.array(self.error)
        found: Floats = kernels().t_cdf(t, np.array(self.df))
        return found


def _judged(
    curves: Sequence[_Curve],
    n_rows: int,
    rho: Floats,
    delta: float,
    ahead: float,
    span: float,
    confidence_level: float,
) -> dict[str, Any]:
    """The statistics of every row."""
    out: dict[str, Any] = {name: np.full(n_rows, np.nan) for name in _FLOATS}
    out |= {name: np.zeros(n_rows, dtype=np.int64) for name in ("n_checkpoints", "n_looks")}
    out["constant"] = np.zeros(n_rows, dtype=bool)
    ends, looks = _Slopes(), _Slopes()
    end_rows: list[int] = []
    look_rows: list[int] = []
    look_numbers: list[int] = []
    look_places: list[float] = []
    for curve, own in zip(curves, rho, strict=True):
        last = curve.stretch(curve.logs[-1], span)
        out["n_checkpoints"][curve.row] = last.stop - last.start
        out["autocorrelation"][curve.row] = own
        if last.stop - last.start < _LEAST:
            continue
        if np.ptp(curve.values[last]) == 0:
            out["constant"][curve.row], out["gain"][curve.row] = True, 0.0
            continue
        if np.isnan(own):
            continue
        ends.add(curve, last, own)
        end_rows.append(curve.row)
        watched = [here for here in curve.looks(span) if np.ptp(curve.values[here]) > 0]
        out["n_looks"][curve.row] = len(watched)
        for number, here in enumerate(watched, start=1):
            looks.add(curve, here, own)
            look_rows.append(curve.row)
            look_numbers.append(number)
            look_places.append(curve.places[here.stop - 1])
    if not end_rows:
        return out
    fold = np.log(ahead)
    gain, error = fold * np.array(ends.slope), fold * np.array(ends.error)
    level = np.full(len(gain), 0.5 + confidence_level / 2)
    half = kernels().t_quantile(level, np.array(ends.df)) * error
    out["gain"][end_rows], out["p_value"][end_rows] = gain, ends.p_values(delta / fold)
    out["low"][end_rows], out["high"][end_rows] = gain - half, gain + half
    spent = (1 - confidence_level) / np.array([number * (number + 1.0) for number in look_numbers])
    stop = looks.p_values(delta / fold) <= spent
    # From the last to the first, so that the first stays.
    for index in np.flatnonzero(stop)[::-1]:
        out["plateau_at"][look_rows[index]] = look_places[index]
    return out


def _verdicts(p_value: Floats, alpha: float) -> pl.Series:
    """In a word, where there is a test."""
    words = np.select(
        [np.isnan(p_value), p_value <= alpha, p_value >= 1 - alpha], ["", "plateau", "improving"], "undecided"
    )
    return pl.Series("verdict", words, dtype=pl.String).replace("", None)
