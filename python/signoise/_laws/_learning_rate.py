"""The verb `learning_rate_sensitivity`: what a wrong learning rate costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._errors import OptionError, SchemaError
from .._kernels import kernels
from .._metrics import direction
from .._options import as_columns, check_level, signature
from .._schema import did_you_mean
from .._scores import Filter, Scores, warn_notes
from .._status import Statuses, check_strict, result_column
from ._columns import Source, inner_columns, read_rows

Floats = NDArray[np.float64]

_NAMES = ("learning_rate", "lr", "peak_lr", "peak_learning_rate", "max_lr")
#: Rates that make a curve with an inside.
LEAST_RATES = 3
#: Logarithms of rates this near are of one rate.
_ROUNDING = 1e-9
_FLOATS = ("low_rate", "high_rate", "best_rate", "best", "sensitivity", "low", "high", "df")
_COUNTS = ("n_rates", "n_runs", "n_diverged")


def learning_rate_sensitivity(
    scores: Scores,
    *,
    y: str = "loss",
    x: str | None = None,
    rates: tuple[float, float] | None = None,
    initial_loss: float | None = None,
    by: str | Sequence[str] = (),
    where: Filter = None,
    confidence_level: float = 0.95,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Mean loss over a range of learning rates above the loss at the best one.

    ``sensitivity = 1/ln(b/a) int_a^b (min(L(eta), L_0) - min L) d ln eta``, L the mean loss of the runs at each rate
    and straight lines in ln eta between them.

    Parameters
    ----------
    scores, y, where, columns, strict, threads
        As in `fit_scaling_law`; of a run with several rows the last by tokens (or step) counts. A metric that is better
        when higher is turned round.
    x
        Column of the peak learning rate. Default: ``learning_rate``, ``lr``, ``peak_lr``, ``peak_learning_rate`` or
        ``max_lr``.
    rates
        The range (a, b), the same for all groups that are to be compared. Default: what each group has.
    initial_loss
        Loss before training, L_0: no run counts as worse, and runs whose loss is not finite have diverged and count as
        this.
    by
        Columns whose values are swept apart, such as ``("params", "tokens")``.
    confidence_level
        Of ``low, high``.

    Returns
    -------
    DataFrame
        A row for each group: by-columns; ``n_rates`` in the range, ``n_runs, n_diverged`` (not finite, or as bad as
        `initial_loss`); ``low_rate, high_rate`` (the range); ``best_rate, best`` (the lowest mean loss and its rate);
        ``sensitivity`` (units of the loss), ``low, high``, ``df`` (degrees of freedom of the runs at equal rates);
        ``status, signature``.

    Undefined when
        Fewer than 3 rates, or the range reaches beyond those tried (``too_few``); a loss is not finite and no
        `initial_loss` is given (``not_finite``). Without two runs at any rate nothing is known of their scatter: limits
        null. The best rate lies at an end of the range (``at_bound``): the loss may fall further outside, and
        the sensitivity holds for this range alone.

    Raises
    ------
    SchemaError
        No column of learning rates, or rates of 0 or less.
    OptionError
        A range or an initial loss that cannot be.

    Notes
    -----
    Limits: the sensitivity is a weighted sum of mean losses, whose variance follows from the scatter of runs at equal
    rates (pooled over rates; the lowest loss enters as that of one rate); Student's t. Simulated on parabolas in ln eta
    with 9 rates, 2 and 4 seeds, 400 sweeps each: .94 to .98 where the sensitivity is twice the scatter of a run or
    more, .94 to .97 where it is about as large, .90 where it is a fifth. There the lowest of several nearly equal means
    is low by chance, and the sensitivity too high by half the scatter or more. The scatter is taken to be the same at
    all rates: near divergence it is not.

    How sensitivity changes with size: `fit_scaling_law` of this table with ``by="params"``, ``x="params"``,
    ``y="sensitivity"``.

    References
    ----------
    Wortsman et al. 2023, arXiv 2309.14322, section 2.2 (mean over rates above the optimum, capped by the loss at
    initialisation; the cap unverified).

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> runs = pl.DataFrame({"lr": [1e-4, 1e-3, 1e-2, 1e-1], "loss": [3.2, 3.0, 3.1, float("inf")]})
    >>> sn.learning_rate_sensitivity(runs, initial_loss=10.8).select("n_rates", pl.col("sensitivity").round(3)).rows()
    [(4, 1.367)]
    """
    check_level(confidence_level)
    if initial_loss is not None and not np.isfinite(initial_loss):
        raise OptionError(f"initial_loss must be a finite number, got {initial_loss!r}")
    if rates is not None and not (len(rates) == 2 and 0 < rates[0] < rates[1] < np.inf):
        raise OptionError(f"rates must be two learning rates, the lower one first, got {rates!r}")
    frame, key, metrics, notes = _rows(
        scores, y, x, as_columns(by), where, columns, strict=strict, threads=threads
    )
    warn_notes(notes)
    parts = frame.partition_by(key, maintain_order=True) if key else [frame]
    sweeps = []
    for part in parts:
        metric = part["metric"][0] if "metric" in key else metrics
        sign = -1.0 if direction(metric) == 1 else 1.0
        sweeps.append(_swept(part, sign, rates, initial_loss))
    numbers = {
        name: np.array([getattr(one, name) for one in sweeps], dtype=np.float64) for name in _FLOATS[:5]
    }
    df = np.array([one.df for one in sweeps], dtype=np.float64)
    error = np.sqrt(np.array([one.variance for one in sweeps]))
    known = np.where((df > 0) & np.isfinite(numbers["sensitivity"]), df, np.nan)
    half = kernels().t_quantile(np.full(len(df), 0.5 + confidence_level / 2), known) * error
    numbers["low"] = np.maximum(numbers["sensitivity"] - half, 0.0)
    numbers["high"] = numbers["sensitivity"] + half
    numbers["df"] = df
    statuses = Statuses(len(sweeps))
    for status in ("too_few", "not_finite", "at_bound"):
        statuses.set(status, np.array([one.status == status for one in sweeps], dtype=bool))
    text = signature(
        "learning_rate_sensitivity",
        y=y,
        x=x,
        rates=None if rates is None else [f"{rate:g}" for rate in rates],
        initial_loss=initial_loss,
        level=confidence_level,
    )
    labels = pl.concat([part.select(key).head(1) for part in parts])
    result = pl.DataFrame(
        [
            *labels.get_columns(),
            *(pl.Series(name, [getattr(one, name) for one in sweeps], dtype=pl.Int64) for name in _COUNTS),
            *(result_column(name, numbers[name]) for name in _FLOATS),
            statuses.column(),
            pl.Series("signature", [text] * len(sweeps)),
        ]
    )
    check_strict(result, key, strict=strict)
    return result


