"""The verb `crossover`: where one fitted curve overtakes another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._errors import OptionError
from .._options import as_columns, check_choice, signature
from .._schema import as_expression
from .._scores import Filter, Scores
from .._status import result_column
from .._told import Told
from ._columns import Checkpoints, Repeats
from ._fit import Fit, values
from ._fitted import Bounds, beside, fit_all, shared_groups
from ._law import Floats, Law, Objective, find_law
from ._status import FLAGS, status_of
from ._uncertainty import FEW_CLUSTERS, Spread, spread_of

Draws = Literal["bootstrap", "parametric", "none"]
DRAWS: tuple[Draws, ...] = ("bootstrap", "parametric", "none")
#: Places in the range at which the curves are compared; between them they are straight lines on a log axis.
_GRID = 1001
#: How far beyond the largest observation a crossing is looked for, where `within` does not say.
_BEYOND = 10.0
#: Statuses of fits, the gravest first.
_GRAVEST = ("too_few", "not_converged", "at_bound", "ok")


def crossover(
    scores: Scores,
    law: str | Law = "power_law",
    *,
    a: Filter,
    b: Filter,
    along: str | None = None,
    at: Mapping[str, float] | None = None,
    within: tuple[float, float] | None = None,
    x: str | Sequence[str] | None = None,
    y: str | None = None,
    by: str | Sequence[str] | None = None,
    where: Filter = None,
    objective: Objective | None = None,
    delta: float | None = None,
    overestimate_penalty: float = 1.0,
    bounds: Bounds | None = None,
    checkpoints: Checkpoints = "all",
    repeats: Repeats = "all",
    cluster: str | None = None,
    scale: str | None = None,
    interval: Draws | None = None,
    n_resamples: int = 1000,
    rng_seed: int = 0,
    confidence_level: float = 0.95,
    check_units: bool = True,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Fit a law to two sets of runs and say where the better one changes, and how sure that is.

    Parameters
    ----------
    scores, law
        As in `fit_scaling_law`; both sides are fitted with the same law.
    a, b
        The rows of each side: a Polars expression or SQL predicate. No row may be on both.
    along
        Input of the law (as `x` names it) along which the curves are compared, or ``"flops"`` or ``"params"`` of a law
        of params and tokens. Default: the only input.
    at
        What the other inputs are: ``{"tokens": 1e12}``, or ``{"tokens_per_param": 20}`` of a law of params and tokens.
    within
        Range of `along` in which a crossing counts. Default: from the smallest observation to 10 times the largest.
    x, y, by, where, objective, delta, overestimate_penalty, bounds, checkpoints, repeats, cluster, scale
        As in `fit_scaling_law`; `where` is of both sides.
    interval
        ``"bootstrap"`` of whole runs on each side, ``"parametric"`` (normal errors), ``"none"``. Default: bootstrap,
        with fewer than 10 runs on a side parametric.
    n_resamples, rng_seed, confidence_level, check_units, columns, strict, threads
        As in `fit_scaling_law`.

    Returns
    -------
    DataFrame
        A row for each group that has both sides: by-columns; ``law, along``; ``crossing, low, high`` (the last crossing
        in the range, and the limits of its distribution); ``n_crossings``; ``crosses`` (share of replicates that cross
        in the range); ``largest`` (observation of either side), ``predicted_a, predicted_b`` and ``better`` there, with
        ``better_share`` (of replicates that agree); ``extrapolation`` (crossing over ``largest``, at least 1); ``n_a,
        n_b``; ``status, flags, signature``.

    Undefined when
        A side has no fit (its status); the curves do not meet in the range (``no_crossing``): what is said at
        ``largest`` stays. A limit beyond which replicates never cross is null (flags ``open_below``, ``open_above``).

    Raises
    ------
    OptionError
        A row on both sides; inputs that `at` leaves open; a range that is empty; as `fit_scaling_law`.
    SchemaError, FitError
        As `fit_scaling_law`; no group has both sides.

    Notes
    -----
    Replicate i of one side is held against replicate i of the other, drawn apart. A replicate without a crossing
    counts as one above the range where the order at its upper end is that of the estimate at its lower end, else as one
    below. Higher is better for accuracies and metrics known to be so, lower for losses. A crossing beyond the largest
    observation is a statement of the form as much as of the data: look at ``extrapolation``.

    References
    ----------
    Comparisons of architectures by where their fitted curves cross, e.g. arXiv 2309.11197.

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> flops = pl.Series("flops", [1e18, 1e19, 1e20, 1e21])
    >>> lstm = pl.DataFrame({"flops": flops, "loss": 20 * flops**-0.05, "arch": "lstm"})
    >>> gpt = pl.DataFrame({"flops": flops, "loss": 180 * flops**-0.1, "arch": "gpt"})
    >>> runs = pl.concat([lstm, gpt])
    >>> out = sn.crossover(
    ...     runs, "pure_power_law", x="flops", y="loss", a="arch = 'lstm'", b="arch = 'gpt'", interval="none"
    ... )
    >>> f"{out['crossing'].item():.3g}", out["better"].item()  # (180/20)^(1/0.05)
    ('1.22e+19', 'b')
    """
    chosen = find_law(law)
    if interval is not None:
        check_choice("interval", interval, DRAWS)
    if a is None or b is None:
        raise OptionError("crossover needs a and b: the rows of each side, e.g. a=\"arch = 'lstm'\"")
    sides = {"a": as_expression(a, "a"), "b": as_expression(b, "b")}
    path = _Path.of(chosen, as_columns(x) if x is not None else tuple(chosen.inputs), along, at or {})
    told, fitted = Told(), {}
    for side, rows in sides.items():
        with told.listen(f"{side}: "):
            fitted[side] = fit_all(
                scores,
                chosen,
                x=x,
                y=y,
                by=by,
                where=rows if where is None else as_expression(where, "where") & rows,
                objective=objective,
                delta=delta,
                overestimate_penalty=overestimate_penalty,
                bounds=bounds,
                checkpoints=checkpoints,
                repeats=repeats,
                cluster=cluster,
                scale=scale,
                interval="none",
                n_resamples=n_resamples,
                rng_seed=rng_seed,
                confidence_level=confidence_level,
                check_units=check_units,
                columns=columns,
                strict=strict,
                threads=threads,
            )
    pairs = shared_groups(fitted)
    for _, fits in pairs:
        _check_apart(fits)
    told.repeat()
    tables = []
    for label, fits in pairs:
        kind = interval or _kind(fits)
        spreads = {
            side: spread_of(fit, _beside_label(label, side), kind, n_resamples, rng_seed)
            for side, fit in fits.items()
        }
        higher = chosen.rises(label["metric"].item() if "metric" in label.columns else y)
        row = _row(path, fits, spreads, within, confidence_level, higher=higher, threads=threads)
        tables.append(beside(label, row))
    stamp = signature(
        "crossover",
        a=a,
        b=b,
        along=path.along,
        at=[f"{name}={value:g}" for name, value in sorted(path.held.items())] or None,
        within=within,
        **(fitted["a"].settings | {"interval": interval or "auto"}),
    )
    table = pl.concat(tables).with_columns(signature=pl.lit(stamp))
    fitted["a"].check_strict(table, strict=strict)
    return table


