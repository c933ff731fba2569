"""The verb `correlate`: does one number about benchmarks foretell another?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import CORRELATIONS, group_addresses, uniforms
from .._errors import OptionError, SchemaError
from .._options import as_columns, check_count, check_level, check_seed, signature
from .._schema import did_you_mean
from .._status import Statuses, check_strict, result_column
from ._correlations import MEASURES, correlations, fisher_limits

Floats = NDArray[np.float64]

#: Fewer benchmarks than this have no bootstrap.
LEAST_BOOTSTRAP = 8
_LABELS = ("task", "subtask", "config", "metric", "filter", "params")
_NUMBERS = ("value", "low", "high", "bootstrap_low", "bootstrap_high")


def correlate(
    table: pl.DataFrame,
    x: str,
    y: str,
    *,
    log10: str | Sequence[str] = (),
    by: str | Sequence[str] = (),
    labels: str | Sequence[str] | None = None,
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    rng_seed: int = 0,
    strict: bool = False,
) -> pl.DataFrame:
    """Correlate two columns over benchmarks, such as the logarithm of SNR and decision accuracy.

    Parameters
    ----------
    table
        A row for each benchmark, e.g. results of `snr` and `decision_accuracy` joined on task and metric.
    x, y
        Two numeric columns.
    log10
        Those of the two that are taken as logarithms to base 10.
    by
        Columns within whose values to correlate.
    labels
        Columns that name a benchmark in ``excluded``; default those of task, subtask, config, metric, filter, params
        that there are.
    confidence_level
        Of all limits.
    n_resamples, rng_seed
        Of the bootstrap over benchmarks.
    strict
        Raise where a correlation is undefined.

    Returns
    -------
    DataFrame
        A row for each measure: by-columns, ``measure`` (``pearson``, ``r2`` its square, ``spearman``, ``kendall``
        tau-b), ``n`` benchmarks, ``value``, ``low, high`` on Fisher's z scale, ``bootstrap_low, bootstrap_high``
        (percentiles over resampled benchmarks), ``n_excluded`` and ``excluded``: the benchmarks left out, and why;
        ``status, signature``.

    Undefined when
        Fewer than 2 benchmarks (``too_few``), one column does not vary (``constant``). Limits need 4 benchmarks
        (Kendall 5), the bootstrap 8. Values that are null, not finite, or not positive under a logarithm are excluded,
        never filled in.

    Raises
    ------
    SchemaError, OptionError
        For a column that is not there or not numeric, or an option that cannot be used.

    Notes
    -----
    Variances of z: 1/(n - 3) for Pearson, (1 + r^2/2)/(n - 3) for Spearman, .437/(n - 4) for Kendall. They take the
    benchmarks as independent draws; subtasks of one suite are not. Simulated coverage for normal pairs, 10 and 24
    benchmarks, correlations of 0 and .8: Fisher .93 to .97; bootstrap .90 to .93 for Pearson, .94 to .98 for the
    others; that of R2 never covers 0. Values estimated with error correlate less than true ones.

    References
    ----------
    Heineman et al. 2025, arXiv 2508.13144, section 4 (R = .791 of log SNR and decision accuracy); Bonett and Wright
    2000, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations", Psychometrika 65:23;
    Fieller, Hartley, Pearson 1957, "Tests for rank correlation coefficients", Biometrika 44:470.

    Examples
    --------
    >>> import signoise as sn
    >>> scores = sn.example_scores()
    >>> snr = sn.snr(scores, where="params = 150000000")
    >>> decisions = sn.decision_accuracy(scores, small="params = 150000000", target="params = 1000000000")
    >>> table = snr.join(decisions, on=["task", "metric"])
    >>> found = sn.correlate(table, "snr", "decision_accuracy", log10="snr")
    >>> found.select("measure", "n", "n_excluded").row(0)
    ('pearson', 5, 1)
    >>> found["excluded"][0].to_list()
    ['task=sim_boolq, metric=acc: snr is null']
    """
    logs, within = as_columns(log10), as_columns(by)
    check_level(confidence_level)
    check_count("n_resamples", n_resamples)
    check_seed(rng_seed)
    if not isinstance(table, pl.DataFrame):
        raise SchemaError(f"table must be a Polars DataFrame, got {type(table).__name__}")
    for name in logs:
        if name not in (x, y):
            raise OptionError(f"log10 names columns among {x!r} and {y!r}, got {name!r}")
    named = (
        [name for name in _LABELS if name in table.columns] if labels is None else list(as_columns(labels))
    )
    for name in (x, y, *within, *named):
        if name not in table.columns:
            hint = did_you_mean(name, table.columns)
            raise SchemaError(f"the table has no column {name!r}{hint} (it has {', '.join(table.columns)})")
    for name in (x, y):
        if not table.schema[name].is_numeric():
            raise SchemaError(f"{name!r} must be numeric, got {table.schema[name]}")
    key = table.select(within).unique().sort(within) if within else pl.DataFrame({"__all": [None]})
    units = group_addresses(key)
    rows = []
    for at, label in enumerate(key.iter_rows(named=True)):
        part = table
        if within:
            part = table.filter(pl.all_horizontal(pl.col(name).eq_missing(label[name]) for name in within))
        # The order of rows must not reach the sums.
        part = part.sort([*named, x, y], nulls_last=True)
        usable, excluded = _usable(part, (x, y), logs, [name for name in named if name not in within])
        a, b = (_values(part.filter(usable), name, logs) for name in (x, y))
        rows += [
            {name: label[name] for name in within} | row | {"n_excluded": len(excluded), "excluded": excluded}
            for row in _measures(a, b, confidence_level, n_resamples, rng_seed, int(units[at]))
        ]
    text = signature(
        "correlate",
        x=f"log10({x})" if x in logs else x,
        y=f"log10({y})" if y in logs else y,
        interval="fisher_z",
        level=confidence_level,
        n_resamples=n_resamples,
        rng=rng_seed,
    )
    result = _table(table, within, rows, text)
    check_strict(result, [*within, "measure"], strict=strict)
    return result


def _usable(
    part: pl.DataFrame, columns: Sequence[str], logs: Sequence[str], named: Sequence[str]
) -> tuple[pl.Series, list[str]]:
    """Rows with two usable values, and what is wrong with the others."""
    wrong: list[str | None] = [None] * part.height
    for name in columns:
        for at, value in enumerate(part[name].cast(pl.Float64).to_list()):
            reason = None
            if value is None:
                reason = "null"
            elif not np.isfinite(value):
                reason = str(value)
            elif name in logs and value <= 0:
                reason = f"{value:g}, which has no logarithm"
            if reason is not None and wrong[at] is None:
                wrong[at] = f"{name} is {reason}"
    labels = part.select(named).iter_rows(named=True) if named else ({} for _ in wrong)
    excluded = []
    for at, (label, reason) in enumerate(zip(labels, wrong, strict=True)):
        if reason is not None:
            known = ", ".join(f"{name}={value}" for name, value in label.items() if value is not None)
            excluded.append(f"{known or f'row {at}'}: {reason}")
    return pl.Series([reason is None for reason in wrong], dtype=pl.Boolean), excluded


def _values(part: pl.DataFrame, name: str, logs: Sequence[str]) -> Floats:
    values = part[name].cast(pl.Float64).to_numpy()
    return np.log10(values) if name in logs else values


def _measures(
    x: Floats, y: Floats, level: float, n_resamples: int, rng_seed: int, unit: int
) -> list[dict[str, Any]]:
    """A row for each measure."""
    n = len(x)
    if n < 2:
        return [{"measure": name, "n": n, "reason": "too_few"} for name in MEASURES]
    found = correlations(x, y, np.ones((1, n)))
    drawn = None
    if n >= LEAST_BOOTSTRAP:
        place = (uniforms(rng_seed, CORRELATIONS, unit, n_resamples * n) * n).astype(np.intp)
        counts = np.zeros((n_resamples, n))
        np.add.at(counts, (np.repeat(np.arange(n_resamples), n), place), 1.0)
        drawn = correlations(x, y, counts)
    rows = []
    for name in MEASURES:
        value = float(found[name][0])
        row: dict[str, Any] = {"measure": name, "n": n, "value": value}
        row["reason"] = "constant" if np.isnan(value) else "ok"
        row["low"], row["high"] = fisher_limits(name, value, n, level)
        if drawn is not None and np.isfinite(drawn[name]).any() and np.isfinite(value):
            tails = [(1 - level) / 2, (1 + level) / 2]
            row["bootstrap_low"], row["bootstrap_high"] = np.nanquantile(drawn[name], tails).tolist()
        rows.append(row)
    return rows


def _table(
    table: pl.DataFrame, within: Sequence[str], rows: Sequence[dict[str, Any]], text: str
) -> pl.DataFrame:
    schema: dict[str, Any] = {name: table.schema[name] for name in within} | {
        "measure": pl.String,
        "n": pl.Int64,
        **dict.fromkeys(_NUMBERS, pl.Float64),
        "n_excluded": pl.Int64,
        "excluded": pl.List(pl.String),
        "reason": pl.String,
    }
    found = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
    statuses = Statuses(found.height)
    for reason in ("too_few", "constant"):
        statuses.set(reason, (found["reason"] == reason).to_numpy())
    return found.drop("reason").with_columns(
        *(result_column(name, found[name].fill_null(np.nan).to_numpy()) for name in _NUMBERS),
        statuses.column(),
        pl.lit(text).alias("signature"),
    )


__all__: Sequence[str] = ["correlate"]
