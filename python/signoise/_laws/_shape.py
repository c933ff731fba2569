"""The verb `scaling_shape`: does a benchmark improve with scale, get worse, or turn?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from .._errors import DroppedRowsWarning, SchemaError
from .._kernels import kernels
from .._metrics import direction as direction_of
from .._metrics import require_direction
from .._options import as_columns, check_level, signature
from .._scores import Filter, Scores
from .._status import Statuses, check_strict, result_column
from ._choose import choose_law
from ._columns import Checkpoints, Repeats, Source
from ._fit import Fit, fit_groups, settings_of
from ._fitted import criteria
from ._law import Floats, find_law
from ._points import Points, read_points
from ._splits import some_starts
from ._two_lines import LEAST_POINTS, two_lines, vertex

#: The laws that are set beside each other, and their names in columns.
LAWS = {"linear": "log_linear", "quadratic": "log_quadratic", "broken": "broken_power_law"}
#: Starts of a fit, and steps from each.
_STARTS, _STEPS = 12, 150
_FLOATS = (
    *("spearman", "trend_p_value", "turn_p_value", "turn"),
    *("before", "before_low", "before_high", "after", "after_low", "after_high"),
    *("vertex", "vertex_low", "vertex_high"),
)


def scaling_shape(
    scores: Scores,
    *,
    x: str = "flops",
    y: str | None = None,
    by: str | Sequence[str] | None = None,
    where: Filter = None,
    direction: Mapping[str, str] | None = None,
    compare: bool = True,
    checkpoints: Checkpoints = "last",
    repeats: Repeats = "all",
    confidence_level: float = 0.95,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Whether scores improve with scale, get worse (inverse scaling), or turn (U-shaped, inverted U).

    A turn is tested by two lines in ln x that meet at one of the points, where the sum of squares is least: one must
    surely fall and the other surely rise.

    Parameters
    ----------
    scores, y, by, where, checkpoints, repeats, columns, strict, threads
        As in `fit_scaling_law`.
    x
        The amount: ``"flops"``, ``"params"``, ``"tokens"`` or another column.
    direction
        ``{"metric": "higher" | "lower"}`` for metrics (or `y`) that are not known.
    compare
        Fit laws with and without a turn, and compare them by AICc and out of sample (`choose_law`).
    confidence_level
        Of limits; 1 - it is the level of the tests behind ``shape``.

    Returns
    -------
    DataFrame
        A row for each group: by-columns; ``n_points, n_places`` (distinct x); ``shape``: ``improving``, ``inverse``,
        ``u_shaped`` (worse, then better), ``inverted_u`` (better, then worse) or ``undecided``; ``spearman`` of score
        and x (above 0 is better with scale) with ``trend_p_value``; ``turn_p_value`` (small where the trend turns),
        ``turn`` (x at which the lines meet); slopes ``before, after`` (score a factor e of x, above 0 is better) with
        ``_low, _high``; ``vertex`` of a parabola with Fieller's limits (null: beyond any bound). With `compare`
        ``aicc_linear, aicc_quadratic, aicc_broken`` (of ``log_linear, log_quadratic, broken_power_law``, by least
        squares), ``best`` (the law of least AICc), ``error_linear, error_quadratic, error_broken, error_last`` (mean
        relative error at the next larger scales; of the last known score), ``best_ahead``. Last ``status, signature``.

    Undefined when
        Fewer than 7 points, or than 4 on each side of every place (``too_few``: no test of a turn); all scores the same
        (``constant``). AICc is null where there are not two points more than parameters, errors ahead where there are
        too few scales.

    Raises
    ------
    OptionError, SchemaError
        As `fit_scaling_law`.
    UnknownMetricError
        Where nothing says whether more is better.

    Notes
    -----
    The usual test, whether a fitted parabola falls at one end and rises at the other, takes any bend for a turn.
    Simulated (docs/prediction.md) on monotone curves that level off or rise late, 8 to 24 points: it errs in up
    to .99 of tables, two lines in at most .04; flat ones .02 to .04. A small ``aicc_quadratic`` shows a bend, not a
    turn. `shape` is a turn where ``turn_p_value`` is small, else a trend where ``trend_p_value`` is. Points count as
    independent: models of one family, or checkpoints of one run, lie closer to each other than their curve. A vertex
    near an end of the data is extrapolation.

    References
    ----------
    McKenzie et al. 2023, arXiv 2306.09479 (inverse and U-shaped scaling); Caballero et al. 2022, arXiv 2210.14891
    (broken laws); Lind and Mehlum 2010 (parabola); Simonsohn 2018, "Two lines"; Fieller 1954.

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> flops = [10.0 ** (18 + i / 2) for i in range(12)]
    >>> score = [0.3 + 0.01 * (i - 5) ** 2 + 0.004 * (-1) ** i for i in range(12)]
    >>> found = sn.scaling_shape(pl.DataFrame({"flops": flops, "acc": score}), y="acc")
    >>> found.select("shape", "n_points", "best", "best_ahead").rows()
    [('u_shaped', 12, 'quadratic', 'quadratic')]
    """
    check_level(confidence_level)
    source = Source(
        scores,
        (x,),
        y,
        by=None if by is None else as_columns(by),
        where=where,
        checkpoints=checkpoints,
        repeats=repeats,
        columns=columns,
        strict=strict,
        threads=threads,
    )
    grouped = read_points(source, find_law("log_linear"))
    signs = [_sign(grouped.label(index), y, direction) for index in range(len(grouped.groups))]
    rows = [_row(points, sign, confidence_level) for points, sign in zip(grouped.groups, signs, strict=True)]
    numbers = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in _FLOATS}
    statuses = Statuses(len(rows))
    level = np.array([points.n > 1 and np.ptp(points.y) == 0 for points in grouped.groups], dtype=bool)
    statuses.set("constant", level)
    statuses.set("too_few", np.isnan(numbers["turn_p_value"]) & ~level)
    parts = [
        pl.Series("n_points", [points.n for points in grouped.groups], dtype=pl.Int64),
        pl.Series(
            "n_places", [len(np.unique(points.inputs["x"])) for points in grouped.groups], dtype=pl.Int64
        ),
        _shapes(numbers, 1 - confidence_level),
        *(result_column(name, numbers[name]) for name in _FLOATS),
    ]
    table = pl.DataFrame([*grouped.labels.get_columns(), *parts])
    if compare:
        table = _with_errors(_with_criteria(table, grouped.groups, threads), grouped.by, source)
    text = signature(
        "scaling_shape",
        x=x,
        y=y,
        checkpoints=checkpoints,
        repeats=repeats,
        level=confidence_level,
    )
    table = table.with_columns(statuses.column(), pl.lit(text).alias("signature"))
    check_strict(table, grouped.by, strict=strict)
    return table


