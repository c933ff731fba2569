"""`bootstrap` over the checkpoints of long runs: blocks of successive checkpoints are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._addresses import group_addresses
from ._block_length import block_length
from ._bootstrap_replicates import Plan, on_worker, spreads
from ._duplicates import Duplicates
from ._encode import encode, mixed
from ._errors import InsufficientDataError, OptionError
from ._kernels import kernels
from ._schema import RUN_IDENTITY, SCORE_IDENTITY
from ._scores import Filter, Scores, load, note_key, warn_notes
from ._status import Statuses, check_strict, flag_lists, result_column
from .engines import Engine

Floats = NDArray[np.float64]

#: Blocks of shorter series are too few, or too short for their dependence.
FEWEST_CHECKPOINTS = 100


def bootstrap_series(
    scores: Scores,
    plan: Plan,
    scheme: str,
    length: int | None,
    *,
    by: Sequence[str],
    where: Filter,
    order: str,
    columns: Mapping[str, str] | None,
    duplicates: Duplicates,
    strict: bool,
    text: str,
    engine: Engine,
) -> pl.DataFrame:
    """A row for each run and score, from the scores of its checkpoints in order.

    Parameters
    ----------
    scheme
        ``"moving_block"`` or ``"stationary_block"``.
    length
        Of the blocks; None: by the rule of Politis and White, series by series.
    text
        The signature.
    engine
        Where blocks are drawn.
    """
    table = load(
        scores,
        columns=columns,
        where=where,
        use=[*by, order],
        duplicates=duplicates,
        strict=strict,
        threads=plan.threads,
    )
    given = ["run", *(name for name in by if name != "run")]
    told_apart = [name for name in RUN_IDENTITY if name in table.frame.columns and name not in given]
    apart = mixed(table.frame, given, told_apart)
    encoded = encode(table.frame, by=[*given, *apart], members=["run"], order=order, duplicates=duplicates)
    warn_notes(table.notes)
    note_key(encoded, by)
    scores_of, _, offsets, filled = encoded.select()
    labels = encoded.groups
    bounds = offsets.astype(np.intp).tolist()
    group_of = encoded.group_of[filled]
    units = group_addresses(labels.select(name for name in SCORE_IDENTITY if name in labels.columns))
    size = len(labels)
    n, lengths = np.zeros((2, size), dtype=np.int64)
    value, stderr, low, high = np.full((4, size), np.nan)
    constant = np.zeros(size, dtype=bool)
    drawn: list[_Drawn] = []
    for group, (start, end) in zip(group_of.tolist(), pairwise(bounds), strict=True):
        x = scores_of[start:end]
        n[group] = len(x)
        _check_length(labels.row(group), len(x), scheme, length)
        lengths[group] = length or block_length(x, stationary=scheme == "stationary_block")
        drawn.append(_Drawn(x, scheme, int(lengths[group]), np.uint64(units[group])))
    found = engine.map(
        partial(_interval, plan=on_worker(plan, engine)), drawn, sizes=[len(one.values) for one in drawn]
    )
    for group, one in zip(group_of.tolist(), found, strict=True):
        value[group], stderr[group], low[group], high[group], constant[group] = one
    statuses = Statuses(size)
    statuses.set("duplicate_key", encoded.conflicts)
    statuses.set("too_few", n < 1)
    statuses.set("constant", constant)
    statuses.check_finite(~np.isfinite(value))
    result = {"value": value, "stderr": stderr, "low": low, "high": high}
    for name in ("low", "high"):
        result[name] = np.where(constant, np.nan, result[name])
    statuses.blank(result, "duplicate_key")
    flags = {
        "missing_values": encoded.n_missing + encoded.n_nan > 0,
        "mixed_config": np.full(size, "config" in encoded.joined),
    }
    output = labels.with_columns(
        pl.Series("n_checkpoints", n),
        pl.Series("block_length", lengths),
        *(result_column(name, values) for name, values in result.items()),
        pl.Series("n_missing", encoded.n_missing, dtype=pl.Int64),
        pl.Series("n_nan", encoded.n_nan, dtype=pl.Int64),
        statuses.column(),
        flag_lists(flags, size),
        pl.lit(text).alias("signature"),
    )
    check_strict(output, labels.columns, strict=strict)
    return output


def _check_length(label: tuple[object, ...], n: int, scheme: str, length: int | None) -> None:
    text = ", ".join(str(part) for part in label if part is not None)
    if n < FEWEST_CHECKPOINTS:
        raise InsufficientDataError(
            f"design={scheme!r} draws blocks of checkpoints, which needs {FEWEST_CHECKPOINTS} of them, and {text} has "
            f"{n}: blocks would be too few for the dependence between checkpoints; leave such runs out (where=...), or "
            "see snr, whose intervals allow for autocorrelation in shorter runs"
        )
    if length is not None and length > n:
        raise OptionError(
            f"block_length must be at most the number of checkpoints, {n} of {text}, got {length}"
        )


@dataclass(frozen=True)
class _Drawn:
    """A series, and how its blocks are drawn."""

    values: Floats
    scheme: str
    length: int
    unit: np.uint64


def _interval(series: _Drawn, plan: Plan) -> tuple[float, float, float, float, bool]:
    """Value, standard error, limits, and whether these coincide."""
    value, replicates = _replicates(series.values, series.scheme, series.length, series.unit, plan)
    limits = kernels().bootstrap_interval(
        replicates, np.array([value]), np.array([np.nan]), plan.method, plan.level, threads=plan.threads
    )
    error, same, one = spreads(replicates, (limits["low"], limits["high"]), plan.threads)
    return value, float(error[0]), float(limits["low"][0]), float(limits["high"][0]), bool(same[0] | one[0])


def _replicates(x: Floats, scheme: str, length: int, unit: np.uint64, plan: Plan) -> tuple[float, Floats]:
    """The statistic of a series, and a row of its replicates."""
    offsets, units = np.array([0, len(x)], dtype=np.uintp), np.array([unit], dtype=np.uint64)
    if not np.isfinite(x).all():
        return np.nan, np.full((1, plan.n_resamples), np.nan)
    if plan.probability is None:
        values = kernels().bootstrap_means(
            x[None, :],
            None,
            offsets,
            units,
            plan.n_resamples,
            plan.rng_seed,
            scheme=scheme,
            block_length=length,
            threads=plan.threads,
        )
        return float(x.mean()), values
    values = kernels().bootstrap_quantiles(
        x[None, :],
        np.array([plan.probability]),
        offsets,
        units,
        plan.n_resamples,
        plan.rng_seed,
        scheme=scheme,
        block_length=length,
        threads=plan.threads,
    )
    return float(np.quantile(x, plan.probability)), values[:, 0, :]