# --- along what -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Path:
    """The line through the inputs of a law along which curves are compared."""

    along: str
    axis: str
    """The law's name of it."""
    held: dict[str, float]
    """The other amounts, by the law's names."""

    @classmethod
    def of(cls, law: Law, names: Sequence[str], along: str | None, at: Mapping[str, float]) -> _Path:
        inputs = tuple(law.inputs)
        if law.prepare is not None:
            raise OptionError(
                f"law {law.name!r} is of whole runs: its curves have no common axis to cross along"
            )
        if along is None:
            if len(inputs) > 1:
                raise OptionError(
                    f"law {law.name!r} is of {', '.join(inputs)}: say along which the curves are compared, e.g. "
                    f"along={inputs[0]!r}, and what the others are, e.g. at={{{inputs[1]!r}: ...}}"
                )
            along = names[0]
        own = dict(zip(names, inputs, strict=False))
        axis = own.get(along, along)
        held = {own.get(name, name): float(value) for name, value in at.items()}
        path = cls(along, axis, held)
        found = path.amounts(np.ones(1))
        missing = [name for name in inputs if name not in found]
        if missing:
            raise OptionError(
                f"along {along!r}, at does not say what {', '.join(missing)} is; give at={{{missing[0]!r}: ...}}"
                f"{' or tokens_per_param' if {'params', 'tokens'} <= set(inputs) else ''}"
            )
        return path

    def amounts(self, place: Floats) -> dict[str, Floats]:
        """The inputs at places along the axis, as far as they are determined."""
        found = {self.axis: place} | {name: np.full_like(place, value) for name, value in self.held.items()}
        ratio = found.get("tokens_per_param")
        for _ in range(2):
            if "params" in found and ratio is not None:
                found.setdefault("tokens", ratio * found["params"])
            if "tokens" in found and ratio is not None:
                found.setdefault("params", found["tokens"] / ratio)
            if "flops" in found and ratio is not None:
                found.setdefault("params", np.sqrt(found["flops"] / (6 * ratio)))
            if {"flops", "params"} <= set(found):
                found.setdefault("tokens", found["flops"] / (6 * found["params"]))
            if {"flops", "tokens"} <= set(found):
                found.setdefault("params", found["flops"] / (6 * found["tokens"]))
        return found

    def observed(self, fit: Fit) -> Floats:
        """Where on the axis the points of a fit stand."""
        inputs = fit.points.inputs
        if self.axis in inputs:
            return inputs[self.axis]
        return 6 * inputs["params"] * inputs["tokens"]