def _sign(label: pl.DataFrame, y: str | None, declared: Mapping[str, str] | None) -> float:
    """1 where more is better, -1 where less is: of the group's metric, else of the column that is fitted."""
    names = [label["metric"].item()] if "metric" in label.columns else []
    names += [] if y is None else [y]
    known = [name for name in names if name is not None and direction_of(name, declared) is not None]
    return float(require_direction(known[:1] or names[:1], declared)[(known or names)[0]])


def _fits(law: str, groups: Sequence[Points], threads: int | None) -> list[Fit | None]:
    """Fits by least squares; None where there are not two points more than parameters."""
    form = find_law(law)
    able = [index for index, points in enumerate(groups) if points.n >= len(form.parameters) + 2]
    starts = [some_starts(form, groups[index], _STARTS) for index in able]
    settings = replace(settings_of(form, "lsq", None, threads=threads), max_steps=_STEPS, polish=False)
    found: list[Fit | None] = [None] * len(groups)
    if able:
        for index, fit in zip(
            able, fit_groups(form, [groups[at] for at in able], settings, starts), strict=True
        ):
            found[index] = fit
    return found


def _with_criteria(table: pl.DataFrame, groups: Sequence[Points], threads: int | None) -> pl.DataFrame:
    """AICc of the laws, and which is least."""
    found = {}
    for name, law in LAWS.items():
        fits = _fits(law, groups, threads)
        found[f"aicc_{name}"] = np.array([np.nan if fit is None else criteria(fit)[0] for fit in fits])
    columns = (result_column(name, values) for name, values in found.items())
    return table.with_columns(*columns, _least(found, "aicc", "best"))