def _rows(
    scores: Scores,
    y: str,
    x: str | None,
    by: tuple[str, ...],
    where: Filter,
    columns: Mapping[str, str] | None,
    *,
    strict: bool,
    threads: int | None,
) -> tuple[pl.DataFrame, list[str], str, list[str]]:
    """Rows with ``__x0`` (rate) and ``__y``, a run once; the key; what is scored; what was left out."""
    source = Source(
        scores,
        (),
        y,
        by=by or None,
        where=where,
        columns=columns,
        check_units=False,
        strict=strict,
        threads=threads,
    )
    rows = read_rows(source, by)
    name = x if x is not None else next((name for name in _NAMES if name in rows.frame.columns), None)
    if name is None or name not in rows.frame.columns:
        wanted = " or ".join(_NAMES) if name is None else f"{name!r}{did_you_mean(name, rows.frame.columns)}"
        raise SchemaError(f"the table has no column of learning rates, {wanted}; name it with x=")
    frame = inner_columns(rows, source, {"learning_rate": name})
    notes = list(rows.notes)
    key = list(rows.by)
    sound = frame.filter(pl.col("__x0").is_not_null() & pl.col("__y").is_not_null())
    if sound.height < frame.height:
        notes.append(f"{frame.height - sound.height} rows without {name} or {y} were left out")
    if (sound["__x0"] <= 0).any() or not sound["__x0"].is_finite().all():
        raise SchemaError(f"column {name!r} holds learning rates of 0 or less, or not finite")
    place, run = pl.col("__place"), pl.col("__run")
    last = (place == place.max().over([*key, "__run"])) | place.is_null() | run.is_null()
    return sound.filter(last).sort(*key, "__x0", "__y", nulls_last=True), key, y, notes