# --- both sides -------------------------------------------------------------------------------------


def _check_apart(fits: Mapping[str, Fit]) -> None:
    """A row on both sides would be held against itself."""
    rows = [
        {tuple(row) for row in np.stack([*fit.points.inputs.values(), fit.points.y], axis=1).tolist()}
        for fit in fits.values()
    ]
    if common := len(rows[0] & rows[1]):
        raise OptionError(f"{common} observations are on both sides; narrow a or b")


def _kind(fits: Mapping[str, Fit]) -> Draws:
    fewest = min(int(fit.points.cluster.max()) + 1 for fit in fits.values())
    return "bootstrap" if fewest >= FEW_CLUSTERS else "parametric"


def _beside_label(label: pl.DataFrame, side: str) -> pl.DataFrame:
    """What addresses the draws of a side."""
    own = pl.DataFrame({"side": [side]})
    return pl.concat([label, own], how="horizontal") if label.width else own


# --- crossings --------------------------------------------------------------------------------------


def _differences(
    path: _Path, law: Law, sets: tuple[Floats, Floats], logs: Floats, threads: int | None
) -> Floats:
    """Curve a minus curve b, a row a set."""
    amounts = path.amounts(np.exp(logs))
    variables = {name: amounts[name] for name in law.variables}
    a, b = (values(law, own, variables, len(logs), threads) for own in sets)
    return a - b