def _row(points: Points, sign: float, level: float) -> dict[str, float]:
    """The numbers of a group."""
    row = dict.fromkeys(_FLOATS, np.nan)
    order = np.argsort(points.inputs["x"], kind="stable")
    x, y = np.log(points.inputs["x"][order]), sign * points.y[order]
    n = len(x)
    if n < 4 or np.ptp(y) == 0 or np.ptp(x) == 0:
        return row
    row["spearman"], row["trend_p_value"] = _spearman(x, y)
    quantile = kernels().t_quantile(np.full(1, 0.5 + level / 2), np.full(1, n - 3.0))[0]
    place, low, high = vertex(x, y, float(quantile))
    row |= dict(zip(("vertex", "vertex_low", "vertex_high"), _powers(place, low, high), strict=True))
    lines = two_lines(x, y) if n >= LEAST_POINTS else None
    if lines is not None and lines.before_error > 0 and lines.after_error > 0:
        row |= {"turn_p_value": lines.p_value, "turn": float(np.exp(lines.turn))}
        for side, slope, error in (
            ("before", lines.before, lines.before_error),
            ("after", lines.after, lines.after_error),
        ):
            row |= {
                side: slope,
                f"{side}_low": slope - quantile * error,
                f"{side}_high": slope + quantile * error,
            }
    return row


def _powers(*logs: float) -> list[float]:
    with np.errstate(all="ignore"):
        return [float(value) if 0 < value < np.inf else np.nan for value in np.exp(logs)]


def _spearman(x: Floats, y: Floats) -> tuple[float, float]:
    """Rank correlation and its two-sided p-value by Student's t."""
    ranks = pl.DataFrame({"x": x, "y": y}).select(pl.all().rank("average"))
    r = float(np.clip(np.corrcoef(ranks["x"].to_numpy(), ranks["y"].to_numpy())[0, 1], -1, 1))
    df = float(len(x) - 2)
    with np.errstate(all="ignore"):
        t = np.abs(r) * np.sqrt(df / np.float64((1 - r) * (1 + r)))
    return r, float(2 * kernels().t_cdf(np.array([-t]), np.array([df]))[0])


def _shapes(numbers: Mapping[str, Floats], alpha: float) -> pl.Series:
    turns, trends = numbers["turn_p_value"] <= alpha, numbers["trend_p_value"] <= alpha
    words = np.select(
        [
            turns & (numbers["before"] < 0),
            turns,
            trends & (numbers["spearman"] > 0),
            trends,
            np.isfinite(numbers["trend_p_value"]),
        ],
        ["u_shaped", "inverted_u", "improving", "inverse", "undecided"],
        "",
    )
    return pl.Series("shape", words, dtype=pl.String).replace("", None)


def _least(numbers: Mapping[str, Floats], prefix: str, name: str) -> pl.Series:
    """The law with the least number of a kind; null where there is none."""
    table = np.stack([numbers[f"{prefix}_{law}"] for law in LAWS])
    names = list(LAWS)
    best = [None if np.isnan(column).all() else names[int(np.nanargmin(column))] for column in table.T]
    return pl.Series(name, best, dtype=pl.String)


def _with_errors(table: pl.DataFrame, by: Sequence[str], source: Source) -> pl.DataFrame:
    """Errors of the laws at larger scales, from smaller ones."""
    kinds = {law: f"error_{name}" for name, law in LAWS.items()} | {"predict_last": "error_last"}
    try:
        with warnings.catch_warnings():
            # Said once, as the points were read.
            warnings.simplefilter("ignore", DroppedRowsWarning)
            errors = choose_law(
                source.scores,
                laws=list(LAWS.values()),
                x=source.x[0],
                y=source.y,
                by=source.by,
                where=source.where,
                objective="lsq",
                scale=source.x[0],
                checkpoints=source.checkpoints,
                repeats=source.repeats,
                columns=source.columns,
                threads=source.threads,
            )
    except SchemaError:
        return table.with_columns(
            *(pl.lit(None, dtype=pl.Float64).alias(name) for name in kinds.values()),
            pl.lit(None, dtype=pl.String).alias("best_ahead"),
        )
    for law, name in kinds.items():
        own = errors.filter(law=law).select(*by, pl.col("error").alias(name))
        if by:
            table = table.join(own, on=by, how="left", nulls_equal=True, maintain_order="left")
        else:
            table = table.with_columns(own[name])
    found = {f"error_{name}": table[f"error_{name}"].to_numpy() for name in LAWS}
    return table.with_columns(_least(found, "error", "best_ahead"))