@dataclass(frozen=True)
class _Sweep:
    """The runs of one group."""

    n_rates: int
    n_runs: int
    n_diverged: int
    low_rate: float
    high_rate: float
    best_rate: float = np.nan
    best: float = np.nan
    sensitivity: float = np.nan
    variance: float = np.nan
    df: float = 0.0
    status: str = "ok"


def _swept(
    part: pl.DataFrame, sign: float, rates: tuple[float, float] | None, initial: float | None
) -> _Sweep:
    """The sensitivity of runs sorted by rate; `sign` is -1 where more is better."""
    x, loss = np.log(part["__x0"].to_numpy()), sign * part["__y"].to_numpy()
    cap = np.inf if initial is None else sign * initial
    diverged = ~np.isfinite(loss) | (loss >= cap)
    loss = np.where(diverged, cap, loss)
    starts = np.flatnonzero(np.append(True, np.diff(x) > _ROUNDING)[: len(x)])
    place, n = x[starts], np.diff(np.append(starts, len(x)))
    ends = (x[0], x[-1]) if rates is None else (np.log(rates[0]), np.log(rates[1]))
    inside = (place >= ends[0] - _ROUNDING) & (place <= ends[1] + _ROUNDING)
    counted = np.repeat(inside, n)
    about = _Sweep(
        int(inside.sum()),
        int(counted.sum()),
        int((diverged & counted).sum()),
        float(np.exp(ends[0])),
        float(np.exp(ends[1])),
    )
    covered = ends[0] >= x[0] - _ROUNDING and ends[1] <= x[-1] + _ROUNDING
    if about.n_rates < LEAST_RATES or not covered:
        return _with(about, status="too_few")
    if not np.isfinite(loss).all():
        return _with(about, status="not_finite")
    means = np.add.reduceat(loss, starts) / n
    knots, weights = _mean_weights(place, ends)
    at_knots = weights["values"] @ means
    best = int(np.argmin(at_knots))
    gradient = weights["mean"] - weights["values"][best]
    # A rate at which every run diverged is known: its runs do not scatter.
    moving = np.repeat(np.minimum.reduceat(diverged, starts) == 0, n)
    df = float(np.sum(np.where(moving[starts], n - 1, 0)))
    squares = float(np.sum(np.where(moving, (loss - np.repeat(means, n)) ** 2, 0.0)))
    variance = float(np.sum(np.where(moving[starts], gradient**2 / n, 0.0))) * squares / df if df else np.nan
    edge = best in (0, len(knots) - 1)
    return _with(
        about,
        best_rate=float(np.exp(knots[best])),
        best=sign * float(at_knots[best]),
        sensitivity=float(gradient @ means),
        variance=variance,
        df=df,
        status="at_bound" if edge else "ok",
    )


def _mean_weights(place: Floats, ends: tuple[float, float]) -> tuple[Floats, dict[str, Floats]]:
    """Knots of the curve inside the range, what they are of the means at `place`, and the mean over the range."""
    inner = place[(place > ends[0] + _ROUNDING) & (place < ends[1] - _ROUNDING)]
    knots = np.concatenate([[ends[0]], inner, [ends[1]]])
    identity = np.eye(len(place))
    values = np.stack([np.interp(knots, place, unit) for unit in identity], axis=1)
    steps = np.diff(knots)
    trapezoid = (np.append(steps, 0.0) + np.append(0.0, steps)) / 2
    return knots, {"values": values, "mean": trapezoid @ values / (ends[1] - ends[0])}


def _with(about: _Sweep, **changes: float | str) -> _Sweep:
    return _Sweep(**(about.__dict__ | changes))