def _crossings(differences: Floats, logs: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The last crossing of each row, on the log axis, and how many there are; NaN without one."""
    above = differences >= 0
    changes = above[:, 1:] != above[:, :-1]
    n = changes.sum(axis=1)
    last = changes.shape[1] - 1 - np.argmax(changes[:, ::-1], axis=1)
    rows = np.arange(len(differences))
    left, right = differences[rows, last], differences[rows, last + 1]
    with np.errstate(all="ignore"):
        at = logs[last] + (logs[last + 1] - logs[last]) * left / (left - right)
    return np.where(n > 0, at, np.nan), n


def _row(
    path: _Path,
    fits: Mapping[str, Fit],
    spreads: Mapping[str, Spread],
    within: tuple[float, float] | None,
    confidence_level: float,
    *,
    higher: bool,
    threads: int | None,
) -> pl.DataFrame:
    """The row of a group."""
    law = fits["a"].law
    observed = np.concatenate([path.observed(fit) for fit in fits.values()])
    largest = float(observed.max())
    ends = _range(within, float(observed.min()), _BEYOND * largest)
    logs = np.linspace(math.log(ends[0]), math.log(ends[1]), _GRID)
    own = [status_of(fit, spreads[side]) for side, fit in fits.items()]
    status = next(word for word in _GRAVEST if any(word == one for one, _ in own))
    flags = [name for name in FLAGS if any(name in told for _, told in own)]
    nan = float("nan")
    row: dict[str, float] = dict.fromkeys(("crossing", "low", "high", "crosses", "better_share"), nan)
    n_crossings, predicted, better = None, (nan, nan), None
    if status not in ("too_few", "not_converged"):
        sets = (fits["a"].inner[None], fits["b"].inner[None])
        differences = _differences(path, law, sets, logs, threads)
        crossing, counted = _crossings(differences, logs)
        n_crossings = int(counted[0])
        top = np.array([np.log(largest)])
        amounts = path.amounts(np.exp(top))
        there = {name: amounts[name] for name in law.variables}
        first, second = (float(values(law, one, there, 1)[0, 0]) for one in sets)
        predicted = (first, second)
        sign = 1 if higher else -1
        gap = sign * (first - second)
        better = None if gap == 0 or np.isnan(gap) else "a" if gap > 0 else "b"
        if n_crossings:
            row["crossing"] = float(np.exp(_refined(path, law, sets, float(crossing[0]), logs[1] - logs[0])))
        elif status == "ok":
            status = "no_crossing"
        replicates = _replicates(spreads)
        if replicates is not None:
            drawn = _differences(path, law, replicates, logs, threads)
            at, _ = _crossings(drawn, logs)
            row["crosses"] = float(np.mean(np.isfinite(at)))
            ahead = sign * _differences(path, law, replicates, top, threads)[:, 0]
            if better is not None:
                row["better_share"] = float(np.mean(ahead > 0 if better == "a" else ahead < 0))
            if n_crossings:
                low, high = _limits(at, drawn, differences[0], confidence_level)
                row["low"], row["high"] = np.exp(low), np.exp(high)
                flags += ["open_below"] * bool(np.isneginf(low)) + ["open_above"] * bool(np.isposinf(high))
                row["low"] = nan if np.isneginf(low) else row["low"]
    far = max(1.0, row["crossing"] / largest) if np.isfinite(row["crossing"]) else nan
    flags += ["extrapolated"] if far > _BEYOND else []
    floats = row | {
        "largest": largest,
        "predicted_a": predicted[0],
        "predicted_b": predicted[1],
        "extrapolation": far,
    }
    columns = {name: result_column(name, np.array([value])) for name, value in floats.items()}
    return pl.DataFrame(
        [
            pl.Series("law", [law.name]),
            pl.Series("along", [path.along]),
            *(columns[name] for name in ("crossing", "low", "high")),
            pl.Series("n_crossings", [n_crossings], dtype=pl.Int64),
            *(columns[name] for name in ("crosses", "largest", "predicted_a", "predicted_b")),
            pl.Series("better", [better], dtype=pl.String),
            *(columns[name] for name in ("better_share", "extrapolation")),
            pl.Series("n_a", [fits["a"].points.n]),
            pl.Series("n_b", [fits["b"].points.n]),
            pl.Series("status", [status]),
            pl.Series("flags", [flags], dtype=pl.List(pl.String)),
        ]
    )


def _range(within: tuple[float, float] | None, low: float, high: float) -> tuple[float, float]:
    ends = (low, high) if within is None else (float(within[0]), float(within[1]))
    if not 0 < ends[0] < ends[1] < np.inf:
        raise OptionError(
            f"within must be a range above 0, the lower end first, got ({ends[0]:g}, {ends[1]:g})"
        )
    return ends


def _refined(path: _Path, law: Law, sets: tuple[Floats, Floats], at: float, step: float) -> float:
    """A crossing to rounding: the grid again, ever closer around it."""
    for _ in range(3):
        near = np.linspace(at - step, at + step, 101)
        found, _ = _crossings(_differences(path, law, sets, near, None), near)
        if not np.isfinite(found[0]):
            break
        at, step = float(found[0]), step / 50
    return at


def _replicates(spreads: Mapping[str, Spread]) -> tuple[Floats, Floats] | None:
    """Pairs of replicates of both sides."""
    n = min(len(spread.replicates) for spread in spreads.values())
    return (spreads["a"].replicates[:n], spreads["b"].replicates[:n]) if n >= 2 else None


def _limits(at: Floats, drawn: Floats, estimate: Floats, confidence_level: float) -> tuple[float, float]:
    """Percentiles of the crossings; those outside the range are infinite."""
    beyond = (drawn[:, -1] >= 0) == (estimate[0] >= 0)
    placed = np.where(np.isfinite(at), at, np.where(beyond, np.inf, -np.inf))
    tail = 0.5 * (1 - confidence_level)
    order = np.sort(placed)
    # Between an infinite and a finite value there is nothing to interpolate: the outer one counts.
    n = len(order) - 1
    return float(order[int(np.floor(tail * n))]), float(order[int(np.ceil((1 - tail) * n))])
